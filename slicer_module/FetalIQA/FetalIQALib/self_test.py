"""Self-test on the scene's nodes, run by *Reload and Test* in Slicer and by the test suite without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from FetalIQALib.case_annotation import CaseAnnotation
from FetalIQALib.ellipse_measurement import Ellipse
from FetalIQALib.frame_annotations import frame_record
from FetalIQALib.image_files import FrameStack, Grid
from FetalIQALib.journal import Journals, read_journal
from FetalIQALib.sweep_data import Sweep, find_padding
from FetalIQALib.sweep_scene import SweepScene
from FetalIQALib.workspace import Workspace

SHAPE = (120, 160)
FRAMES = 40


def run(scene: Any, sequences: Any, folder: Path) -> str:
    """Run the checks and return a sentence on what was checked.

    Raises:
        AssertionError: if a check fails.
    """
    workspace = Workspace(folder)
    workspace.journals = Journals(folder, "http://selftest")
    try:
        return _run(workspace, workspace.journals, scene, sequences)
    finally:
        workspace.journals.close()  # Windows removes no folder with an open lock


def _run(workspace: Workspace, journals: Journals, scene: Any, sequences: Any) -> str:
    sweep_scene = SweepScene(scene, sequences, workspace.controller)
    workspace.controller.annotation = annotation = CaseAnnotation(_synthetic_case(), "selftest")
    workspace.session.notify("case")
    for frame in [*range(FRAMES), 20]:
        workspace.controller.go_to(frame)
    _check(not annotation.frames, "scrolling labelled a frame")
    mask = Ellipse(80, 60, 40, 30, 0.3).draw(SHAPE)
    workspace.controller.draw_mask(20, mask, "draw")
    for frame in [*range(FRAMES), *range(FRAMES - 1, -1, -1)]:
        workspace.controller.go_to(frame)
        sweep_scene.sync_from_scene()
    _check(sorted(annotation.masks()) == [20], "scrolling copied a mask")
    _check(np.array_equal(annotation.masks()[20].full(), mask), "scrolling changed a mask")
    workspace.controller.apply("empty", lambda annotation: annotation.mark_empty(3))
    workspace.controller.apply("undo", lambda annotation: annotation.undo().name)
    _check(sorted(annotation.frames) == [20], "undo reverted another action than the last")
    saved = read_journal(journals.path(annotation.sweep.case, workspace.controller.tag), FRAMES)
    _check(frame_record(saved.frames) == annotation.record(), "the journal differs from the labels")
    _check(saved.frames[20].mask == annotation.masks()[20], "the mask in the journal differs from the drawn one")
    circumference = workspace.controller.measurement(20).circumference_mm
    _check(
        circumference is not None and abs(circumference - 66.5) < 1.0,
        f"the circumference is {circumference} mm, not about 66.5",
    )
    workspace.controller.annotation = None
    sweep_scene.clear()
    return f"FetalIQA: {FRAMES} frames scrolled through; drawing, undo, journal and measurement are correct."


def _synthetic_case() -> Sweep:
    frames = np.random.default_rng(0).integers(20, 120, (FRAMES, *SHAPE), dtype=np.uint8)
    grid = Grid((SHAPE[1], SHAPE[0], FRAMES), (0.3, 0.3, 1.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    return Sweep("selftest", FrameStack(frames, grid, "0" * 64), find_padding(frames), np.ones(SHAPE, bool))


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise AssertionError(message)
