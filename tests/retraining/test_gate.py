"""The gate: figures, how sure they are, and which of them let a candidate pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fetaliqa.retraining import gate_verdict as rules
from fetaliqa.retraining.gate_figures import COLUMN, SUMS, by_subject, paired_figures
from fetaliqa.retraining.gate_verdict import MAX_LOSS, MAX_LOSS_OF_SCORE, advice, remarks, sentence, verdict

SIX = 6  # subjects: enough for a sure difference


def model(
    dices: list[float], *, empty_right: list[int] | None = None, empties: int = 0, **others: Any
) -> np.ndarray:
    """Sums [S, 10] of one model: one outlined frame per subject, found when its Dice is above 0, and empty frames.

    Args:
        dices: of each subject's outlined frame.
        empty_right: how many of ``empties`` frames of each subject are called empty; all by default.
        empties: empty frames of each subject.
        others: ``ac`` and ``score``, of each subject.
    """
    result = np.zeros((len(dices), len(SUMS)))
    hits = np.array(dices) > 0
    right = np.full(len(dices), empties) if empty_right is None else np.array(empty_right)
    for name, values in {
        "dice": dices,
        "outlined": 1,
        "tp": hits,
        "fn": ~hits,
        "tn": right,
        "fp": empties - right,
    }.items():
        result[:, COLUMN[name]] = values
    for name, count in (("ac", "acs"), ("score", "scores")):
        if name in others:
            result[:, COLUMN[name]], result[:, COLUMN[count]] = others[name], 1
    return result


def group(published: np.ndarray, candidate: np.ndarray, synthetic: bool = False) -> dict[str, Any]:
    """As ``compare`` measures one, a case per subject."""
    sums = np.stack([published, candidate])
    empty = int(published[:, [COLUMN["fp"], COLUMN["tn"]]].sum())
    outlined = int(published[:, COLUMN["outlined"]].sum())
    return {
        "cases": len(published),
        "subjects": len(published),
        "frames": outlined + empty,
        "outlined": outlined,
        "empty": empty,
        "synthetic": synthetic,
        "figures": paired_figures(sums, draws=500),
    }


def f1_group(before: float, after: float, cases: int = SIX, synthetic: bool = True) -> dict[str, Any]:
    """A group of replayed data whose F1 goes from one value to another in every case."""
    both = [np.zeros((cases, len(SUMS))) for _ in range(2)]
    for own, value in zip(both, (before, after)):
        own[:, COLUMN["tp"]], own[:, COLUMN["fn"]] = value, 2 - 2 * value
    return group(*both, synthetic)


def judged(**groups: dict[str, Any]) -> tuple[bool, str]:
    judgement = verdict(groups)
    return judgement.passed, judgement.rule


# -- figures ----------------------------------------------------------------------------------------


def test_recall_specificity_and_their_mean_are_shares_of_frames() -> None:
    figures = group(
        model([0.9, 0.8, 0.0, 0.7], empties=2), model([0.9, 0.8, 0.6, 0.7], empties=2, empty_right=[2, 1, 1, 2])
    )
    values = {
        name: (figure["published"], figure["candidate"]) for name, figure in figures["figures"].items() if figure
    }
    assert values["dice"] == (0.6, 0.75)
    assert values["recall"] == (0.75, 1.0)
    assert values["specificity"] == (1.0, 0.75)
    assert values["balanced_accuracy"] == (0.875, 0.875)
    assert values["f1"] == (pytest.approx(6 / 7, abs=1e-5), 0.8)
    assert (figures["outlined"], figures["empty"]) == (4, 8)
    assert figures["figures"]["ac_error"] is None


def test_whole_subjects_are_drawn_and_not_their_cases() -> None:
    cases = np.stack([model([0.5] * 8), model([0.6, 0.7, 0.6, 0.7, 0.6, 0.7, 0.6, 0.7])])
    apart = paired_figures(cases)["dice"]
    assert (apart["subjects"], apart["sure"]) == (8, "better")
    two = by_subject(cases, ["anna"] * 4 + ["berta"] * 4)
    assert two.shape == (2, 2, len(SUMS))
    together = paired_figures(two)["dice"]
    assert together["difference"] == apart["difference"]
    assert (together["subjects"], together["sure"]) == (2, None)  # two people, whatever the interval
    assert together["interval"] == pytest.approx([0.15, 0.15])
    one = paired_figures(by_subject(cases, ["anna"] * 8))["dice"]
    assert (one["interval"], one["sure"]) == (None, None)


def test_a_difference_is_sure_from_five_subjects_on_and_only_when_its_interval_leaves_out_zero() -> None:
    for subjects, sure in ((4, None), (5, "better")):
        figure = paired_figures(np.stack([model([0.5] * subjects), model([0.6] * subjects)]))["dice"]
        assert (figure["interval"], figure["sure"]) == ([0.1, 0.1], sure)
    figure = paired_figures(np.stack([model([0.5] * SIX), model([0.9, 0.4, 0.5, 0.6, 0.3, 0.6])]))["dice"]
    assert figure["interval"][0] < 0 < figure["interval"][1]
    assert figure["sure"] is None
    ac = paired_figures(np.stack([model([0.9] * SIX, ac=0.05), model([0.9] * SIX, ac=0.08)]))["ac_error"]
    assert (ac["difference"], ac["sure"]) == (-0.03, "worse")  # a larger error is worse


# -- a sure gain on confirmed frames ----------------------------------------------------------------


def test_synthetic_cases_are_no_veto_over_a_sure_gain_on_real_frames() -> None:
    # 14 real abdomens, 12 real empties, of 26 patients: from nothing to Dice 0.8, with 2 empties called positive
    before, after = (np.zeros((26, len(SUMS))) for _ in range(2))
    before[:14], after[:14] = model([0.0] * 14), model([0.8] * 14)
    before[14:, COLUMN["tn"]] = 1
    after[14:24, COLUMN["tn"]], after[24:, COLUMN["fp"]] = 1, 1
    own = group(before, after)
    held = {name: own["figures"][name]["subjects"] for name in ("dice", "specificity", "balanced_accuracy")}
    assert held == {"dice": 14, "specificity": 12, "balanced_accuracy": 12}  # of the rarer kind of frame
    judgement = verdict({"confirmed": own, "original": f1_group(0.931, 0.175)})
    assert (judgement.passed, judgement.rule) == (True, rules.SURELY_BETTER)
    assert judgement.reason == (
        "Dice 0.000 -> 0.800, F1 0.000 -> 0.933, specificity 1.000 -> 0.833 on 14 outlined and 12 empty frames of "
        "26 subjects (significantly better); worse on replayed data: F1 0.931 -> 0.175 on 6 synthetic phantom "
        "validation cases"
    )
    # that the synthetic cases did get significantly worse is shown in the figures
    assert f1_group(0.931, 0.175)["figures"]["f1"]["sure"] == "worse"


def test_replayed_real_data_are_no_veto_over_a_sure_gain_either_but_the_loss_is_told() -> None:
    own = group(model([0.5] * SIX, empties=1), model([0.6] * SIX, empties=1))
    judgement = verdict({"confirmed": own, "original": f1_group(0.9, 0.7, synthetic=False)})
    assert (judgement.passed, judgement.rule) == (True, rules.SURELY_BETTER)
    assert judgement.reason.endswith("worse on replayed data: F1 0.900 -> 0.700 on 6 validation cases")


def test_a_sure_gain_is_not_bought_with_another_figure_of_the_confirmed_frames() -> None:
    worse_ac = group(model([0.5] * SIX, ac=0.05), model([0.6] * SIX, ac=0.08))
    judgement = verdict({"confirmed": worse_ac})
    assert (judgement.passed, judgement.rule, judgement.figure) == (False, rules.WORSE, "ac_error")
    assert judgement.reason == "AC error 0.050 -> 0.080 on 6 validation cases, significantly worse"
    little = group(model([0.5] * SIX, ac=0.05), model([0.6] * SIX, ac=0.05 + MAX_LOSS / 2))
    assert judged(confirmed=little) == (True, rules.SURELY_BETTER)
    # empties count as much as outlined frames, however few: 3 of 6 more are called positive, for Dice 0.80 -> 0.85
    wrong = model([0.85] * SIX, empties=1, empty_right=[0, 0, 0, 1, 1, 1])
    judgement = verdict({"confirmed": group(model([0.8] * SIX, empties=1), wrong)})
    assert (judgement.passed, judgement.rule, judgement.figure) == (False, rules.WORSE, "balanced_accuracy")


def test_a_large_loss_that_may_be_chance_outweighs_a_smaller_gain_that_is_sure() -> None:
    for dice, passes in (
        (0.6, False),
        (0.9, True),
    ):  # 2 of 6 empty frames are called positive: balanced accuracy -0.17
        wrong = model([dice] * SIX, empties=1, empty_right=[0, 0, 1, 1, 1, 1])
        own = group(model([0.5] * SIX, empties=1), wrong)
        assert own["figures"]["balanced_accuracy"]["sure"] is None
        judgement = verdict({"confirmed": own})
        assert (judgement.passed, judgement.rule) == (passes, rules.SURELY_BETTER if passes else rules.WORSE)
        assert passes or judgement.reason.endswith(
            "balanced accuracy 1.000 -> 0.833 on 6 validation cases, more than was gained"
        )


# -- a gain that is not significant -----------------------------------------------------------------


def unsure(gain: float) -> dict[str, Any]:
    """Two subjects that got better."""
    return group(model([0.5, 0.5], empties=2), model([0.5 + gain, 0.5 + gain], empties=2))


def test_a_gain_that_may_be_chance_passes_when_nothing_speaks_against_it() -> None:
    judgement = verdict({"confirmed": unsure(0.05), "original": f1_group(0.9, 0.9)})
    assert (judgement.passed, judgement.rule) == (True, rules.BETTER)
    assert "better, but not significant" in judgement.reason
    assert judged(confirmed=group(model([0.8]), model([0.81]))) == (True, rules.BETTER)  # one subject only


def test_replayed_real_data_stop_a_gain_that_may_be_chance_when_they_are_surely_worse() -> None:
    for after, synthetic, passes in (
        (0.88, False, False),  # surely
        (0.895, False, True),  # less than anyone would notice
        (0.88, True, True),  # synthetic data only count by much
        (0.75, True, False),
    ):
        judgement = verdict({"confirmed": unsure(0.05), "original": f1_group(0.9, after, synthetic=synthetic)})
        assert judgement.passed == passes, after
        assert judgement.rule == (rules.BETTER if passes else rules.FORGETS)
    # not surely: two cases; then it is weighed against the gain
    assert judged(confirmed=unsure(0.05), original=f1_group(0.9, 0.83, 2, False)) == (False, rules.FORGETS)
    assert judged(confirmed=unsure(0.10), original=f1_group(0.9, 0.83, 2, False)) == (True, rules.BETTER)


def test_synthetic_data_guard_in_proportion_to_the_gain() -> None:
    assert judged(confirmed=unsure(0.1), original=f1_group(0.9, 0.7)) == (False, rules.FORGETS)
    assert judged(confirmed=unsure(0.3), original=f1_group(0.9, 0.7)) == (True, rules.BETTER)
    # by less than much they do not count, though the gain is smaller
    assert judged(confirmed=unsure(0.02), original=f1_group(0.9, 0.82)) == (True, rules.BETTER)


def test_the_challenge_score_of_whole_sweeps_may_move_a_little() -> None:
    for by, passes in ((-MAX_LOSS_OF_SCORE + 0.01, True), (-MAX_LOSS_OF_SCORE - 0.01, False)):
        moved = [0.8 + by, 0.6 + by, 1.0 + by]  # by chance: the interval holds 0
        sweeps = group(model([0.8] * 3, score=0.8), model([0.8] * 3, score=moved))
        assert sweeps["figures"]["score"]["sure"] is None
        judgement = verdict({"confirmed": unsure(0.02), "sweeps": sweeps})
        assert judgement.passed == passes
        assert passes or "challenge score 0.800 -> 0.740 on 3 validation cases" in judgement.reason


# -- a worse one, and one that is no better ---------------------------------------------------------


def test_a_figure_that_got_worse_everywhere_stops_a_candidate_however_little() -> None:
    before = [0.90, 0.80, 0.95, 0.85, 0.9]
    judgement = verdict({"confirmed": group(model(before), model([value - 0.004 for value in before]))})
    assert (judgement.passed, judgement.rule, judgement.figure) == (False, rules.WORSE, "dice")
    assert judgement.reason == "Dice 0.880 -> 0.876 on 5 validation cases, and no figure gained more"


def test_a_mean_that_lost_more_than_any_other_gained_stops_it_though_it_may_be_chance() -> None:
    by_chance = group(model([0.9] * 4), model([0.95, 0.70, 0.95, 0.92]))
    assert by_chance["figures"]["dice"]["interval"][1] > 0
    assert judged(confirmed=by_chance) == (False, rules.WORSE)
    # Dice +0.10 and one empty frame of four wrong (balanced accuracy -0.125), of two subjects: not enough to tell
    wrong = model([0.6, 0.6], empties=2, empty_right=[2, 1])
    assert judged(confirmed=group(model([0.5, 0.5], empties=2), wrong)) == (False, rules.WORSE)


def test_an_equal_model_is_not_published() -> None:
    same = model([0.95] * SIX, empties=2, ac=0.03)
    judgement = verdict({"confirmed": group(same, same), "original": f1_group(0.5, 0.9)})
    assert (judgement.passed, judgement.rule) == (False, rules.NOT_BETTER)
    assert judgement.reason.startswith("not better in any figure: Dice 0.950 -> 0.950, F1 1.000 -> 1.000")
    hidden = model([0.9504] * SIX, empties=2, ac=0.03)  # surely, and nothing that three decimals show
    assert judged(confirmed=group(same, hidden)) == (False, rules.NOT_BETTER)


# -- models that are none ---------------------------------------------------------------------------


def test_a_model_that_finds_nothing_is_never_published() -> None:
    nothing = model([0.0] * SIX, empties=2)
    judgement = verdict({"confirmed": group(nothing, nothing)})
    assert (judgement.passed, judgement.rule) == (False, rules.FINDS_NOTHING)
    assert judgement.reason.startswith("it finds next to nothing: Dice 0.000 -> 0.000")
    # surely better than one that called everything positive, and still nothing
    loud = model([0.02] * SIX, empties=2, empty_right=[0] * SIX)
    assert judged(confirmed=group(loud, nothing)) == (False, rules.FINDS_NOTHING)
    # few of many frames have an outline: a low F1 does not mean that nothing is found
    many = model([0.9] * SIX, empties=100, empty_right=[70] * SIX)
    assert many[:, COLUMN["fp"]].sum() > 20 * SIX
    assert judged(confirmed=group(model([0.0] * SIX, empties=100), many)) == (True, rules.SURELY_BETTER)
    # frames called positive, with outlines beside the mark
    assert judged(confirmed=group(nothing, model([0.03] * SIX, empties=2))) == (False, rules.FINDS_NOTHING)


def test_a_model_that_calls_every_confirmed_empty_frame_positive_is_refused() -> None:
    nothing = model([0.0] * SIX, empties=2)
    loud = model([0.5] * SIX, empties=2, empty_right=[0] * SIX)
    judgement = verdict({"confirmed": group(nothing, loud)})
    assert (judgement.passed, judgement.rule) == (False, rules.ALL_POSITIVE)
    assert judgement.reason == "it calls 12 of 12 confirmed empty frames positive (the published model: 0)"
    better_but_loud = model([0.9] * SIX, empties=2, empty_right=[0] * 5 + [1])
    judgement = verdict({"confirmed": group(loud, better_but_loud)})
    assert (judgement.passed, judgement.rule) == (False, rules.ALL_POSITIVE)
    assert "11 of 12 confirmed empty frames positive (the published model: 12)" in judgement.reason


def test_two_empty_frames_are_too_few_to_tell_and_it_is_said() -> None:
    def own(wrong: int) -> dict[str, Any]:
        before, after = model([0.3] * SIX), model([0.9] * SIX)
        before[:wrong, COLUMN["fp"]] = after[:wrong, COLUMN["fp"]] = 1
        return group(before, after)

    assert judged(confirmed=own(2)) == (True, rules.SURELY_BETTER)
    (remark,) = remarks({"groups": {"confirmed": own(2)}})
    assert remark.startswith("2 confirmed empty frame(s)")
    assert "3 are needed" in remark
    assert judged(confirmed=own(3)) == (False, rules.ALL_POSITIVE)
    assert remarks({"groups": {"confirmed": own(3)}}) == []


def test_without_a_confirmed_outline_there_is_nothing_to_decide_by() -> None:
    empty = np.zeros((2, len(SUMS)))
    nothing = group(empty, empty)
    assert set(nothing["figures"].values()) == {None}
    better = group(model([0.8] * SIX), model([0.9] * SIX), True)
    for groups in ({"confirmed": nothing}, {"confirmed": nothing, "original": better}, {"original": better}):
        assert judged(**groups) == (False, rules.NOTHING_TO_COMPARE)


# -- sentences --------------------------------------------------------------------------------------


REFUSALS = {
    rules.NOTHING_TO_COMPARE: "annotate frames of more patients",
    rules.FINDS_NOTHING: "confirm outlined frames of more patients, or train with mode full",
    rules.ALL_POSITIVE: "confirm more empty frames",
    rules.NOT_BETTER: "confirm frames that the published model gets wrong, or train with mode full",
    rules.FORGETS: "from 5 validation patients on",
}


@pytest.mark.parametrize("rule", REFUSALS)
def test_a_refusal_says_what_to_do_next_and_how_to_publish_all_the_same(rule: str) -> None:
    gate = {"passed": False, "rule": rule, "reason": "so it is", "groups": {}}
    assert REFUSALS[rule] in advice(gate, "quick")
    assert "mode full" not in advice(gate, "full")
    text = sentence("seg", "3", {**gate, "advice": advice(gate, "quick")}, False)
    assert text.startswith("candidate 3: so it is: not published. Next: ")
    assert REFUSALS[rule] in text
    assert text.endswith("on record: `fetaliqa models publish seg@3 --force --reason WHY`")


def test_what_to_confirm_is_the_kind_of_frame_that_got_worse() -> None:
    before = model([0.8] * SIX, empties=2)
    for after, kind in (
        (model([0.8] * SIX, empties=2, empty_right=[1] * SIX), "empty"),
        (model([0.8, 0.8, 0.8, 0.0, 0.0, 0.0], empties=2), "outlined"),
    ):
        groups = {"confirmed": group(before, after)}
        judgement = verdict(groups)
        assert (judgement.passed, judgement.rule) == (False, rules.WORSE)
        text = advice({"rule": judgement.rule, "figure": judgement.figure, "groups": groups}, "full")
        assert text == f"confirm more {kind} frames, of other patients"


def test_a_candidate_that_passed_is_told_as_published_or_why_not() -> None:
    gate = {"passed": True, "rule": rules.BETTER, "reason": "Dice 0.8 -> 0.9", "groups": {}}
    assert sentence("seg", "3", gate, True) == "candidate 3: Dice 0.8 -> 0.9: published"
    text = sentence("seg", "3", gate, False, "publishing was turned off")
    assert text == "candidate 3: Dice 0.8 -> 0.9: not published (publishing was turned off)"
