"""Requests to the server's interactive model: a mask from clicks, and a mask carried along a sweep.

All functions block; call them from a task's thread.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from FetalIQALib.client_errors import InvalidResponse
from FetalIQALib.frame_masks import Mask
from FetalIQALib.http_client import Cancel, HttpClient
from FetalIQALib.run_lengths import from_runs, to_runs
from FetalIQALib.server_responses import expect
from FetalIQALib.translation import _

SEGMENT, PROPAGATE = "/fetaliqa/v1/interactive/segment", "/fetaliqa/v1/interactive/propagate"
CLICK_SECONDS = 60.0  # the first click on a case also reads its file
CARRY_SECONDS = 300.0
LIMIT = 60  # frames in each direction

Point = tuple[float, float]  # column, row


@dataclass(frozen=True)
class Prompt:
    """What the interactive model is asked for in a frame.

    Attributes:
        frame: number, from 0.
        foreground, background: (column, row) of positive and negative clicks, in pixels.
        box: left, top, right, bottom; None for none.
        mask: the previous mask; None for none.
    """

    frame: int
    foreground: Sequence[Point] = ()
    background: Sequence[Point] = ()
    box: tuple[float, float, float, float] | None = None
    mask: Mask | None = None

    def body(self) -> dict[str, Any]:
        """Body of the request."""
        return {
            "frame": self.frame,
            "foreground": [list(point) for point in self.foreground],
            "background": [list(point) for point in self.background],
            "roi": None if self.box is None else list(self.box),
            "mask": None if self.mask is None else to_runs(self.mask),
        }


@dataclass(frozen=True)
class SegmentAnswer:
    """The model's mask; ``mask`` is None if it found nothing, ``version`` is the model's."""

    mask: Mask | None
    expected_dice: float | None
    model: str
    version: str


@dataclass(frozen=True)
class CarriedMask:
    """A mask of one frame that was carried from another."""

    mask: Mask
    expected_dice: float | None


@dataclass(frozen=True)
class PropagationAnswer:
    """Masks carried along a sweep, by frame, and where and why each direction stopped."""

    masks: Mapping[int, CarriedMask]
    stopped: Mapping[str, tuple[int, str]]
    model: str
    version: str


def segment(http: HttpClient, case: str, prompt: Prompt, shape: tuple[int, int], cancel: Cancel) -> SegmentAnswer:
    """The mask of a frame from clicks.

    Raises:
        RequestRefused: 503 if the server has no interactive model, 400 for an invalid prompt.
        InvalidResponse: if the answer is for another frame or of another size.
    """
    reply = _post(http, SEGMENT, case, prompt.body(), cancel, CLICK_SECONDS)
    if reply.get("frame") != prompt.frame:
        raise InvalidResponse(_("The server answered for another frame; nothing was changed."))
    mask = from_runs(reply.get("mask"), shape)
    return SegmentAnswer(mask, _share(reply.get("expected_dice")), *_model(reply))


def propagate(
    http: HttpClient,
    case: str,
    frame: int,
    mask: Mask,
    count: int,
    cancel: Cancel,
    direction: str = "both",
    limit: int = LIMIT,
) -> PropagationAnswer:
    """Carry the mask of a frame to the frames before and after it; ``count``: frames of the case.

    Raises:
        RequestRefused: 503 if the server has no interactive model.
        InvalidResponse: if a frame does not exist, or a mask has another size.
    """
    body = {"frame": frame, "mask": to_runs(mask), "direction": direction, "limit": limit}
    reply = _post(http, PROPAGATE, case, body, cancel, CARRY_SECONDS)
    masks = {}
    for entry in expect(reply.get("frames"), list, "the carried masks"):
        number = expect(expect(entry, dict, "the carried masks").get("frame"), int, "the carried masks")
        if not 0 <= number < count or number == frame:
            raise InvalidResponse(
                _("The server carried the mask to frame {frame}, which does not exist.").format(frame=number)
            )
        carried = from_runs(entry.get("mask"), mask.shape)
        if carried is not None:
            masks[number] = CarriedMask(carried, _share(entry.get("expected_dice")))
    stopped = {}
    for way, entry in expect(reply.get("stopped") or {}, dict, "the carried masks").items():
        if isinstance(entry, dict) and isinstance(entry.get("frame"), int):
            stopped[str(way)] = (entry["frame"], str(entry.get("reason") or "")[:100])
    return PropagationAnswer(masks, stopped, *_model(reply))


def _post(
    http: HttpClient, path: str, case: str, body: Mapping[str, Any], cancel: Cancel, seconds: float
) -> dict[str, Any]:
    query = urlencode({"image": case})
    reply: dict[str, Any] = expect(
        http.json("POST", f"{path}?{query}", cancel, json=dict(body), seconds=seconds), dict, "the mask"
    )
    return reply


def _model(reply: Mapping[str, Any]) -> tuple[str, str]:
    name, _at, version = str(reply.get("model") or "interactive").partition("@")
    return name, version


def _share(value: Any) -> float | None:
    usable = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if usable else None
