"""Batches recorded, started ahead and measured by threads: the same answers, in the same order, as one by one.

What a GPU is needed for (streams, CUDA graphs) is in tests that run where there is one.
"""

from __future__ import annotations

import logging
import threading

import numpy as np
import pytest
import torch
from test_assessment import AXES, SPACING, brightness_predictor, drawn_frames

from fetaliqa.inference import Assessment, AssessOptions, Predictor, assess
from fetaliqa.inference.cuda_graphs import CapturedForward
from fetaliqa.inference.frame_measurement import MOST_WAITING, Findings
from fetaliqa.inference.model_outputs import Outputs
from fetaliqa.sweep import sweep_from_array


class FakeRecorder:
    """As a CUDA graph: each play reads the same input tensor and writes into the same output tensors."""

    def __init__(self, broken: bool = False) -> None:
        self.sizes: list[int] = []
        self.played: list[int] = []
        self.broken = broken

    def __call__(self, compute, held):
        if self.broken:
            raise RuntimeError("operation not permitted when stream is capturing")
        self.sizes.append(len(held))
        outputs = compute(held)

        def play():
            self.played.append(len(held))
            for place, value in zip(outputs, compute(held)):
                if place is not None:
                    place.copy_(value)

        return play, outputs


def mean_and_size(squares: torch.Tensor) -> Outputs:
    """Of each frame something of its own, and of the batch its size."""
    means = squares.float().mean(dim=(1, 2))
    return Outputs(means[:, None], torch.full((len(squares), 1), float(len(squares))))


def frames_of(*levels: int) -> torch.Tensor:
    return torch.tensor(levels, dtype=torch.uint8)[:, None, None].expand(-1, 2, 2).contiguous()


def test_a_batch_takes_the_smallest_recording_that_holds_it_and_each_is_made_once():
    recorder = FakeRecorder()
    captured = CapturedForward(mean_and_size, 40, recorder)
    for count, size in ((40, 40), (3, 10), (21, 40), (20, 20), (10, 10), (11, 20)):
        values, sizes, _ = captured(frames_of(*range(count)))
        assert values[:, 0].tolist() == list(range(count))
        assert sizes[:, 0].tolist() == [size] * count
    assert recorder.sizes == [40, 10, 20]
    assert recorder.played == [40, 10, 40, 20, 10, 20]


def test_answers_outlive_the_next_batch():
    captured = CapturedForward(mean_and_size, 8, FakeRecorder())
    first, *_ = captured(frames_of(1, 2, 3))
    second, *_ = captured(frames_of(7, 8))
    assert first[:, 0].tolist() == [1, 2, 3]
    assert second[:, 0].tolist() == [7, 8]


def test_threads_that_share_a_recording_get_their_own_answers():
    captured = CapturedForward(mean_and_size, 8, FakeRecorder())
    wrong: list[int] = []

    def ask(level: int) -> None:
        for _ in range(200):
            if captured(frames_of(level, level))[0][:, 0].tolist() != [level, level]:
                wrong.append(level)

    threads = [threading.Thread(target=ask, args=(level,)) for level in (3, 5, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_where_nothing_can_be_recorded_it_is_computed_as_ever(caplog: pytest.LogCaptureFixture):
    captured = CapturedForward(mean_and_size, 16, FakeRecorder(broken=True))
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            values, sizes, _ = captured(frames_of(4, 6, 8))
    assert values[:, 0].tolist() == [4, 6, 8]
    assert sizes[:, 0].tolist() == [3, 3, 3]
    assert [record.getMessage() for record in caplog.records] == [
        "batches of 8 frames are computed without a CUDA graph (operation not permitted when stream is capturing)"
    ]


def overlapped(predictor: Predictor, threads: int = 3) -> Predictor:
    """The same predictor working as it does on a GPU."""
    predictor.ahead, predictor.threads = 2, threads
    predictor.captured = CapturedForward(predictor._forward, predictor.batch_size, FakeRecorder())
    return predictor


@pytest.mark.parametrize("kind", ["random_bundle", "random_classifier"])
def test_batches_started_ahead_come_in_their_order_with_the_same_answers(kind, request):
    bundle = request.getfixturevalue(kind)
    single = np.random.default_rng(0).integers(0, 255, (14, 60, 80)).astype(np.uint8)
    frames = single[[0, 0, 1, *[2] * 9, 3, 4, 5, 5, 1, *range(6, 14)]]  # a batch without anything new, too
    indices = np.array([16, *range(15), *range(17, 25)])
    plain = list(Predictor(bundle, "cpu", batch_size=4).predict(frames, indices))
    predictor = overlapped(Predictor(bundle, "cpu", batch_size=4))
    chunks = predictor.predict(frames, indices)
    given = [next(chunks)]
    assert len(predictor.captured._record.played) == 3 - 1  # three are started: one of them repeats a frame
    given += chunks
    assert [chunk.indices.tolist() for chunk in given] == [chunk.indices.tolist() for chunk in plain]
    for one, other in zip(given, plain):
        for name in ("probabilities", "scores", "appearance"):
            mine, expected = getattr(one, name), getattr(other, name)
            assert (mine is None) == (expected is None)
            if mine is not None:
                np.testing.assert_allclose(np.asarray(mine), np.asarray(expected), atol=1e-5)


def some_sweeps():
    frames = drawn_frames(dict.fromkeys(range(20, 34), AXES) | {5: (6, 5), 40: (60, 50)})
    return sweep_from_array(frames, (SPACING, SPACING), sweeps=2, case_id="drawn")


def same(one: Assessment, other: Assessment) -> bool:
    return one.record == other.record and np.array_equal(one.masks, other.masks)


@pytest.mark.parametrize("search", [False, True])
def test_an_overlapped_assessment_is_the_same(search):
    sweep, options = some_sweeps(), AssessOptions(search=search)
    done: list[tuple[int, int]] = []
    assessment = assess(sweep, overlapped(brightness_predictor()), options, progress=lambda *at: done.append(at))
    assert same(assessment, assess(sweep, brightness_predictor(), options))
    assert assessment.masks.any()
    assert done[-1] == (70, 70)


def test_what_goes_wrong_in_a_thread_is_told(monkeypatch):
    def fail(*_):
        raise ValueError("no such ellipse")

    monkeypatch.setattr("fetaliqa.inference.frame_measurement.fit_mask", fail)
    with pytest.raises(ValueError, match="no such ellipse"):
        assess(some_sweeps(), overlapped(brightness_predictor()))


def test_few_frames_wait_for_threads_at_a_time():
    begun, go_on = threading.Event(), threading.Event()

    def slow():
        begun.set()
        go_on.wait(20)
        return {}, np.ones((2, 2), np.uint8)

    with Findings((MOST_WAITING + 9, 2, 2), 1) as findings:
        for frame in range(MOST_WAITING):
            findings.add(frame, slow)
        assert begun.wait(20)
        assert not findings.masks.any()
        go_on.set()
        for frame in range(MOST_WAITING, MOST_WAITING + 9):
            findings.add(frame, slow)
        assert findings.masks[:9].all()
        assert len(findings.fields()) == MOST_WAITING + 9
    assert findings.masks.all()


def all_answers(predictor: Predictor, frames: np.ndarray) -> torch.Tensor:
    chunks = list(predictor.predict(frames, np.arange(len(frames))))
    parts = [chunk.scores if chunk.probabilities is None else chunk.probabilities.cpu() for chunk in chunks]
    return torch.cat([torch.as_tensor(part) for part in parts])


@pytest.mark.cuda
@pytest.mark.parametrize("kind", ["random_bundle", "random_classifier"])
@pytest.mark.parametrize(("precision", "bound"), [("fp32", 5e-3), ("bf16", 0.03)])
def test_a_gpu_answers_as_a_cpu_does(kind, precision, bound, request):
    bundle = request.getfixturevalue(kind)
    frames = np.random.default_rng(0).integers(0, 255, (150, 60, 80)).astype(np.uint8)
    frames[20:90] = frames[20]
    wanted = all_answers(Predictor(bundle, "cpu", precision="fp32"), frames)
    predictor = Predictor(bundle, "cuda", precision=precision)
    for _ in range(2):  # recorded, then played
        assert (all_answers(predictor, frames) - wanted).abs().max() < bound
    assert all(recording is not None for recording in predictor.captured._recorded.values())


@pytest.mark.cuda
def test_an_assessment_on_a_gpu_is_as_one_by_one(random_bundle):
    frames = np.random.default_rng(1).integers(0, 255, (100, 60, 80)).astype(np.uint8)
    sweep, options = sweep_from_array(frames, (0.5, 0.5)), AssessOptions(threshold=0.001)
    plain = Predictor(random_bundle, "cuda")
    plain.ahead, plain.threads, plain.captured = 0, 0, None
    one, other = (assess(sweep, predictor, options) for predictor in (plain, Predictor(random_bundle, "cuda")))
    assert len(one.record["ranking"]) == len(other.record["ranking"])
    assert (one.masks != other.masks).mean() < 1e-3
