"""Which frames a selection takes, and what is refused."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from fetaliqa.errors import OptionError
from fetaliqa.export.export_case import ExportCase, FrameEntry
from fetaliqa.export.frame_selection import Selection
from fetaliqa.export.selected_frames import chosen_entries
from fetaliqa.measure import rank_frames
from fetaliqa.sweep import Grid


def taken(found) -> set[tuple[str, int]]:
    with open(found.out / "manifest.csv", newline="") as stream:
        return {(row["case_id"], int(row["frame"])) for row in csv.DictReader(stream)}


@pytest.mark.parametrize(
    ("words", "frames"),
    [
        ((), {1, 3, 4, 7}),
        (("--states", "annotated"), {1, 3, 7}),
        (("--states", "proposed"), {9}),
        (("--states", "annotated,empty,proposed"), {1, 3, 4, 7, 9}),
        (("--planes", "optimal"), {1}),
        (("--planes", "suboptimal,ungraded"), {3, 7}),
    ],
)
def test_frames_are_taken_by_state_and_plane(export, words, frames):
    exported = export("--cases", "alpha", *words)
    assert taken(exported) == {("alpha", frame) for frame in frames}
    assert exported.card["counts"]["frames"] == len(frames)


@pytest.mark.parametrize(
    ("words", "cases"),
    [
        (("--raters", "bo"), {"gamma"}),
        (("--since", "2026-03-31"), {"gamma"}),
        (("--until", "2026-03-01"), {"alpha", "beta", "delta"}),
        (("--since", "2026-03-01", "--until", "2026-03-01T09:59"), None),
        (("--cases", "beta,delta"), {"beta", "delta"}),
    ],
)
def test_cases_are_taken_by_rater_time_and_name(export, words, cases):
    exported = export("--states", "annotated", *words)
    if cases is None:
        assert exported.code == 2
        assert "nothing is selected; there are 12 annotated, 4 empty, 4 proposed in 4 cases" in exported.err
        assert not exported.out.exists()
    else:
        assert {case for case, _ in taken(exported)} == cases


def scored_case(quality: dict[int, float]) -> ExportCase:
    entries = {f: FrameEntry(f, f // 20, "annotated", "optimal", True, quality=q) for f, q in quality.items()}
    stack = np.zeros((40, 4, 4), np.uint8)
    reference = np.full(40, np.nan)
    reference[list(quality)] = list(quality.values())
    return ExportCase("c", "s", stack, stack, entries, None, ((0, 20), (20, 40)), Grid(), quality=reference)


def test_frames_that_nobody_may_take_speak_for_their_neighbours_as_in_an_assessment():
    """A frame beside ones that the model calls bad is worth less than one beside frames that it never saw."""
    case = scored_case({3: 0.80, 4: 0.81, 30: 0.78, 31: 0.78, 32: 0.78})
    assert case.quality is not None
    case.quality[[0, 1, 2, 5, 6, 7, 8]] = 0.0
    case.quality[[28, 29, 33, 34]] = 0.09
    best = rank_frames(case.quality, case.quality > 0.1, case.ranges).best
    assert list(chosen_entries(case, Selection(states=("annotated",), top=1, per="case"))) == [best] == [31]


def test_frames_unlike_the_training_data_are_taken_last_as_in_an_assessment():
    case = replace(scored_case({3: 0.14, 30: 0.2}), unlike=np.arange(40) == 3)
    case.quality[[1, 2, 4, 5]] = 0.9  # nobody may take these, and they would lift frame 3
    assert list(chosen_entries(case, Selection(top=1, per="case"))) == [30]
    assert list(chosen_entries(replace(case, unlike=None), Selection(top=1, per="case"))) == [3]


def test_the_best_are_taken_with_a_gap_between_them():
    case = scored_case({2: 0.9, 3: 0.95, 4: 0.8, 12: 0.5, 19: 0.7, 21: 0.6})
    assert list(chosen_entries(case, Selection(top=1))) == [3]
    assert list(chosen_entries(case, Selection(top=3, gap=5))) == [3, 19, 21]  # 19 and 21 are of two sweeps
    assert list(chosen_entries(case, Selection(top=1, per="sweep"))) == [3, 21]
    assert list(chosen_entries(case, Selection(min_quality=0.8))) == [2, 3, 4]


def test_a_selection_by_quality_without_scores_says_what_is_missing(export):
    exported = export("--best")
    assert exported.code == 2
    assert "name the model that scores them (--model)" in exported.err
    assert not exported.out.exists()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"states": ["confirmed"]}, "states: 'confirmed'; choose among annotated, empty, proposed"),
        ({"states": []}, "states: 0 names"),
        ({"planes": "optimal"}, "planes: a list of names is needed"),
        ({"min_quality": 1.5}, "min_quality is 1.5"),
        ({"min_quality": float("nan")}, "min_quality is nan"),
        ({"top": True}, "top is True"),
        ({"top": 0}, "top is 0"),
        ({"per": "frame"}, "per is 'frame'"),
        ({"since": "yesterday"}, "since is 'yesterday'; a date"),
        ({"since": 5}, "since is '5'; a date"),
        ({"since": "2026-02-01", "until": "2026-01-01"}, "is after until"),
        ({"path": "/etc"}, "unknown condition 'path'"),
        ([], "a selection is a JSON object"),
    ],
)
def test_a_condition_that_cannot_be_meant_is_refused(given, words):
    with pytest.raises(OptionError) as caught:
        Selection.from_json(given)
    assert words in str(caught.value)


def test_a_selection_survives_its_json_form():
    selection = Selection(states=("annotated",), planes=("optimal",), top=3, per="sweep", cases=("a", "b"))
    assert Selection.from_json(selection.to_json()) == selection


def test_a_list_of_cases_may_come_from_a_windows_editor(export, tmp_path):
    (tmp_path / "cases.txt").write_bytes(b"\xef\xbb\xbfalpha\r\nbeta\r\n")
    assert export("--format", "png", "--cases", f"@{tmp_path / 'cases.txt'}", "--dry-run").code == 0
    (tmp_path / "cases.txt").write_bytes("käse".encode("latin-1"))
    refused = export("--format", "png", "--cases", f"@{tmp_path / 'cases.txt'}", "--dry-run", name="b")
    assert (refused.code, "byte 1 is not UTF-8" in refused.err) == (2, True)
