"""Memory that runs out in inference: smaller batches with the same answers, and a sentence where nothing fits."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from test_assessment import AXES, SPACING, brightness_predictor, drawn_frames
from test_overlapped import FakeRecorder, all_answers, frames_of, mean_and_size

from fetaliqa.errors import DeviceFull
from fetaliqa.inference import AssessOptions, Predictor, assess
from fetaliqa.inference.batch_halving import WHOLE_AGAIN_SECONDS, HalvingForward
from fetaliqa.inference.cuda_graphs import AGAIN_SECONDS, CapturedForward
from fetaliqa.registry import AssessmentService
from fetaliqa.sweep import sweep_from_array

CPU = torch.device("cpu")
ERRORS = {
    "allocator": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "cuBLAS": lambda: RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    "host": MemoryError,
}


class SmallCard:
    """A model whose passes fit for so many frames, and fail above as PyTorch does; as it is called it is noted."""

    def __init__(self, compute, fits: int, error=ERRORS["allocator"]) -> None:
        self._compute, self.fits, self._error = compute, fits, error
        self.tried: list[int] = []

    def __call__(self, squares, *rest):
        self.tried.append(len(squares))
        if len(squares) > self.fits:
            raise self._error()
        return self._compute(squares, *rest)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def on_small_card(predictor: Predictor, fits: int, error=ERRORS["allocator"]) -> SmallCard:
    """Let the model of a predictor run out of memory above so many frames."""
    card = SmallCard(predictor.model.forward, fits, error)
    predictor.model.forward = card
    if hasattr(predictor.model, "outline_and_maps"):
        card._compute = predictor.model.outline_and_maps
        predictor.model.outline_and_maps = card
    return card


@pytest.mark.parametrize("kind", ["random_bundle", "random_classifier"])
@pytest.mark.parametrize("error", ERRORS)
def test_a_batch_too_large_for_the_memory_is_answered_in_halves_as_a_whole_one_is(kind, error, request):
    bundle = request.getfixturevalue(kind)
    frames = np.random.default_rng(0).integers(0, 255, (11, 60, 80)).astype(np.uint8)
    whole = all_answers(Predictor(bundle, "cpu", batch_size=8), frames)
    predictor = Predictor(bundle, "cpu", batch_size=8)
    card = on_small_card(predictor, 3, ERRORS[error])
    np.testing.assert_allclose(all_answers(predictor, frames), whole, atol=1e-5)
    assert card.tried == [8, 4, 2, 2, 2, 2, 2, 1]  # what did fit is kept


def test_an_assessment_with_little_memory_is_the_same():
    sweep = sweep_from_array(drawn_frames(dict.fromkeys(range(20, 34), AXES)), (SPACING, SPACING))
    predictor = brightness_predictor()
    on_small_card(predictor, 5)
    found, wanted = assess(sweep, predictor), assess(sweep, brightness_predictor())
    assert found.record == wanted.record
    assert np.array_equal(found.masks, wanted.masks)
    assert found.masks.any()


def test_whole_batches_are_tried_again_after_a_minute(caplog):
    clock, card = Clock(), SmallCard(mean_and_size, 2)
    halving = HalvingForward(card, CPU, clock)
    with caplog.at_level(logging.WARNING):
        halving(frames_of(1, 2, 3, 4))
        halving(frames_of(5, 6, 7, 8))
    assert card.tried == [4, 2, 2, 2, 2]
    assert [record.getMessage() for record in caplog.records] == [
        "memory of cpu ran out: frames are computed 2 at a time for 60 s"
    ]
    clock.now, card.fits, card.tried = WHOLE_AGAIN_SECONDS, 4, []
    assert halving(frames_of(5, 6, 7, 8)).probabilities[:, 0].tolist() == [5, 6, 7, 8]
    assert card.tried == [4]


def test_where_not_one_frame_fits_it_is_a_sentence_and_later_it_is_computed():
    clock, card = Clock(), SmallCard(mean_and_size, 0)
    halving = HalvingForward(card, CPU, clock)
    with pytest.raises(DeviceFull) as refused:
        halving(frames_of(1, 2, 3))
    assert "device cpu is full" in str(refused.value)
    assert "try again in 30 s" in str(refused.value)
    assert (refused.value.http_status, refused.value.exit_code) == (503, 1)
    assert refused.value.__context__ is None  # whose traceback would hold the memory of the pass
    card.fits = 3
    assert halving(frames_of(1, 2, 3)).probabilities[:, 0].tolist() == [1, 2, 3]


def test_another_error_is_not_taken_for_it():
    def broken(_):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        HalvingForward(broken, CPU)(frames_of(1, 2))


def test_a_recording_that_memory_was_too_short_for_is_made_later(caplog):
    clock, recorder = Clock(), FakeRecorder()
    record = SmallCard(lambda held, compute: recorder(compute, held), 0)
    captured = CapturedForward(mean_and_size, 8, lambda compute, held: record(held, compute), clock)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert captured(frames_of(1, 2)).probabilities[:, 0].tolist() == [1, 2]
    assert record.tried == [8]
    assert set(captured.failures) == {8}
    assert "Tried to allocate 2.00 GiB" in captured.failures[8]
    assert len(caplog.records) == 1
    clock.now, record.fits = AGAIN_SECONDS, 8
    for _ in range(2):
        assert captured(frames_of(1, 2)).probabilities[:, 0].tolist() == [1, 2]
    assert record.tried == [8, 8]
    assert recorder.played == [8, 8]
    assert captured.failures == {}


def test_a_batch_that_is_neither_recorded_nor_fits_is_recorded_in_halves():
    recorder = FakeRecorder()
    record = SmallCard(lambda held, compute: recorder(compute, held), 8)
    captured = CapturedForward(SmallCard(mean_and_size, 8), 32, lambda compute, held: record(held, compute))
    levels = list(range(32))
    assert HalvingForward(captured, CPU)(frames_of(*levels)).probabilities[:, 0].tolist() == levels
    assert record.tried == [32, 16, 8]
    assert recorder.played == [8, 8, 8, 8]


def test_a_service_says_so_too_when_the_model_does_not_fit(random_bundle, monkeypatch, tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (3, 60, 80)).astype(np.uint8)
    path = tmp_path / "case.mha"
    sitk.WriteImage(sitk.GetImageFromArray(frames), str(path))
    service = AssessmentService(random_bundle.directory, device="cpu")
    load, fails = type(random_bundle).load_model, [True]

    def loaded(*arguments, **named):
        if fails:
            raise ERRORS["allocator"]()
        return load(*arguments, **named)

    monkeypatch.setattr(type(random_bundle), "load_model", loaded)
    with pytest.raises(DeviceFull):
        service.assess(path)
    fails.clear()
    assert len(service.assess(path, AssessOptions()).assessment["frames"]) == 3


def test_memory_that_runs_out_beside_the_model_is_the_same_sentence(random_bundle, monkeypatch, tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (3, 60, 80)).astype(np.uint8)
    path = tmp_path / "case.mha"
    sitk.WriteImage(sitk.GetImageFromArray(frames), str(path))
    service = AssessmentService(random_bundle.directory, device="cpu")

    def full(*_):
        raise ERRORS["allocator"]()

    monkeypatch.setattr("fetaliqa.inference.frame_measurement.FrameAssessor.on_both_grids", full)
    with pytest.raises(DeviceFull, match="memory of device cpu is full"):
        service.assess(path)
