"""The model of the simulation: a frozen encoder with a decoder trained from scratch in each round."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch

from fetaliqa.active.frame_pool import Pool
from fetaliqa.evaluation.acouslic_metrics import mean_score
from fetaliqa.evaluation.case_scores import case_outcome, worth_assessing
from fetaliqa.evaluation.frame_metrics import frame_metrics
from fetaliqa.inference.chunk_prediction import TORCH, ChunkPrediction
from fetaliqa.inference.frame_profile import FrameProfile, ProfileMaker
from fetaliqa.lab.efficiency.simulation_data import SubsampledCase
from fetaliqa.model import BundleCard, FetalCLIPSeg, Threshold, normalise
from fetaliqa.model.interval_file import Intervals
from fetaliqa.training.batch_sampling import make_order
from fetaliqa.training.plain_loop import Cycle, train_outlines
from fetaliqa.training.recipes import DECODER
from fetaliqa.training.starting_weights import Base
from fetaliqa.training.training_frames import FrameSet, frames_of_case, join

CHUNK = 64  # frames
BATCH = 16
STARTS = 4
NEAR_PRESENCE = 0.1  # presence from which a negative frame is a near miss
LEARNING_RATE = 1e-2  # of the recipe `decoder`


def frame_set(cases: Sequence[SubsampledCase], size: int) -> FrameSet:
    """All frames of some cases on the model's grid, in order."""
    return join(
        [
            frames_of_case(
                thin.case.frames, thin.case.masks, hard=np.zeros(len(thin.numbers), bool), case=number, size=size
            )
            for number, thin in enumerate(cases)
        ]
    )


def chosen_frames(frames: FrameSet, chosen: np.ndarray) -> FrameSet:
    """Some frames of a set."""
    return replace(frames, **{name: getattr(frames, name)[chosen] for name in frames.__dataclass_fields__})


def kinds_of(pool: Pool) -> np.ndarray:
    """int [N]: prediction of the current model by frame: 2 positive, 1 near miss, 0 negative."""
    return np.where(pool.positive, 2, np.where(pool.presence > NEAR_PRESENCE, 1, 0))


def training_sample(
    grades: np.ndarray, labelled: np.ndarray, kinds: np.ndarray, steps: int, seed: int
) -> np.ndarray:
    """Indices of the training frames, with repetitions.

    Strategies that query difficult frames over-represent near misses, and a decoder trained on these predicts too
    few outlines. So each negative frame is repeated by the ratio of all to labelled frames of its kind; an even
    sample is not changed.

    Args:
        grades: [N], of all frames.
        labelled: bool [N].
        kinds: int [N], see :func:`kinds_of`.
        steps: of the training.
        seed: of the draw.

    Returns:
        int [n], indices.
    """
    stand_for = np.bincount(kinds) / np.maximum(np.bincount(kinds[labelled], minlength=kinds.max() + 1), 1)
    outlined, empty = np.flatnonzero(labelled & (grades > 0)), np.flatnonzero(labelled & (grades == 0))
    if not len(empty):
        return outlined
    chance = stand_for[kinds[empty]]
    drawn = np.random.default_rng(seed).choice(empty, steps * BATCH, p=chance / chance.sum())
    return np.concatenate([outlined, drawn])


def train_decoder(base: Base, frames: FrameSet, steps: int, seed: int) -> FetalCLIPSeg:
    """A model with a new decoder trained on frames; untrained when none has an outline.

    From some initialisations a small decoder collapses to empty predictions. One that finds none of its training
    outlines is trained again from another initialisation.
    """
    outlined = chosen_frames(frames, np.flatnonzero(frames.grades > 0))
    starts = STARTS if len(outlined) and steps else 0
    model = _fresh(base, seed)
    for start in range(starts):
        model = _fitted(_fresh(base, seed + 1000 * start), frames, steps, seed)
        if (predictions(model, outlined.images)[0] > Threshold().probability).any():
            break
    return model


def _fresh(base: Base, seed: int) -> FetalCLIPSeg:
    model = base.build(DECODER, seed)
    assert isinstance(model, FetalCLIPSeg)
    return model.eval()


def _fitted(model: FetalCLIPSeg, frames: FrameSet, steps: int, seed: int) -> FetalCLIPSeg:
    model.visual.requires_grad_(False)
    order = make_order(frames, replace(DECODER, batch_size=BATCH, hard_share=0.0), seed)
    train_outlines(model, frames, order, Cycle(steps, LEARNING_RATE, average=0.97, seed=seed))
    return model


@torch.inference_mode()
def predictions(model: FetalCLIPSeg, images: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities float [N, S, S] and appearance float [N, C] of frames uint8 [N, S, S]."""
    probabilities, looks = [], []
    for start in range(0, len(images), CHUNK):
        logits, maps = model.outline_and_maps(normalise(torch.from_numpy(np.array(images[start : start + CHUNK]))))
        probabilities.append(torch.sigmoid(logits[:, 0]))
        looks.append(maps[-1].mean(dim=(2, 3)))
    return torch.cat(probabilities), torch.cat(looks)


def profile_of(numbers: np.ndarray, probabilities: torch.Tensor, appearance: torch.Tensor) -> FrameProfile:
    """The profile of frames with the given numbers."""
    maker = ProfileMaker(Threshold().min_foreground_pixels(probabilities.shape[-1]))
    maker.add(numbers, probabilities, appearance)
    profile = maker.profile()
    assert profile is not None
    return profile


@dataclass
class _Reader:
    """A substitute for ``Predictor`` that returns stored predictions."""

    card: BundleCard
    image_size: int
    probabilities: torch.Tensor
    padding: np.ndarray
    is_segmentation: bool = True
    threads: int = 0
    device: str = "cpu"
    runtime: str = TORCH
    intervals: Intervals = field(default_factory=Intervals)

    def predict(self, frames: np.ndarray, indices: np.ndarray) -> Iterator[ChunkPrediction]:
        for start in range(0, len(indices), CHUNK):
            chunk = indices[start : start + CHUNK]
            yield ChunkPrediction(chunk, self.probabilities[torch.from_numpy(chunk)], None)


def test_figures(
    model: FetalCLIPSeg, card: BundleCard, cases: Sequence[SubsampledCase], frames: FrameSet
) -> dict[str, float | None]:
    """Evaluate the model on test cases.

    Returns:
        ``dice`` (mean over frames with an outline, at the outline's threshold, on the square grid), ``f1`` of
        frames, ``ac_error_mm`` (mean over measured sweeps with a reference; None without any), ``challenge`` (the
        ACOUSLIC-AI score, corrected).
    """
    probabilities, _ = predictions(model, frames.images)
    truth = torch.from_numpy(frames.outlines(np.arange(len(frames)))).bool()
    mask = probabilities > card.threshold.probability
    positive = frames.grades > 0
    overlap = 2.0 * (mask & truth).sum(dim=(1, 2)) / (mask.sum(dim=(1, 2)) + truth.sum(dim=(1, 2))).clamp(min=1)
    sure = probabilities > card.threshold.frame
    called = (sure.sum(dim=(1, 2)) >= card.threshold.min_foreground_pixels(frames.size)).numpy()
    errors, scores = [], []
    for number, thin in enumerate(cases):
        own = torch.from_numpy(frames.cases == number)
        reader = _Reader(card, frames.size, probabilities[own], np.zeros(int(own.sum()), bool))
        if not worth_assessing(thin.case, reader):  # type: ignore[arg-type]
            continue
        outcome = case_outcome(thin.case, number, reader)  # type: ignore[arg-type]
        errors += [
            abs(one.measured_mm - one.reference_mm) for one in outcome.measurements if one.measured_mm is not None
        ]
        if outcome.scores is not None:
            scores.append(outcome.scores["corrected"])
    return {
        "dice": float(overlap.numpy()[positive].mean()) if positive.any() else None,
        "f1": frame_metrics(called, positive).f1,
        "ac_error_mm": float(np.mean(errors)) if errors else None,
        "challenge": mean_score(scores)["score"] if scores else None,
    }
