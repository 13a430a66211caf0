"""Evaluation of a model on real still images, as in docs/real-images.md.

Each image is assessed as a case of one frame, as a user's file would be.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from scipy.stats import spearmanr

from fetaliqa.evaluation.frame_metrics import dice
from fetaliqa.evaluation.ranking_metrics import roc_auc
from fetaliqa.inference import Predictor, assess
from fetaliqa.inference.assessment_options import AssessOptions
from fetaliqa.lab.overlay_tiles import FOUND, REFERENCE, in_rows, tile
from fetaliqa.lab.stills.still_image import Still, read_grey
from fetaliqa.measure import Ellipse, draw_ellipse, ellipse_circumference
from fetaliqa.sweep import sweep_from_array

TILE = 224  # pixels of an overlay's side


@dataclass(frozen=True, eq=False)
class Outcome:
    """Result for one image.

    Attributes:
        still: the image.
        positive: whether it was called positive.
        mask: uint8 [H, W] of the outline found; all 0 where there is none.
        reference: uint8 [H, W] of the reference outline; None without one.
        dice: of both; 0 where nothing was found; None without a reference.
        ellipse_dice: of the ellipse fitted to the outline found and the reference, as the HC18 challenge has it.
        circumference_error: relative to the reference ellipse's, signed; None where one of them is missing.
        circumference_error_mm: the same in mm, where the pixel size is known.
        quality: the frame's quality score.
        expected_dice, distance: signals of the model, see docs/assessment.md; None without them.
    """

    still: Still
    positive: bool
    mask: np.ndarray
    reference: np.ndarray | None
    dice: float | None
    ellipse_dice: float | None
    circumference_error: float | None
    circumference_error_mm: float | None
    quality: float
    expected_dice: float | None
    distance: float | None


def outcome(predictor: Predictor, still: Still, *, calipers: bool = False) -> Outcome:
    """Assess one image and compare with its reference.

    Args:
        predictor: a segmentation model.
        still: the image.
        calipers: compare with the ellipse through an expert's calipers instead of the outline.
    """
    image = read_grey(still.file)
    spacing = None if still.pixel_mm is None else (still.pixel_mm, still.pixel_mm)
    result = assess(sweep_from_array(image[None], spacing, case_id=still.name), predictor, AssessOptions())
    frame = result.record["frames"][0]
    ellipse = still.caliper_ellipse if calipers else still.ellipse
    reference = None
    if ellipse is not None:
        reference = draw_ellipse(ellipse, still.shape)
    elif still.mask_file is not None and not calipers:
        reference = (read_grey(still.mask_file) > 0).astype(np.uint8)
    relative, absolute = _circumference_errors(frame.get("ellipse"), ellipse, still.pixel_mm)
    if absolute is not None and still.circumference_mm is not None and frame.get("circumference_mm") is not None:
        absolute = frame["circumference_mm"] - still.circumference_mm
    return Outcome(
        still,
        bool(frame["positive"]),
        result.masks[0],
        reference,
        None if reference is None else dice(result.masks[0], reference > 0),
        _ellipse_dice(frame.get("ellipse"), reference, still.shape),
        relative,
        absolute,
        float(frame["quality"]),
        frame.get("expected_dice"),
        frame.get("distance"),
    )


def _ellipse_dice(
    fitted: dict[str, float] | None, reference: np.ndarray | None, shape: tuple[int, int]
) -> float | None:
    if reference is None:
        return None
    return 0.0 if fitted is None else dice(draw_ellipse(Ellipse(**fitted), shape) > 0, reference > 0)


def _circumference_errors(
    fitted: dict[str, float] | None, reference: Ellipse | None, pixel_mm: float | None
) -> tuple[float | None, float | None]:
    if fitted is None or reference is None:
        return None, None
    true = ellipse_circumference(reference.semi_major, reference.semi_minor)
    error = ellipse_circumference(fitted["semi_major"], fitted["semi_minor"]) - true
    return error / true, None if pixel_mm is None else error * pixel_mm


def outline_figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Figures of images with a reference outline."""
    dices = np.array([one.dice for one in outcomes if one.dice is not None])
    if not len(dices):
        return {"images": 0}
    relative = np.abs([one.circumference_error for one in outcomes if one.circumference_error is not None])
    absolute = np.abs([one.circumference_error_mm for one in outcomes if one.circumference_error_mm is not None])
    return {
        "images": len(dices),
        "patients": len({one.still.patient for one in outcomes}),
        "found": sum(one.positive for one in outcomes),
        "dice": _spread(dices),
        "ellipse_dice": _spread(np.array([one.ellipse_dice for one in outcomes if one.ellipse_dice is not None])),
        "circumference_error": _spread(relative) if len(relative) else None,
        "circumference_error_mm": _spread(absolute) if len(absolute) else None,
    }


def negative_figures(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Figures of images that do not show the anatomy."""
    called = sum(not one.positive for one in outcomes)
    return {
        "images": len(outcomes),
        "called_negative": called,
        "share": round(called / len(outcomes), 4) if outcomes else None,
        "called_positive": [one.still.name for one in outcomes if one.positive],
    }


def area_under_curve(inside: Iterable[float], outside: Iterable[float]) -> float | None:
    """Probability that a distance of ``outside`` exceeds one of ``inside`` (ties count half)."""
    near, far = list(inside), list(outside)
    area = roc_auc(np.array([*near, *far], float), np.repeat([False, True], [len(near), len(far)]))
    return None if area is None else round(area, 4)


def rank_correlation(outcomes: Sequence[Outcome]) -> float | None:
    """Spearman's rank correlation of expected and true Dice, of outlined images."""
    pairs = [(one.expected_dice, one.dice) for one in outcomes if one.expected_dice is not None and one.positive]
    pairs = [pair for pair in pairs if pair[1] is not None]
    if len(pairs) < 3:
        return None
    return round(float(spearmanr(*zip(*pairs)).statistic), 4)


def overlays(outcomes: Sequence[Outcome], columns: int = 6) -> np.ndarray:
    """A picture of all images: reference outline green, the model's red, Dice and expected Dice below."""
    return in_rows([_tile(one) for one in outcomes], columns)


def _tile(one: Outcome) -> np.ndarray:
    def draw(small: np.ndarray, factor: float) -> None:
        size = small.shape[1::-1]
        for mask, colour in ((one.reference, REFERENCE), (one.mask, FOUND)):
            if mask is not None and mask.any():
                drawn = cv2.resize(mask.astype(np.uint8) * 255, size, interpolation=cv2.INTER_AREA) > 127
                contours, _ = cv2.findContours(drawn.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
                cv2.drawContours(small, contours, -1, colour, 1)

    parts = [one.still.name[:16], "-" if one.dice is None else f"D{one.dice:.2f}"]
    if one.expected_dice is not None and one.distance is not None:
        parts.append(f"e{one.expected_dice:.2f} d{one.distance:.1f}")
    return tile(one.still, TILE, draw, " ".join(parts))


def _spread(values: np.ndarray) -> dict[str, float]:
    return {
        "mean": round(float(values.mean()), 4),
        "median": round(float(np.median(values)), 4),
        "least": round(float(values.min()), 4),
        "most": round(float(values.max()), 4),
    }
