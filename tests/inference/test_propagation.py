"""Masks carried along a sweep with the model that ships."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fetaliqa.errors import OptionError
from fetaliqa.evaluation.frame_metrics import dice
from fetaliqa.inference.interactive_segmentation import EncodedFrame, InteractiveSegmenter
from fetaliqa.inference.propagation import StopRule, propagate, why_stop
from fetaliqa.model.interactive_bundle import InteractiveBundle
from fetaliqa.model.user_folders import interactive_folder
from fetaliqa.sweep import Sweep, read_masks, read_sweep

CASE = (
    "f0d494c1-9ae1-4d45-a20e-fcaf30c2e979.mha"  # a phantom that did not train: seeds of sample data are their own
)


@pytest.fixture(scope="module")
def segmenter() -> InteractiveSegmenter:
    return InteractiveSegmenter(InteractiveBundle.open(interactive_folder()))


@pytest.fixture(scope="module")
def sweep(sample_data: Path) -> Sweep:
    return read_sweep(sample_data / "images" / "stacked_fetal_ultrasound" / CASE)


@pytest.fixture(scope="module")
def truth(sample_data: Path, sweep: Sweep) -> np.ndarray:
    return (read_masks(sample_data / "masks" / "stacked_fetal_abdomen" / CASE, sweep) > 0).astype(np.uint8)


def run(truth: np.ndarray) -> np.ndarray:
    """The first run of annotated frames that follow each other."""
    shown = np.flatnonzero(truth.any(axis=(1, 2)))
    return shown[: 1 + int(np.argmax(np.diff(shown, append=shown[-1] + 2) > 1))]


def test_a_mask_is_carried_to_its_neighbours(
    segmenter: InteractiveSegmenter, sweep: Sweep, truth: np.ndarray
) -> None:
    numbers = run(truth)
    start = int(numbers[len(numbers) // 2])
    carried = propagate(
        segmenter,
        lambda frame: segmenter.encode(sweep.frames[frame]),
        start,
        truth[start],
        sweep.ranges[sweep.sweep_of(start)],
        limit=3,
    )
    assert [one.frame for one in carried.frames] == sorted(one.frame for one in carried.frames)
    near = [one for one in carried.frames if one.frame in numbers]
    assert near, "no neighbour got a mask"
    assert all(abs(one.frame - start) <= 3 for one in carried.frames)
    assert np.mean([dice(one.mask, truth[one.frame]) for one in near]) > 0.85
    assert set(carried.stopped) == {"forward", "backward"}


def test_it_ends_at_the_sweeps_border_at_black_slots_and_at_the_limit(
    segmenter: InteractiveSegmenter, sweep: Sweep, truth: np.ndarray
) -> None:
    start = int(run(truth)[0])
    always = StopRule(least_dice=0.0, gone_dice=0.0, most_change=1e9, most_drift=1e9)

    def encoded(frame: int) -> EncodedFrame | None:
        return None if frame == start + 2 else segmenter.encode(sweep.frames[frame])

    bounds = (start - 1, start + 40)
    one = propagate(segmenter, encoded, start, truth[start], bounds, rule=always)
    assert {name: (end.frame, end.reason) for name, end in one.stopped.items()} == {
        "forward": (start + 1, "end of sweep"),
        "backward": (start - 1, "end of sweep"),
    }
    other = propagate(segmenter, encoded, start, truth[start], bounds, rule=always, limit=1, direction="forward")
    assert [each.frame for each in other.frames] == [start + 1]
    assert (other.stopped["forward"].reason, set(other.stopped)) == ("limit", {"forward"})


def test_a_black_frame_ends_it(segmenter: InteractiveSegmenter, sweep: Sweep, truth: np.ndarray) -> None:
    start = int(run(truth)[0])
    black = segmenter.encode(np.zeros_like(sweep.frames[start]))
    carried = propagate(segmenter, lambda _: black, start, truth[start], (0, 90), direction="forward")
    assert carried.frames == []
    assert carried.stopped["forward"].frame == start + 1


@pytest.mark.parametrize(
    ("area", "dice_expected", "reason"),
    [
        (1000, 0.95, None),
        (0, 0.95, "anatomy left"),
        (1000, 0.1, "anatomy left"),
        (1000, 0.55, "low expected Dice"),
        (400, 0.95, "area changed"),
        (2100, 0.95, "area changed"),
    ],
)
def test_the_rule_says_why(area: int, dice_expected: float, reason: str | None) -> None:
    rule = StopRule(least_dice=0.7, gone_dice=0.4, most_change=1.35, most_drift=2.5)
    assert why_stop(area, 1000, 1000, dice_expected, rule) == reason


def test_slow_growth_ends_too() -> None:
    rule = StopRule(least_dice=0.7, gone_dice=0.4, most_change=1.35, most_drift=2.5)
    assert why_stop(2600, 2500, 1000, 0.9, rule) == "area changed"


@pytest.mark.parametrize(
    ("changed", "words"),
    [({"mask": np.zeros((281, 372))}, "empty"), ({"direction": "up"}, "direction"), ({"limit": 0}, "limit")],
)
def test_what_cannot_be_carried_is_refused(segmenter: InteractiveSegmenter, changed: dict, words: str) -> None:
    given = {"mask": np.ones((281, 372)), **changed}
    with pytest.raises(OptionError, match=words):
        propagate(segmenter, lambda _: None, 0, given.pop("mask"), (0, 9), **given)
