"""The gate: which differences let a candidate pass, and what the sentence says."""

from __future__ import annotations

import numpy as np
import pytest

from fetaliqa.learning.gate import COLUMNS, MAX_LOSS, paired_figures, sentence, verdict
from fetaliqa.metrics.bootstrap import draw_cases


def sums(*dices: list[float], f1: float = 0.9) -> np.ndarray:
    """[2, C, 8]: one outlined frame per case of the given Dice, before and after; AC errors of 5 %, score 0.8."""
    result = np.zeros((2, len(dices[0]), COLUMNS))
    for which, own in enumerate(dices):
        result[which, :, 0], result[which, :, 1] = own, 1
        result[which, :, 2], result[which, :, 3] = f1, 2 - 2 * f1
        result[which, :, 4:8] = 0.05, 1, 0.8, 1
    return result


def group(values: np.ndarray, synthetic: bool = False) -> dict:
    draws = draw_cases(values.shape[1], 500, 0)
    return {"cases": values.shape[1], "synthetic": synthetic, "figures": paired_figures(values, draws)}


def test_a_figure_that_is_surely_worse_stops_a_candidate_however_little() -> None:
    before = [0.90, 0.80, 0.95, 0.85]
    found = group(sums(before, [value - 0.004 for value in before]))
    dice = found["figures"]["dice"]
    assert dice["difference"] == pytest.approx(-0.004)
    assert dice["interval"] == pytest.approx([-0.004, -0.004])
    assert found["figures"]["f1"]["difference"] == 0
    passed, reason = verdict({"confirmed": found})
    assert not passed
    assert reason == "Dice 0.875 -> 0.871 on 4 validation cases"


def test_a_mean_that_is_worse_by_more_than_the_limit_stops_it_though_it_may_be_chance() -> None:
    before = [0.9, 0.9, 0.9, 0.9]
    by_chance = group(sums(before, [0.95, 0.70, 0.95, 0.92]))
    assert by_chance["figures"]["dice"]["interval"][1] > 0
    assert not verdict({"confirmed": by_chance})[0]
    within = group(sums(before, [0.95, 0.85 - MAX_LOSS, 0.90, 0.89]))
    assert verdict({"confirmed": within})[0]


def test_every_group_and_every_figure_counts_and_a_larger_ac_error_is_worse() -> None:
    better = sums([0.8, 0.8], [0.9, 0.9])
    worse_ac = better.copy()
    worse_ac[1, :, 4] = 0.08
    assert verdict({"confirmed": group(better), "original": group(better, True)}) == (
        True,
        "Dice 0.800 -> 0.900 on 2 validation cases; Dice 0.800 -> 0.900 on 2 synthetic phantom validation cases",
    )
    passed, reason = verdict({"confirmed": group(better), "original": group(worse_ac, True)})
    assert (passed, reason) == (False, "AC error 0.050 -> 0.080 on 2 synthetic phantom validation cases")
    told = {"passed": False, "reason": reason}
    assert sentence("3", told, False) == f"candidate 3: {reason}: not published"


def test_one_case_has_no_interval_and_nothing_to_compare_does_not_pass() -> None:
    alone = group(sums([0.8], [0.81]))
    assert alone["figures"]["dice"]["interval"] is None
    assert verdict({"confirmed": alone})[0]
    nothing = group(np.zeros((2, 2, COLUMNS)))
    assert set(nothing["figures"].values()) == {None}
    refused = False, "no outline of the confirmed validation cases could be compared"
    assert verdict({"confirmed": nothing}) == refused
    # what is known of old cases only says nothing of what people corrected
    assert verdict({"confirmed": nothing, "original": group(sums([0.8, 0.8], [0.9, 0.9]))}) == refused


def test_the_challenge_score_of_whole_sweeps_counts_and_may_move_a_little() -> None:
    better = sums([0.8, 0.8, 0.8], [0.9, 0.9, 0.9])
    for by, passes in ((-0.04, True), (-0.06, False)):
        moved = better.copy()
        moved[1, :, 6] += [by, by - 0.2, by + 0.2]  # by chance: the interval holds 0
        found = group(moved)
        assert found["figures"]["score"]["interval"][1] > 0
        passed, reason = verdict({"confirmed": group(better), "sweeps": found})
        assert (passed, "challenge score 0.800" in reason) == (passes, True)
