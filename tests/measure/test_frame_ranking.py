from __future__ import annotations

import numpy as np
import pytest

from fetaliqa.measure import frame_support, rank_frames

SWEEPS = ((0, 140), (140, 280))


def two_sweeps() -> tuple[np.ndarray, np.ndarray]:
    quality = np.full(280, 0.02)
    quality[110:140] = np.nan  # black padding
    quality[250:280] = np.nan
    return quality, np.zeros(280, bool)


def put(quality: np.ndarray, positive: np.ndarray, center: int, height: float, half: int = 4) -> None:
    for offset in range(-half, half + 1):
        quality[center + offset] = height - 0.01 * abs(offset)
        positive[center + offset] = True


def test_top_frames_are_different_looks():
    quality, positive = two_sweeps()
    for center, height in ((30, 0.9), (60, 0.8), (200, 0.85)):
        put(quality, positive, center, height)
    ranking = rank_frames(quality, positive, SWEEPS)
    assert ranking.frames == (30, 200, 60)
    assert ranking.best == 30
    assert ranking.reason is None
    assert [sweep.best for sweep in ranking.sweeps] == [30, 200]
    assert ranking.sweeps[0].frames == (30, 60)


def test_frames_closer_than_the_gap_are_not_offered_twice():
    quality, positive = two_sweeps()
    quality[20:90] = 0.7
    positive[20:90] = True
    frames = rank_frames(quality, positive, SWEEPS, top_n=10).frames
    gaps = np.diff(sorted(frames))
    assert (gaps >= 15).all()
    assert len(frames) >= 4


def test_frames_of_different_sweeps_are_never_neighbours():
    quality, positive = two_sweeps()
    quality[139] = quality[140] = 0.9
    positive[139] = positive[140] = True
    assert set(rank_frames(quality, positive, SWEEPS).frames) == {139, 140}


def test_the_middle_of_a_run_is_preferred_to_a_lone_spike():
    quality, positive = two_sweeps()
    put(quality, positive, 50, 0.85)
    quality[90], positive[90] = 0.92, True
    assert rank_frames(quality, positive, SWEEPS).best == 50


def test_the_middle_of_a_run_of_equals_is_its_best():
    quality, positive = two_sweeps()
    quality[40:51] = 0.8
    positive[40:51] = True
    assert rank_frames(quality, positive, SWEEPS).best in (44, 45, 46)


def test_a_much_better_frame_wins_within_its_run():
    quality, positive = two_sweeps()
    quality[40:51] = 0.5
    quality[43] = 0.95
    positive[40:51] = True
    assert rank_frames(quality, positive, SWEEPS).best == 43


def test_only_positive_scored_frames_are_offered():
    quality, positive = two_sweeps()
    quality[70] = 0.99
    positive[120] = True  # padding: not scored
    put(quality, positive, 30, 0.4)
    assert rank_frames(quality, positive, SWEEPS).frames == (30,)


def test_no_usable_frame_is_said():
    quality, positive = two_sweeps()
    ranking = rank_frames(quality, positive, SWEEPS)
    assert ranking.best is None
    assert ranking.frames == ()
    assert ranking.reason.startswith("no usable frame: none of the 220 scored frames")
    assert all(sweep.best is None and sweep.frames == () for sweep in ranking.sweeps)


def test_nothing_scored_is_said():
    ranking = rank_frames(np.full(280, np.nan), np.ones(280, bool), SWEEPS)
    assert ranking.reason == "no usable frame: no frame was scored"


def test_one_frame_is_a_sweep():
    assert rank_frames(np.array([0.6]), np.array([True]), ((0, 1),)).frames == (0,)


@pytest.mark.parametrize("top_n", [1, 2, 3])
def test_no_more_frames_than_asked_for(top_n):
    quality, positive = two_sweeps()
    for center in (20, 50, 80, 160, 190, 220):
        put(quality, positive, center, 0.8)
    ranking = rank_frames(quality, positive, SWEEPS, top_n=top_n)
    assert len(ranking.frames) == top_n
    assert all(len(sweep.frames) == top_n for sweep in ranking.sweeps)


@pytest.mark.parametrize(
    ("options", "ranges"), [({"top_n": 0}, SWEEPS), ({"min_gap": 0}, SWEEPS), ({}, ((0, 300),)), ({}, ((5, 5),))]
)
def test_impossible_options_are_refused(options, ranges):
    quality, positive = two_sweeps()
    with pytest.raises(ValueError, match=r"top_n|sweep"):
        rank_frames(quality, positive, ranges, **options)


def test_a_run_at_the_end_of_a_sweep_prefers_its_middle():
    quality, positive = two_sweeps()
    quality[:8] = 0.8
    positive[:8] = True
    assert rank_frames(quality, positive, SWEEPS).best in (2, 3, 4)


def test_frames_unlike_the_training_data_come_last_whatever_their_neighbours_are():
    quality, positive = two_sweeps()
    quality[40:49], positive[40:49] = 0.9, True
    quality[44], quality[160], positive[160] = 0.14, 0.2, True
    unlike = np.arange(len(quality)) == 44
    assert frame_support(quality[:140])[44] > frame_support(quality[140:])[20]  # it would win by its neighbours
    positive[40:44] = positive[45:49] = False
    assert rank_frames(quality, positive, SWEEPS, unlike=unlike).frames == (160, 44)
    assert rank_frames(quality, positive, SWEEPS).frames == (44, 160)


def test_within_a_sweep_a_frame_like_the_training_data_is_best():
    quality, positive = two_sweeps()
    quality[40:49], positive[40:49] = 0.14, True
    quality[20], positive[20] = 0.16, True
    unlike = (np.arange(len(quality)) >= 40) & (np.arange(len(quality)) < 49)
    ranking = rank_frames(quality, positive, SWEEPS, unlike=unlike)
    assert ranking.best == ranking.sweeps[0].best == 20
    assert ranking.frames == (20, 44)
