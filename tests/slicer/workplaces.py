"""Helpers of the Slicer tests: a workplace driven without a window, and cases that need no server."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from FetalIQALib.casework import CaseWork
from FetalIQALib.decisions import Proposal
from FetalIQALib.images import Grid, Stack
from FetalIQALib.masks import Mask
from FetalIQALib.outline import Ellipse
from FetalIQALib.sweep import Assessment, Sweep, padding_of
from FetalIQALib.workplace import Workplace

SHAPE = (60, 80)


def wait_for(place: Workplace, condition: Callable[[], bool], seconds: float = 60) -> None:
    """Pump like the window's timer does until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"still not so; the status says: {place.hub.status}"
        place.pump()
        time.sleep(0.01)


def settle(place: Workplace, seconds: float = 60) -> None:
    """Pump until nothing is under way."""
    wait_for(place, lambda: not place.runner.busy(), seconds)


def connected(folder: Path, url: str, rater: str = "anna", tag: str = "final") -> Workplace:
    """A workplace with its worklist read."""
    place = Workplace(folder)
    assert place.connect(url, rater=rater, tag=tag)
    settle(place)
    assert place.hub.online, place.hub.status
    return place


def opened(place: Workplace, case: str) -> CaseWork:
    """Open a case, wait for the assessment too, and return the work on it."""
    assert place.desk.open(case)
    settle(place)
    work = place.desk.work
    assert work is not None, place.hub.status
    assert work.sweep.case == case
    return work


def ellipse_mask(x: float = 40, y: float = 30, a: float = 20, b: float = 14, angle: float = 0.4) -> np.ndarray:
    """A filled ellipse, uint8 [60, 80]."""
    return Ellipse(x, y, a, b, angle).draw(SHAPE)


def a_sweep(count: int = 30, seen: range = range(8, 22), assessed: bool = True) -> Sweep:
    """Two equal sweeps of noise, with proposals on the frames ``seen``."""
    frames = np.random.default_rng(0).integers(20, 200, (count, *SHAPE), dtype=np.uint8)
    grid = Grid((SHAPE[1], SHAPE[0], count), (0.28, 0.31, 1.5), (3.0, -4.0, 5.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    sweep = Sweep("case_a", Stack(frames, grid, "f" * 64), padding_of(frames), np.ones(SHAPE, bool))
    if not assessed:
        return sweep
    masks = {frame: Mask.of(ellipse_mask(30 + frame)) for frame in seen}
    proposals = {frame: Proposal(mask, "demo", "1") for frame, mask in masks.items() if mask is not None}
    quality = np.array([0.9 - abs(frame - 15) / 40 if frame in proposals else 0.02 for frame in range(count)])
    return replace(
        sweep,
        assessment=Assessment(
            quality=quality,
            guessed=np.zeros(count, bool),
            circumference_mm=np.where(quality > 0.1, 200.0, np.nan),
            ranges=((0, count),),
            best=min(15, count - 1),
            reason="",
            ranking=tuple(frame for frame in (15, 9) if frame < count),
            proposals=proposals,
            spacing_mm=(0.31, 0.28),
            model="demo 1",
        ),
    )
