"""What *Reload and Test* checks in a real Slicer, and the tests without one: the promise on this scene's nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from FetalIQALib.casework import CaseWork
from FetalIQALib.decisions import record_of
from FetalIQALib.images import Grid, Stack
from FetalIQALib.journal import Journals, read_journal
from FetalIQALib.outline import Ellipse
from FetalIQALib.scene import SweepScene
from FetalIQALib.sweep import Sweep, padding_of
from FetalIQALib.workplace import Workplace

SHAPE = (120, 160)
FRAMES = 40


def run(scene: Any, sequences: Any, folder: Path) -> str:
    """Check, and say in a sentence what was checked.

    Raises:
        AssertionError: when something is not as promised.
    """
    place = Workplace(folder)
    place.journals = Journals(folder, "http://selftest")
    shown = SweepScene(scene, sequences, place.desk)
    place.desk.work = work = CaseWork(_made_case(), "selftest")
    place.hub.tell("case")
    for frame in [*range(FRAMES), 20]:
        place.desk.go_to(frame)
    _check(not work.frames, "scrolling decided something")
    drawn = Ellipse(80, 60, 40, 30, 0.3).draw(SHAPE)
    place.desk.drawn(20, drawn, "draw")
    for frame in [*range(FRAMES), *range(FRAMES - 1, -1, -1)]:
        place.desk.go_to(frame)
        shown.follow()
    _check(sorted(work.masks()) == [20], "scrolling copied a mask")
    _check(np.array_equal(work.masks()[20].full(), drawn), "scrolling changed a mask")
    place.desk.act("empty", lambda work: work.mark_empty(3))
    place.desk.act("undo", lambda work: work.undo().name)
    _check(sorted(work.frames) == [20], "undo took back another action than the last")
    kept = read_journal(place.journals.path(work.sweep.case, place.desk.tag), FRAMES)
    _check(record_of(kept.frames) == work.record(), "the journal does not hold what was decided")
    _check(kept.frames[20].mask == work.masks()[20], "the journal holds another mask than was drawn")
    length = place.desk.measurement(20).circumference_mm
    _check(length is not None and abs(length - 66.5) < 1.0, f"the circumference is {length} mm, not about 66.5")
    place.desk.work = None
    shown.clear()
    return (
        f"FetalIQA: {FRAMES} frames scrolled through three times, one mask, undone, kept and measured as promised."
    )


def _made_case() -> Sweep:
    frames = np.random.default_rng(0).integers(20, 120, (FRAMES, *SHAPE), dtype=np.uint8)
    grid = Grid((SHAPE[1], SHAPE[0], FRAMES), (0.3, 0.3, 1.0), (0.0, 0.0, 0.0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    return Sweep("selftest", Stack(frames, grid, "0" * 64), padding_of(frames), np.ones(SHAPE, bool))


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise AssertionError(otherwise)
