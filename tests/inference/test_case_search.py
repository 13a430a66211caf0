"""The search in a case whose student is no help."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
from test_assessment import AXES, SPACING, brightness_predictor, drawn_frames

from fetaliqa.inference import AssessOptions, assess
from fetaliqa.inference.screened_search import ScreenLimits
from fetaliqa.sweep import sweep_from_array


def student_that_guesses(frame: int) -> Any:
    """One that is sure of one frame and calls all others hopeless."""
    return SimpleNamespace(
        limits=ScreenLimits(0.05, 0.5),
        fingerprint="f" * 64,
        guess=lambda sweep, indices: np.where(indices == frame, 0.9, 0.01),
    )


def searched(shown: dict[int, tuple[int, int]], frame: int) -> dict[str, Any]:
    sweep = sweep_from_array(drawn_frames(shown), (SPACING, SPACING), case_id="drawn")
    options = AssessOptions(search=True)
    return assess(sweep, brightness_predictor(), options, student=student_that_guesses(frame)).record


def looked_at(record: dict[str, Any]) -> list[int]:
    return [frame["index"] for frame in record["frames"] if frame["positive"] is not None]


def test_where_the_student_leads_nowhere_the_case_is_searched_without_it() -> None:
    record = searched(dict.fromkeys(range(20, 30), AXES), 60)
    assert 60 in looked_at(record)
    assert record["best"] in range(20, 30)
    assert {frame.get("guessed_by") for frame in record["frames"]} == {None, "neighbours"}


def test_where_it_leads_to_a_frame_nothing_else_is_looked_at() -> None:
    record = searched(dict.fromkeys(range(20, 30), AXES), 25)
    assert record["best"] in range(20, 30)
    assert len(looked_at(record)) <= 14
    assert {frame.get("guessed_by") for frame in record["frames"]} == {None, "student"}


def test_a_case_without_anatomy_costs_one_look_more_than_without_a_student_at_most() -> None:
    sweep = sweep_from_array(drawn_frames({}), (SPACING, SPACING), case_id="drawn")
    without = assess(sweep, brightness_predictor(), AssessOptions(search=True)).record
    record = searched({}, 60)
    assert record["best"] is None
    assert len(looked_at(record)) <= len(looked_at(without)) + 1
