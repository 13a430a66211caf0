"""Interactive segmentation for clients: checked requests, answers as JSON, and a task of the type deepedit.

Types and ranges of a request are checked here, what they mean for a frame in ``fetaliqa.inference``.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from monailabel.interfaces.tasks.infer_v2 import InferTask, InferType

from fetaliqa.errors import OptionError
from fetaliqa.inference.interactive_segmentation import Point, Prompts, Roi
from fetaliqa.inference.propagation import DEFAULT_LIMIT, MAX_LIMIT, Direction
from fetaliqa.inference.shared_requests import Stopped
from fetaliqa.measure.anatomy import Anatomy
from fetaliqa.measure.run_lengths import mask_from_runs
from fetaliqa.model.bundle_names import INTERACTIVE
from fetaliqa.registry.interactive_service import InteractiveService
from fetaliqa.sweep.masks import write_masks
from monailabel_app.lib.browser.mask_runs import runs_of
from monailabel_app.lib.files.scratch import scratch
from monailabel_app.lib.http.refusal import Refused, as_refusal
from monailabel_app.lib.tasks.inference_request import mask_suffix

logger = logging.getLogger(__name__)

MAX_FRAME = 2**31 - 1
MAX_PIXELS = 2**26  # of a mask
SEGMENT_KEYS = ("frame", "foreground", "background", "roi", "mask")
PROPAGATE_KEYS = ("frame", "mask", "direction", "limit")
ENDPOINTS = ["/fetaliqa/v1/interactive/segment", "/fetaliqa/v1/interactive/propagate"]
AXES = {2: "[column, row]", 3: "[column, row, frame]"}


class InteractiveTask(InferTask):
    """The interactive model of a server.

    As a MONAI Label task it has no labels and two dimensions: the stock Slicer module then sends the clicks of one
    segment in one slice, and takes back that slice.

    Args:
        service: segments files.
    """

    def __init__(self, service: InteractiveService) -> None:
        self.service = service
        super().__init__(
            type=InferType.DEEPEDIT,
            labels={},
            dimension=2,
            description="Outlines in one frame what is clicked on, or what a mask of it shows",
        )

    def is_valid(self) -> bool:
        return self.service.installed

    def info(self) -> dict[str, Any]:
        name, _, version = self.service.reference.partition("@")
        return {**super().info(), "fetaliqa": {"name": name, "version": version, "task": INTERACTIVE}}

    def described(self) -> dict[str, Any] | None:
        """What ``GET /info/`` says about interactive segmentation; None without a model."""
        return {"model": self.service.reference, "endpoints": list(ENDPOINTS)} if self.is_valid() else None

    def __call__(self, request: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
        raise Refused(400, "the interactive model needs an image, and clicks on it")

    def segment(
        self, path: Path, body: Mapping[str, Any], anatomy: Anatomy, stopped: Stopped | None = None
    ) -> dict[str, Any]:
        """The answer to ``POST /fetaliqa/v1/interactive/segment``.

        Raises:
            Refused: when the request cannot be used, or no model is installed.
        """
        with as_refusal():
            check_keys(body, SEGMENT_KEYS)
            frame = _whole("frame", body.get("frame"), MAX_FRAME)
            prompts = Prompts(
                tuple((point[0], point[1]) for point in _points("foreground", body.get("foreground"), 2)),
                tuple((point[0], point[1]) for point in _points("background", body.get("background"), 2)),
                _roi(body.get("roi")),
                _mask(body.get("mask")),
            )
            answer = self.service.segment(path, frame, prompts, anatomy, stopped)
            return {
                "frame": frame,
                "mask": runs_of(answer.outlined.mask),
                "area_px": answer.outlined.area_px,
                "expected_dice": answer.outlined.expected_dice,
                "measurement": answer.measurement,
                "model": self.service.reference,
                "latencies": answer.latencies,
            }

    def propagate(self, path: Path, body: Mapping[str, Any], stopped: Stopped | None = None) -> dict[str, Any]:
        """The answer to ``POST /fetaliqa/v1/interactive/propagate``.

        Raises:
            Refused: when the request cannot be used, or no model is installed.
        """
        with as_refusal():
            check_keys(body, PROPAGATE_KEYS)
            frame = _whole("frame", body.get("frame"), MAX_FRAME)
            mask = _mask(body.get("mask"))
            if mask is None:
                raise OptionError("mask: none is given; the mask of the frame is carried along")
            direction = body.get("direction", "both")
            if direction not in get_args(Direction):
                names = ", ".join(get_args(Direction))
                raise OptionError(f"direction {str(direction)[:40]!r}: one of {names} is needed")
            limit = _whole("limit", body.get("limit", DEFAULT_LIMIT), MAX_LIMIT)
            carried, latencies = self.service.propagate(
                path, frame, mask, direction=direction, limit=limit, stopped=stopped
            )
            return {
                "frames": [
                    {
                        "frame": one.frame,
                        "mask": runs_of(one.mask),
                        "expected_dice": one.expected_dice,
                        "area_px": int(one.mask.sum()),
                    }
                    for one in carried.frames
                ],
                "stopped": {
                    name: {"frame": one.frame, "reason": one.reason} for name, one in carried.stopped.items()
                },
                "model": self.service.reference,
                "latencies": latencies,
            }

    def infer_slice(
        self, path: Path, request: Mapping[str, Any], anatomy: Anatomy, stopped: Stopped | None = None
    ) -> tuple[str | None, dict[str, Any]]:
        """The answer to ``POST /infer/interactive``: a mask stack of the image in which only one frame is set.

        Args:
            path: of the image.
            request: ``foreground`` and ``background`` as [[i, j, k], ...], k the frame; ``roi`` as [left, top,
                right, bottom]; ``frame`` where there is no click. The frame is that of the last foreground click.
                Clicks on others are left out: the stock module sends those of all slices when it shows slice 0.
            anatomy: whose plausible sizes are warned about.
            stopped: asked whether the client has gone.

        Returns:
            Path of a temporary mask file, which the caller removes (None for the output ``json``), and the params.

        Raises:
            Refused: when the request cannot be used, or no model is installed.
        """
        with as_refusal():
            suffix = mask_suffix(request.get("result_extension"))
            foreground = _points("foreground", request.get("foreground"), 3)
            background = _points("background", request.get("background"), 3)
            clicks = [*background, *foreground]
            if request.get("frame") is not None:
                frame = _whole("frame", request["frame"], MAX_FRAME)
            elif clicks:
                frame = round(clicks[-1][2])
            else:
                raise OptionError("no prompt: foreground, [[i, j, k], ...], is needed, or frame and roi")
            prompts = Prompts(
                _in_frame(foreground, frame), _in_frame(background, frame), _roi(request.get("roi") or None)
            )
            answer = self.service.segment(path, frame, prompts, anatomy, stopped)
            params = {
                "label_names": {},
                "latencies": answer.latencies,
                "fetaliqa": {
                    "model": self.service.reference,
                    "frame": frame,
                    "expected_dice": answer.outlined.expected_dice,
                    **answer.measurement,
                },
            }
            if request.get("output") == "json":
                return None, params
            sweep = self.service.open(path).sweep
            masks = np.zeros(sweep.shape, np.uint8)
            masks[frame] = answer.outlined.mask
            target = scratch.mask_file(suffix)
            try:
                write_masks(target, masks, sweep)
            except BaseException:
                scratch.discard(target)
                raise
            return str(target), params


def check_keys(body: Mapping[str, Any], known: tuple[str, ...]) -> None:
    """Check that a body has no misspelt key.

    Raises:
        OptionError: naming one.
    """
    for key in body:
        if key not in known:
            raise OptionError(f"{str(key)[:40]!r} is not known; known are {', '.join(known)}")


def _whole(name: str, value: Any, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise OptionError(f"{name} is {str(value)[:40]}; a whole number from 0 to {most} is needed")
    return value


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _points(name: str, value: Any, length: Literal[2, 3]) -> tuple[tuple[float, ...], ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise OptionError(f"{name} is {str(value)[:40]}; a list of {AXES[length]} is needed")
    for point in value:
        if not isinstance(point, list) or len(point) != length or not all(map(_number, point)):
            raise OptionError(f"{name}: a click is {str(point)[:60]}; {AXES[length]} in pixels is needed")
    return tuple(tuple(float(one) for one in point) for point in value)


def _in_frame(points: tuple[tuple[float, ...], ...], frame: int) -> tuple[Point, ...]:
    return tuple((column, row) for column, row, number in points if round(number) == frame)


def _roi(value: Any) -> Roi | None:
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 4 or not all(map(_number, value)):
        raise OptionError(f"roi is {str(value)[:60]}; [left, top, right, bottom] in pixels is needed")
    left, top, right, bottom = (float(one) for one in value)
    return left, top, right, bottom


def _mask(value: Any) -> np.ndarray | None:
    if value is None:
        return None
    if not isinstance(value, dict) or set(value) != {"rows", "columns", "runs"}:
        raise OptionError('mask: an object {"rows": n, "columns": n, "runs": [n, ...]} is needed')
    rows, columns = (_whole(f"mask: {name}", value[name], 65_535) for name in ("rows", "columns"))
    if not isinstance(value["runs"], list) or not rows or not columns:
        raise OptionError("mask: rows and columns from 1 on, and a list of runs are needed")
    if rows * columns > MAX_PIXELS:  # before memory is allocated
        raise OptionError(f"mask: {rows} rows x {columns} columns; {MAX_PIXELS} pixels at most are accepted")
    return mask_from_runs(value["runs"], (rows, columns))
