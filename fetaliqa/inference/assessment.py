"""The assessment of a case: every frame's quality, mask and measurement, and the ranking of frames.

Its JSON form (``Assessment.record``) is versioned by ``ASSESSMENT_SCHEMA`` and described, field by
field, in docs/assessment.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from fetaliqa.anatomy import anatomy_named
from fetaliqa.biometry import OutlineFit, fit_outline, main_component
from fetaliqa.errors import OptionError
from fetaliqa.geometry import SquareGrid
from fetaliqa.inference.case_search import CaseSearch
from fetaliqa.inference.options import AssessOptions
from fetaliqa.inference.predictor import ChunkPrediction, Predictor
from fetaliqa.inference.profile import FrameProfile, ProfileMaker
from fetaliqa.models import BundleCard
from fetaliqa.quality import FrameEvidence, quality_score, rank_frames
from fetaliqa.sector import field_of_view
from fetaliqa.student.folder import Student
from fetaliqa.sweep import Sweep

ASSESSMENT_SCHEMA = 1
Progress = Callable[[int, int], None]  # (frames done, frames in all)


@dataclass(frozen=True)
class Assessment:
    """What was found in a case.

    Attributes:
        record: the JSON-able assessment (docs/assessment.md).
        masks: uint8 [T, H, W], 1 inside the outlined anatomy on positive frames, on the native grid.
        profile: what decides whether a frame is worth labelling; None of a classifier.
    """

    record: dict[str, Any]
    masks: np.ndarray
    profile: FrameProfile | None = None


def chosen_frames(sweep: Sweep, options: AssessOptions) -> np.ndarray:
    """Frame numbers to assess: not padding, and inside the chosen sweeps or frame range.

    Raises:
        OptionError: when a chosen sweep or frame does not exist.
    """
    wanted = np.zeros(sweep.frame_count, bool)
    if options.sweeps is None:
        wanted[:] = True
    else:
        for number in options.sweeps:
            if number >= len(sweep.ranges):
                raise OptionError(
                    f"sweep {number} asked for, but {sweep.case_id} has {len(sweep.ranges)} (counted from 0)"
                )
            start, stop = sweep.ranges[number]
            wanted[start:stop] = True
    if options.frames is not None:
        start, stop = options.frames
        if stop > sweep.frame_count:
            raise OptionError(
                f"frames [{start}, {stop}] asked for, but {sweep.case_id} has {sweep.frame_count} frames"
            )
        wanted[:start] = False
        wanted[stop:] = False
    return np.flatnonzero(wanted & ~sweep.padding)


class FrameAssessor:
    """Turns one frame's probabilities into its part of the assessment."""

    def __init__(self, sweep: Sweep, predictor: Predictor, threshold: float, frame_threshold: float) -> None:
        self.sweep = sweep
        self.threshold = threshold
        self.frame_threshold = frame_threshold
        self.min_fraction = predictor.card.threshold.min_foreground_fraction
        self.anatomy = anatomy_named(predictor.card.anatomy)
        self.grid = SquareGrid(sweep.frames.shape[1], sweep.frames.shape[2], predictor.image_size)
        self.field_of_view = field_of_view(sweep.frames)
        self.sector_on_grid = self.grid.mask_to_square(self.field_of_view[None])[0]
        self.grid_pixel_mm = None
        if sweep.spacing is not None:
            self.grid_pixel_mm = float(np.sqrt(sweep.spacing[0] * sweep.spacing[1])) * self.grid.pixel_scale

    def segmentation(
        self, probabilities: torch.Tensor, cls: float | None
    ) -> tuple[dict[str, Any], np.ndarray | None]:
        """Frame fields and the native mask (None on a negative frame) from grid probabilities [224, 224]."""
        on_grid = probabilities.cpu().numpy()
        fraction = float((on_grid > self.threshold).mean())
        positive = float((on_grid > self.frame_threshold).mean()) > self.min_fraction
        mask, fit = None, None
        if positive:
            native = self.grid.masks_to_native(probabilities[None], self.threshold)[0]
            native[self.field_of_view == 0] = 0  # nothing is outlined where nothing is seen
            mask = main_component(native)
            fit = None if mask is None else fit_outline(mask, self.sweep.spacing, self.field_of_view)
        quality = quality_score(
            FrameEvidence(
                probabilities=on_grid,
                threshold=self.threshold,
                min_foreground_fraction=self.min_fraction,
                grid_pixel_mm=self.grid_pixel_mm,
                sector=self.sector_on_grid,
                fit=fit,
                cls_probability=cls,
                anatomy=self.anatomy,
            )
        )
        fields: dict[str, Any] = {
            "quality": round(quality.value, 5),
            "quality_parts": {name: round(value, 4) for name, value in quality.components.items()},
            "positive": positive,
            "foreground_fraction": round(fraction, 6),
        }
        if cls is not None:
            fields["cls_probability"] = round(cls, 5)
        if mask is not None and fit is not None:
            fields |= self._measured(mask, fit)
        return fields, mask

    def _measured(self, mask: np.ndarray, fit: OutlineFit) -> dict[str, Any]:
        pixels = int(mask.sum())
        row, column = self.sweep.spacing or (None, None)
        return {
            "area_px": pixels,
            "area_mm2": None if row is None or column is None else round(pixels * row * column, 2),
            "ellipse": None if fit.ellipse is None else {k: round(v, 3) for k, v in asdict(fit.ellipse).items()},
            "circumference_mm": None if fit.circumference_mm is None else round(fit.circumference_mm, 2),
            "circumference_absent": fit.absent_reason,
            "fit_residual": None if fit.residual is None else round(float(fit.residual), 5),
            "warning": fit.warning(self.anatomy),
            "fitted_share": None if fit.fitted_share is None else round(float(fit.fitted_share), 4),
        }


def assess(
    sweep: Sweep,
    predictor: Predictor,
    options: AssessOptions | None = None,
    *,
    classifier: Predictor | None = None,
    student: Student | None = None,
    progress: Progress | None = None,
) -> Assessment:
    """Assess a case.

    Args:
        sweep: the frames.
        predictor: a segmentation model, or a classification model (then there are no masks).
        options: which part, and how.
        classifier: a classification model whose frame probability joins the quality score.
        student: what a search takes its first guesses from; None: every few frames are looked at first.
        progress: called with (frames done, frames in all) after each batch.

    Raises:
        OptionError: when the options do not fit the case.
    """
    options = options or AssessOptions()
    indices = chosen_frames(sweep, options)
    if not len(indices):
        raise OptionError(
            f"{sweep.case_id}: every frame of the chosen part is black padding; choose other sweeps or frames"
        )
    card = predictor.card.threshold
    threshold, frame_threshold = card.probability, card.frame
    if options.threshold is not None:
        threshold = frame_threshold = options.threshold
    masks = np.zeros(sweep.frames.shape, np.uint8)
    fields: dict[int, dict[str, Any]] = {}
    done = 0
    cls_scores: dict[int, float] = {}
    assessor = FrameAssessor(sweep, predictor, threshold, frame_threshold) if predictor.is_segmentation else None
    profile = ProfileMaker(predictor.card.threshold.min_foreground_pixels(predictor.image_size))
    student = student if options.search else None
    search = CaseSearch(sweep, indices, student) if options.search else None
    for chunk in _predicted(sweep, predictor, indices, search, fields):
        cls_scores |= _classifier_scores(sweep, classifier, chunk.indices)
        for position, frame in enumerate(int(index) for index in chunk.indices):
            if assessor is not None and chunk.probabilities is not None:
                fields[frame], mask = assessor.segmentation(chunk.probabilities[position], cls_scores.get(frame))
                if mask is not None:
                    masks[frame] = mask
            elif chunk.scores is not None:
                score = float(chunk.scores[position])
                fields[frame] = {"quality": round(score, 5), "positive": score > frame_threshold}
        if chunk.probabilities is not None and chunk.appearance is not None:
            profile.add(chunk.indices, chunk.probabilities, chunk.appearance)
        done += len(chunk.indices)
        if progress is not None:
            progress(done, len(indices))
    if progress is not None and done < len(indices):
        progress(len(indices), len(indices))  # nothing else can win
    if search is not None:
        fields |= search.guesses(fields)
    record = _record(sweep, predictor, classifier, student, options, (threshold, frame_threshold), fields)
    return Assessment(record, masks, profile.profile())


def _predicted(
    sweep: Sweep,
    predictor: Predictor,
    indices: np.ndarray,
    search: CaseSearch | None,
    fields: dict[int, dict[str, Any]],
) -> Iterator[ChunkPrediction]:
    """What the model says of the frames: of all, or of those that a search asks for by what was found."""
    if search is None:
        yield from predictor.predict(sweep.frames, indices)
        return
    while len(wanted := search.wanted(fields)):
        yield from predictor.predict(sweep.frames, wanted)


def _classifier_scores(sweep: Sweep, classifier: Predictor | None, indices: np.ndarray) -> dict[int, float]:
    if classifier is None:
        return {}
    return {
        int(frame): float(score)
        for chunk in classifier.predict(sweep.frames, indices)
        if chunk.scores is not None
        for frame, score in zip(chunk.indices, chunk.scores)
    }


def model_info(card: BundleCard) -> dict[str, Any]:
    """Name, version, task, anatomy and measurement of a model, from its card."""
    anatomy = anatomy_named(card.anatomy)
    return {
        "name": card.name,
        "version": card.version,
        "task": card.task,
        "anatomy": anatomy.name,
        "measurement": anatomy.measurement,
    }


def _record(
    sweep: Sweep,
    predictor: Predictor,
    classifier: Predictor | None,
    student: Student | None,
    options: AssessOptions,
    thresholds: tuple[float, float],
    fields: dict[int, dict[str, Any]],
) -> dict[str, Any]:
    quality = np.full(sweep.frame_count, np.nan)
    positive = np.zeros(sweep.frame_count, bool)
    guessed = np.zeros(sweep.frame_count, bool)
    for frame, values in fields.items():
        quality[frame] = values["quality"]
        guessed[frame] = values.get("interpolated", False)
        positive[frame] = bool(
            values["positive"]
        )  # what nobody looked at supports its neighbours, and is not offered
    ranking = rank_frames(quality, positive, sweep.ranges, top_n=options.top_n)
    reason = ranking.reason
    if reason is not None and guessed.any():
        reason = rank_frames(np.where(guessed, np.nan, quality), positive, sweep.ranges).reason
    padding = sweep.padding
    frames = [
        {
            "index": frame,
            "sweep": sweep.sweep_of(frame),
            "padding": bool(padding[frame]),
            "quality": None,
            "positive": None,
        }
        | fields.get(frame, {})
        for frame in range(sweep.frame_count)
    ]
    return {
        "schema": ASSESSMENT_SCHEMA,
        "case_id": sweep.case_id,
        "content_hash": sweep.content_hash,
        "shape": [int(size) for size in sweep.frames.shape],
        "spacing_mm": None if sweep.spacing is None else [float(value) for value in sweep.spacing],
        "model": model_info(predictor.card),
        "classifier": None if classifier is None else model_info(classifier.card),
        "student": None if student is None else student.fingerprint,
        "options": options.as_dict(),
        "threshold": thresholds[0],
        "frame_threshold": thresholds[1],
        "min_foreground_fraction": predictor.card.threshold.min_foreground_fraction,
        "grid": predictor.image_size,
        "best": ranking.best,
        "reason": reason,
        "ranking": [int(frame) for frame in ranking.frames],
        "sweeps": [
            {
                "start": int(part.start),
                "stop": int(part.stop),
                "padding": int(padding[part.start : part.stop].sum()),
                "best": part.best,
                "ranking": [int(frame) for frame in part.frames],
            }
            for part in ranking.sweeps
        ],
        "frames": frames,
        "notes": list(sweep.notes),
    }
