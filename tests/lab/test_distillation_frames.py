"""What the compact network is taught: which frames, how often, and with which outlines."""

from __future__ import annotations

import numpy as np
import pytest

from fetaliqa.errors import TrainingError
from fetaliqa.lab.distillation import distillation_frames
from fetaliqa.lab.distillation.distillation_frames import NEIGHBOURS, DistillationFrames, hard
from fetaliqa.lab.distillation.teacher_outputs import Answers


def a_case(positive: list[int], doubtful: list[int] = (), sweeps: int = 2, length: int = 30) -> Answers:
    """A disc of probability 0.8 on positive frames, faint ones on doubtful frames."""
    count = sweeps * length
    shown = np.isin(np.arange(count), positive)
    rows, columns = np.ogrid[:224, :224]
    disc = (rows - 112) ** 2 + (columns - 100) ** 2 < 40**2
    outlines = (disc * (204 * shown[:, None, None])).astype(np.uint8)
    quality = np.where(shown, 0.8, np.where(np.isin(np.arange(count), doubtful), 0.05, 0.0)).astype(np.float32)
    squares = np.broadcast_to(np.arange(count, dtype=np.uint8)[:, None, None], (count, 224, 224))
    starts = np.arange(sweeps) * length
    return Answers(
        np.ascontiguousarray(squares),
        outlines,
        quality,
        shown,
        np.stack([starts, starts + length], axis=1),
        np.full(sweeps, -1),
    )


def test_hard_frames_are_beside_positive_ones_of_their_sweep_or_doubtful() -> None:
    frames_found = np.flatnonzero(hard(a_case([28, 29], [50])))
    assert frames_found.tolist() == [*range(28 - NEIGHBOURS, 28), 50]  # frame 30 is another sweep's


def test_a_positive_frame_is_taught_the_teachers_probabilities_and_any_other_nothing() -> None:
    shown, beside, others = DistillationFrames([a_case([10, 11])], 1).by_kind
    assert (len(shown), len(beside), len(others)) == (2, 2 * NEIGHBOURS, 60 - 2 - 2 * NEIGHBOURS)
    square, outline = shown.sample(0, np.random.default_rng(0))
    assert (square.shape, outline.shape, outline.dtype) == ((224, 224), (224, 224), np.float32)
    assert outline.max() == pytest.approx(0.8, abs=0.01)
    assert 0.7 * 40**2 < (outline > 0.5).sum() / np.pi < 1.4 * 40**2
    assert beside.sample(0, np.random.default_rng(0))[1].max() == 0


def test_more_frames_than_fit_are_chosen_evenly_from_all_cases(monkeypatch) -> None:
    monkeypatch.setattr(distillation_frames, "MOST_FRAMES", 60)
    frames = DistillationFrames([a_case(list(range(20))), a_case([5])], 2)
    assert len(frames) == 60
    assert frames.seen == 120
    assert [len(kind) for kind in frames.by_kind] == [10 + 1, 5 + 10, 15 + 19]


def test_what_a_kind_without_frames_would_have_had_goes_to_another() -> None:
    everything = DistillationFrames([a_case(list(range(60)))], 1)
    assert [share.count for share in everything.shares()] == [16]
    no_others = DistillationFrames([a_case([3, 8], sweeps=1, length=14)], 1)
    assert [share.count for share in no_others.shares()] == [7, 9]


def test_where_the_anatomy_is_nowhere_there_is_nothing_to_learn() -> None:
    with pytest.raises(TrainingError, match="on none of 60 training frames"):
        DistillationFrames([a_case([])], 1)
