"""Assessment of a case: quality, mask and measurement of every frame, and the ranking of frames.

The JSON form (``Assessment.record``) is versioned by ``ASSESSMENT_SCHEMA`` and documented in docs/assessment.md.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np

from fetaliqa.errors import OptionError
from fetaliqa.inference.assessment_options import AssessOptions
from fetaliqa.inference.case_screen import CaseScreen
from fetaliqa.inference.case_search import CaseSearch
from fetaliqa.inference.chunk_prediction import ChunkPrediction, FramePredictor
from fetaliqa.inference.frame_assessment import FrameAssessment
from fetaliqa.inference.frame_measurement import Findings, FrameAssessor
from fetaliqa.inference.frame_profile import FrameProfile, ProfileMaker
from fetaliqa.measure import rank_frames
from fetaliqa.measure.anatomy import anatomy_named
from fetaliqa.measure.case_growth import case_growth
from fetaliqa.measure.case_measurement import add_intervals, case_measurement, combined_frames
from fetaliqa.measure.plausibility import add_warnings, case_notes
from fetaliqa.model.bundle_card import BundleCard
from fetaliqa.model.interval_file import Intervals
from fetaliqa.sweep import Sweep

if TYPE_CHECKING:
    from fetaliqa.inference.student import Student

ASSESSMENT_SCHEMA = 1
ASSESSMENT_REVISION = 5  # increased when the same sweep, model and options give a different record
OTHER_THRESHOLD = "intervals are calibrated for the model's own threshold, and another one was asked for"
Progress = Callable[[int, int], None]  # (frames done, frames in all)


@dataclass(frozen=True, eq=False, repr=False)
class Assessment:
    """What was found in a case. Not for clinical use.

    Attributes
    ----------
    record
        The whole assessment as JSON values, described field by field in docs/assessment.md.
    masks
        uint8 [T, H, W], 1 inside the outlined anatomy on positive frames, on the native grid.
    profile
        What active learning goes by; None of a classifier, and without PyTorch.
    """

    record: dict[str, Any]
    masks: np.ndarray
    profile: FrameProfile | None = None

    @cached_property
    def frames(self) -> tuple[FrameAssessment, ...]:
        """What was found in each of the T frames, in time order."""
        return tuple(map(FrameAssessment.from_record, self.record["frames"]))

    @property
    def best(self) -> FrameAssessment | None:
        """The best frame to measure; None where no frame shows the anatomy, and ``reason`` says why."""
        best = self.record["best"]
        return None if best is None else self.frames[best]

    @property
    def reason(self) -> str | None:
        """Why there is no best frame, in a sentence; None when there is one."""
        return self.record["reason"]

    @property
    def ranking(self) -> tuple[FrameAssessment, ...]:
        """The best frames of the case, the best one first, from different moments."""
        return tuple(self.frames[frame] for frame in self.record["ranking"])

    @property
    def measurement(self) -> dict[str, Any] | None:
        """The case's circumference in mm with its interval, as in the record; None without one in mm."""
        return self.record["measurement"]

    @property
    def notes(self) -> tuple[str, ...]:
        """What to know of the case as a whole, such as that its file has no pixel spacing; one sentence each."""
        return tuple(self.record["notes"])

    def __repr__(self) -> str:
        model, best = self.record["model"], self.best
        positive = sum(frame.positive is True for frame in self.frames)
        counted = f"{positive} of {len(self.frames)} frame(s) show the {model['anatomy']}"
        size = None if best is None else best.size_mm
        measured = "" if size is None else f", {model['measurement']} {size:.1f} mm"
        shown = "none" if best is None else f"{best.index}, quality {best.quality:.2f}{measured}"
        return f"Assessment({self.record['case_id']!r}, {counted}; best frame: {shown}; not for clinical use)"


def chosen_frames(sweep: Sweep, options: AssessOptions) -> np.ndarray:
    """Frame numbers to assess: without padding, inside the selected sweeps and frame range.

    Raises:
        OptionError: when a selected sweep or frame does not exist.
    """
    selected = np.zeros(sweep.frame_count, bool)
    if options.sweeps is None:
        selected[:] = True
    else:
        for number in options.sweeps:
            if number >= len(sweep.ranges):
                raise OptionError(
                    f"sweep {number} asked for, but {sweep.case_id} has {len(sweep.ranges)} (counted from 0)"
                )
            start, stop = sweep.ranges[number]
            selected[start:stop] = True
    if options.frames is not None:
        start, stop = options.frames
        if stop > sweep.frame_count:
            raise OptionError(
                f"frames [{start}, {stop}] asked for, but {sweep.case_id} has {sweep.frame_count} frames"
            )
        selected[:start] = False
        selected[stop:] = False
    return np.flatnonzero(selected & ~sweep.padding)


def assess(
    sweep: Sweep,
    predictor: FramePredictor,
    options: AssessOptions | None = None,
    *,
    classifier: FramePredictor | None = None,
    student: Student | None = None,
    progress: Progress | None = None,
) -> Assessment:
    """Assess a case.

    Args:
        sweep: the frames.
        predictor: a segmentation model, or a classification model (then there are no masks).
        options: the part of the case to assess, and how.
        classifier: a classification model whose frame probability is added to the quality score.
        student: screening model that predicts the quality of all frames first. Screening needs it; a search
            without one starts from a regular subset of frames.
        progress: called with (frames done, frames in all) after each batch.

    Raises:
        OptionError: when the options do not fit the case or the student.
    """
    options = options or AssessOptions()
    indices = chosen_frames(sweep, options)
    if not len(indices):
        raise OptionError(f"{sweep.case_id}: every selected frame is black padding; choose other sweeps or frames")
    card = predictor.card.threshold
    threshold, frame_threshold = card.probability, card.frame
    if options.threshold is not None:
        threshold = frame_threshold = options.threshold
    cls_scores: dict[int, float] = {}
    assessor = FrameAssessor(sweep, predictor, threshold, frame_threshold) if predictor.is_segmentation else None
    profile = ProfileMaker(predictor.card.threshold.min_foreground_pixels(predictor.image_size))
    student = student if options.screened else None
    search = _choice(sweep, indices, options, student)
    done = 0
    with Findings(sweep.frames.shape, predictor.threads) as findings:
        findings.meanwhile(lambda: sweep.content_hash)
        for chunk in _predicted(sweep, predictor, indices, search, findings):
            cls_scores |= _classifier_scores(sweep, classifier, chunk.indices)
            if assessor is not None and chunk.probabilities is not None:
                _add_outlines(findings, assessor, chunk, cls_scores, profile)
            elif chunk.scores is not None:
                for frame, score in zip(chunk.indices.tolist(), chunk.scores.tolist()):
                    findings.put(frame, {"quality": round(score, 5), "positive": score > frame_threshold})
            done += len(chunk.indices)
            if progress is not None:
                progress(done, len(indices))
        fields = findings.fields()
    if progress is not None and done < len(indices):
        progress(len(indices), len(indices))  # the remaining frames were not needed
    if search is not None:
        fields |= search.guesses(fields)
    record = _record(sweep, predictor, classifier, student, options, (threshold, frame_threshold), fields)
    return Assessment(record, findings.masks, profile.profile())


def _choice(
    sweep: Sweep, indices: np.ndarray, options: AssessOptions, student: Student | None
) -> CaseSearch | CaseScreen | None:
    """The selection of frames to assess; None for all of them."""
    if options.screen:
        return CaseScreen(sweep, indices, student)
    return CaseSearch(sweep, indices, student) if options.search else None


def _add_outlines(
    findings: Findings,
    assessor: FrameAssessor,
    chunk: ChunkPrediction,
    cls_scores: Mapping[int, float],
    profile: ProfileMaker,
) -> None:
    """Measure the frames of a batch: tensor operations here, the rest in the threads of ``findings``."""
    assert chunk.probabilities is not None
    if isinstance(chunk.probabilities, np.ndarray):
        outlines = assessor.on_both_grids(chunk.probabilities)
        signals = None if chunk.signals is None else chunk.signals.tolist()
    else:
        from fetaliqa.inference.cuda_transfers import on_host, reading

        with reading(chunk.probabilities.device, chunk.computed):
            outlines = assessor.on_both_grids(chunk.probabilities)
            signals = None if chunk.signals is None else on_host(chunk.signals).tolist()  # type: ignore[arg-type]
            if chunk.appearance is not None:
                profile.add(chunk.indices, chunk.probabilities, chunk.appearance)
    for frame, outline, signal in zip(chunk.indices.tolist(), outlines, signals or [None] * len(outlines)):
        findings.add(frame, partial(assessor.measured, outline, cls_scores.get(frame), signal))


def _predicted(
    sweep: Sweep,
    predictor: FramePredictor,
    indices: np.ndarray,
    search: CaseSearch | CaseScreen | None,
    findings: Findings,
) -> Iterator[ChunkPrediction]:
    """Predictions of all frames, or of those that the search or screening selects from the results so far."""
    if search is None:
        yield from predictor.predict(sweep.frames, indices)
        return
    while len(wanted := search.wanted(findings.fields())):
        yield from predictor.predict(sweep.frames, wanted)


def _classifier_scores(sweep: Sweep, classifier: FramePredictor | None, indices: np.ndarray) -> dict[int, float]:
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
    predictor: FramePredictor,
    classifier: FramePredictor | None,
    student: Student | None,
    options: AssessOptions,
    thresholds: tuple[float, float],
    fields: dict[int, dict[str, Any]],
) -> dict[str, Any]:
    anatomy = anatomy_named(predictor.card.anatomy)
    quality = np.full(sweep.frame_count, np.nan)
    positive, guessed, unlike = np.zeros((3, sweep.frame_count), bool)
    for frame, values in fields.items():
        quality[frame] = values["quality"]
        guessed[frame] = values.get("interpolated", False)
        unlike[frame] = values.get("unlike_training_data", False)
        # interpolated frames support their neighbours but are not ranked themselves
        positive[frame] = bool(values["positive"])
    add_warnings(fields, quality, positive, sweep.ranges, anatomy)
    ranking = rank_frames(quality, positive, sweep.ranges, top_n=options.top_n, unlike=unlike)
    single = int((~sweep.padding).sum()) == 1
    intervals = predictor.intervals
    if options.threshold is not None:
        intervals = Intervals(absent=OTHER_THRESHOLD)
    add_intervals(fields, intervals.calibration, single)
    combined = combined_frames(fields, quality, positive, sweep.ranges)
    measurement = case_measurement(fields, combined, anatomy, (intervals.calibration, intervals.absent), single)
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
        "warning": None if ranking.best is None else fields[ranking.best].get("warning"),
        "ranking": [int(frame) for frame in ranking.frames],
        "measurement": measurement,
        "growth": case_growth(measurement, None),
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
        "notes": case_notes(sweep.notes, frames, anatomy.name),
    }
