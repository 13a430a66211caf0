"""A fake server with the interactive endpoints, and cases of a few frames."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from fake_server import FakeServer, Handler
from FetalIQALib.frame_masks import Mask
from FetalIQALib.run_lengths import from_runs, to_runs

SHAPE = (60, 80)
SEGMENT, PROPAGATE = "/fetaliqa/v1/interactive/segment", "/fetaliqa/v1/interactive/propagate"
JSON = {"content-type": "application/json"}


def disc(point: tuple[float, float], radius: float = 6) -> np.ndarray:
    """A disc around a point (column, row): bool [60, 80]."""
    rows, columns = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.hypot(columns - point[0], rows - point[1]) <= radius


class InteractiveServer(FakeServer):
    """Adds a disc for each positive click to the previous mask, and removes one for each negative click.

    Attributes:
        prompts: bodies of the requests, in their order.
        pause: wait for ``proceed`` before an answer.
        reach: frames that a mask is carried to in each direction.
    """

    def __init__(self) -> None:
        super().__init__()
        self.prompts: list[dict[str, Any]] = []
        self.pause = False
        self.proceed = threading.Event()
        self.reach = 4
        self.change: Callable[[dict[str, Any]], dict[str, Any]] = lambda answer: answer
        self.on("POST", SEGMENT, self._segment)
        self.on("POST", PROPAGATE, self._propagate)
        self.on("GET", "/datastore/label", b"{}", 404)
        info = {
            "name": "FetalIQA",
            "version": "9",
            "models": {},
            "strategies": {},
            "trainers": {},
            "interactive": {"model": "interactive", "endpoints": [SEGMENT, PROPAGATE]},
        }
        self.on("GET", "/info/", info)
        self.on("GET", "/datastore/?output=all", {"objects": {}})

    def _answer(self, answer: dict[str, Any]) -> tuple[int, bytes, dict[str, str]]:
        if self.pause:
            self.proceed.wait(30)
        return 200, json.dumps(self.change(answer)).encode(), JSON

    def _segment(self, handler: Handler) -> Any:
        prompt = json.loads(handler.body)
        self.prompts.append(prompt)
        before = None if prompt["mask"] is None else from_runs(prompt["mask"], SHAPE)
        mask = np.zeros(SHAPE, bool) if before is None else before.full().astype(bool)
        if prompt["roi"]:
            left, top, right, bottom = (round(edge) for edge in prompt["roi"])
            mask[top : bottom + 1, left : right + 1] = True
        for point in prompt["foreground"]:
            mask |= disc(point)
        for point in prompt["background"]:
            mask &= ~disc(point)
        runs = {"rows": SHAPE[0], "columns": SHAPE[1], "runs": [mask.size]}
        made = Mask.of(mask)
        answer = {
            "frame": prompt["frame"],
            "mask": runs if made is None else to_runs(made),
            "area_px": int(mask.sum()),
            "expected_dice": 0.93,
            "model": "interactive@abc123",
        }
        return self._answer(answer)

    def _propagate(self, handler: Handler) -> Any:
        prompt = json.loads(handler.body)
        self.prompts.append(prompt)
        start = prompt["frame"]
        mask = from_runs(prompt["mask"], SHAPE)
        frames = []
        for frame in range(max(start - self.reach, 0), min(start + self.reach, 29) + 1):
            moved = np.roll(mask.full(), frame - start, axis=1)
            if frame != start:
                runs = to_runs(Mask.of(moved))
                frames.append({"frame": frame, "mask": runs, "expected_dice": 0.9, "area_px": int(moved.sum())})
        stopped = {
            "forward": {"frame": start + self.reach + 1, "reason": "anatomy left"},
            "backward": {"frame": start - self.reach - 1, "reason": "low expected Dice"},
        }
        return self._answer({"frames": frames, "stopped": stopped, "model": "interactive@abc123", "latencies": {}})
