"""Helpers of the Slicer tests: a workspace without a window, and cases without a server."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from FetalIQALib.case_annotation import CaseAnnotation
from FetalIQALib.ellipse_measurement import Ellipse
from FetalIQALib.frame_annotations import Proposal
from FetalIQALib.frame_masks import Mask
from FetalIQALib.image_files import FrameStack, Grid
from FetalIQALib.sweep_data import Assessment, Sweep, find_padding
from FetalIQALib.workspace import Workspace

SHAPE = (60, 80)


def wait_for(workspace: Workspace, condition: Callable[[], bool], seconds: float = 60) -> None:
    """Process events like the window's timer until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"timeout; status: {workspace.session.status}"
        workspace.pump()
        time.sleep(0.01)


def settle(workspace: Workspace, seconds: float = 60) -> None:
    """Process events until no task is running."""
    wait_for(workspace, lambda: not workspace.runner.busy(), seconds)


def connected(folder: Path, url: str, rater: str = "anna", tag: str = "final") -> Workspace:
    """A connected workspace with its worklist."""
    workspace = Workspace(folder)
    assert workspace.connect(url, rater=rater, tag=tag)
    settle(workspace)
    assert workspace.session.online, workspace.session.status
    return workspace


def opened(workspace: Workspace, case: str) -> CaseAnnotation:
    """Open a case, wait for its assessment, and return its labels."""
    assert workspace.controller.open(case)
    settle(workspace)
    annotation = workspace.controller.annotation
    assert annotation is not None, workspace.session.status
    assert annotation.sweep.case == case
    return annotation


def ellipse_mask(x: float = 40, y: float = 30, a: float = 20, b: float = 14, angle: float = 0.4) -> np.ndarray:
    """A filled ellipse, uint8 [60, 80]."""
    return Ellipse(x, y, a, b, angle).draw(SHAPE)


def a_sweep(count: int = 30, seen: range = range(8, 22), assessed: bool = True) -> Sweep:
    """A case of noise with proposals on the frames ``seen``."""
    frames = np.random.default_rng(0).integers(20, 200, (count, *SHAPE), dtype=np.uint8)
    grid = Grid((SHAPE[1], SHAPE[0], count), (0.28, 0.31, 1.5), (3.0, -4.0, 5.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    sweep = Sweep("case_a", FrameStack(frames, grid, "f" * 64), find_padding(frames), np.ones(SHAPE, bool))
    if not assessed:
        return sweep
    masks = {frame: Mask.of(ellipse_mask(30 + frame)) for frame in seen}
    proposals = {frame: Proposal(mask, "demo", "1") for frame, mask in masks.items() if mask is not None}
    quality = np.array([0.9 - abs(frame - 15) / 40 if frame in proposals else 0.02 for frame in range(count)])
    return replace(
        sweep,
        assessment=Assessment(
            quality=quality,
            estimated=np.zeros(count, bool),
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
