"""Figures of whole cases: challenge scores, circumference errors, and Dice of single images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np

from fetaliqa.datasets.labelled_data import LabelledCase
from fetaliqa.evaluation.acouslic_metrics import (
    OFFICIAL_SHAPE,
    OFFICIAL_SPACING_MM,
    CaseScore,
    CaseTruth,
    Mode,
    evaluate_case,
    official_field_of_view,
)
from fetaliqa.evaluation.bootstrap import ratios
from fetaliqa.evaluation.frame_figures import Figure, with_intervals
from fetaliqa.evaluation.frame_metrics import dice
from fetaliqa.evaluation.frame_table import CaseReader
from fetaliqa.evaluation.line_figures import LineError, line_errors
from fetaliqa.inference.assessment import Assessment, assess
from fetaliqa.inference.predictor import Predictor
from fetaliqa.measure import recorded_mm
from fetaliqa.measure.anatomy import anatomy_named
from fetaliqa.measure.field_of_view import field_of_view
from fetaliqa.sweep import sweep_from_array

MODES: tuple[Mode, ...] = ("official", "corrected")
AGREEMENT = 1.96  # standard deviations of the 95 % limits of agreement (Bland and Altman, Lancet 1986)


@dataclass(frozen=True)
class Measurement:
    """The circumference of a sweep: the reference, and the measurement on the best (or only) frame.

    ``measured_mm`` is None without a best frame, or when no ellipse fits its outline.
    """

    case: int
    case_id: str
    sweep: int
    frame: int | None
    reference_mm: float
    measured_mm: float | None


@dataclass(frozen=True)
class CaseOutcome:
    """Results of one case.

    Attributes:
        case: index into the evaluated cases.
        case_id: its name.
        best: best frame; None if there is none.
        scores: challenge figures by mode; None for single images, and without any reference circumference.
        measurements: one per sweep with a reference circumference.
        image_dice: Dice on the native grid of a single image with a reference outline, else None.
        lines: errors on labelled frames of an anatomy that is a line.
    """

    case: int
    case_id: str
    best: int | None
    scores: dict[Mode, CaseScore] | None
    measurements: tuple[Measurement, ...]
    image_dice: float | None
    lines: tuple[LineError, ...] = ()


def worth_assessing(case: LabelledCase, reader: CaseReader) -> bool:
    """Whether figures of the whole case can be computed: the model outlines, and the case has a reference."""
    measured = any(value is not None for value in case.circumferences_mm) or _is_line(reader)
    return reader.is_segmentation and not reader.padding.all() and (measured or len(case.frames) == 1)


def case_outcome(case: LabelledCase, number: int, reader: CaseReader) -> CaseOutcome:
    """Assess a case as ``fetaliqa score`` does, and compare with the reference.

    Args:
        case: the case.
        number: its index.
        reader: predicts, and collects the rows of the frame table.
    """
    sweep = sweep_from_array(case.frames, case.spacing, sweeps=case.ranges, case_id=case.case_id)
    # a reader has the attributes of a Predictor that assess() uses: card, image_size, is_segmentation, threads,
    # predict
    assessment = assess(sweep, cast(Predictor, reader))
    single = len(case.frames) == 1
    lines = _is_line(reader)
    scores = None if single or lines else {mode: _challenge(case, assessment, mode) for mode in MODES}
    outlined = single and bool(case.masks.any())
    return CaseOutcome(
        case=number,
        case_id=case.case_id,
        best=assessment.record["best"],
        scores=scores,
        measurements=_measurements(case, number, assessment.record),
        image_dice=dice(assessment.masks[0], case.masks[0]) if outlined else None,
        lines=line_errors(case, number, assessment) if lines else (),
    )


def _is_line(reader: CaseReader) -> bool:
    return anatomy_named(reader.card.anatomy).is_line


CHALLENGE_NOTE = (
    "Challenge scores of frames of 562 x 744 pixels are computed as by the organisers' program: masks are clipped "
    "to its field of view; in official mode the pixel size is 0.28 mm, whatever the file says. Frames of another "
    "size, which that program does not accept, are clipped to the field of view detected in them, and measured "
    "with the file's pixel size."
)


def _challenge(case: LabelledCase, assessment: Assessment, mode: Mode) -> CaseScore:
    # explained to readers in CHALLENGE_NOTE
    official = case.frames.shape[1:] == OFFICIAL_SHAPE
    sector = official_field_of_view() if official else field_of_view(case.frames)
    truth = CaseTruth(case.masks, case.circumferences_mm, case.ranges, sector)
    best = assessment.record["best"]
    mask = np.zeros(case.frames.shape[1:], np.uint8) if best is None else assessment.masks[best]
    spacing = OFFICIAL_SPACING_MM
    if case.spacing is not None and not (official and mode == "official"):
        spacing = float(np.sqrt(case.spacing[0] * case.spacing[1]))
    return evaluate_case(truth, -1 if best is None else best, mask, mode=mode, spacing_mm=spacing)


def _measurements(case: LabelledCase, number: int, record: dict[str, Any]) -> tuple[Measurement, ...]:
    measurements = []
    for sweep, reference in enumerate(case.circumferences_mm):
        if reference is None:
            continue
        # a single image with a reference shows the plane, whatever its quality score
        frame = 0 if len(case.frames) == 1 else record["sweeps"][sweep]["best"]
        measured = None if frame is None else recorded_mm(record["frames"][frame])
        measurements.append(Measurement(number, case.case_id, sweep, frame, reference, measured))
    return tuple(measurements)


def challenge_figures(
    outcomes: Sequence[CaseOutcome], weights: np.ndarray
) -> dict[Mode, dict[str, Figure]] | None:
    """Means of the challenge's figures over cases, with intervals; None when no case has them.

    In official mode the soft Dice and the score can be infinite for a case without a best frame; they are
    undefined here then.
    """
    scored = [outcome for outcome in outcomes if outcome.scores is not None]
    return {mode: _challenge_of(scored, weights, mode) for mode in MODES} if scored else None


def _challenge_of(outcomes: Sequence[CaseOutcome], weights: np.ndarray, mode: Mode) -> dict[str, Figure]:
    names = ("wfss", "dice_soft", "nae_ac", "hausdorff_px")
    counts = np.zeros((weights.shape[1], len(names) + 1))
    for outcome in outcomes:
        assert outcome.scores is not None
        score = asdict(outcome.scores[mode])
        counts[outcome.case] = [*(score[name] if np.isfinite(score[name]) else np.nan for name in names), 1]

    def figures(sums: np.ndarray) -> dict[str, np.ndarray]:
        means = {name: ratios(sums[:, column], sums[:, -1]) for column, name in enumerate(names)}
        score = 0.5 * (1 - means["nae_ac"]) + 0.25 * means["wfss"] + 0.25 * means["dice_soft"]
        return {"score": score, **means}

    return with_intervals(counts, figures, weights)


def circumference_figures(measurements: Sequence[Measurement], weights: np.ndarray) -> dict[str, Any] | None:
    """Errors of the circumference over sweeps with a reference, with intervals; None without such a sweep.

    Returns:
        ``sweeps``, ``measured`` (counts); and figures ``mean_absolute_mm``, ``mean_absolute_percent`` (of the
        reference), ``bias_mm`` (measured minus reference), ``sd_mm`` (of the differences, n - 1), ``lower_mm`` and
        ``upper_mm`` (limits of agreement, bias -+ 1.96 SD), all over the sweeps that were measured.
    """
    if not measurements:
        return None
    counts = np.zeros((weights.shape[1], 5))
    for measurement in measurements:
        if measurement.measured_mm is not None:
            error = measurement.measured_mm - measurement.reference_mm
            counts[measurement.case] += [
                1,
                error,
                error**2,
                abs(error),
                100 * abs(error) / measurement.reference_mm,
            ]
    measured = sum(measurement.measured_mm is not None for measurement in measurements)
    return {"sweeps": len(measurements), "measured": measured} | with_intervals(counts, _agreement, weights)


def _agreement(sums: np.ndarray) -> dict[str, np.ndarray]:
    number, total, squares, absolute, percent = sums.T
    bias = ratios(total, number)
    sd = np.sqrt(np.maximum(ratios(squares - number * np.nan_to_num(bias) ** 2, np.maximum(number - 1, 0)), 0))
    return {
        "mean_absolute_mm": ratios(absolute, number),
        "mean_absolute_percent": ratios(percent, number),
        "bias_mm": bias,
        "sd_mm": sd,
        "lower_mm": bias - AGREEMENT * sd,
        "upper_mm": bias + AGREEMENT * sd,
    }


def image_figures(outcomes: Sequence[CaseOutcome], weights: np.ndarray) -> dict[str, Any] | None:
    """Mean Dice on the native grid over single images with an outline; None without any.

    Returns:
        ``images`` (count), figure ``dice``; and ``dice_median``, ``dice_min`` without interval.
    """
    counts = np.zeros((weights.shape[1], 2))
    values = []
    for outcome in outcomes:
        if outcome.image_dice is not None:
            counts[outcome.case] = [outcome.image_dice, 1]
            values.append(outcome.image_dice)
    if not values:
        return None
    figures = with_intervals(counts, lambda sums: {"dice": ratios(sums[:, 0], sums[:, 1])}, weights)
    median, least = Figure(float(np.median(values))), Figure(float(np.min(values)))
    return {"images": len(values), **figures, "dice_median": median, "dice_min": least}
