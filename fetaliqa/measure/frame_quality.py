"""Quality score of a frame: how likely it shows a complete, measurable plane of the anatomy.

The score lies in [0, 1] and combines components in [0, 1], each higher for a better frame:

======================  ==========================================================================
confidence              mean probability inside the mask, from the threshold (0) to certainty (1)
sharpness               expected Dice of the mask if the probabilities are calibrated: low when the
                        outline is a wide uncertain band or probability lies elsewhere
area                    the mask's size against plausible sizes (in mm, else as a share of the sector); of a line
                        its length (0.8 without a pixel spacing)
shape                   IoU of mask and fitted ellipse, and the ellipse's axis ratio; of a line IoU of the mask and
                        the line's band
visible                 share of the outline, or of a line's two ends, that is inside the field of view
expected_dice           Dice predicted by the model for its own outline, if it has such an output
classifier              probability of a classification model, when one was run
======================  ==========================================================================

A positive frame scores ``NEGATIVE_CEILING + (1 - NEGATIVE_CEILING) * product(component ** weight)``: a weighted
geometric mean, so one component at zero ranks the frame last among the positive ones. A negative frame (the
paper's rule: at most 1 % of the grid is foreground) scores below ``NEGATIVE_CEILING``, by how close it is to being
positive. The weights are chosen by judgement, not fitted to data.

If the model reports the distance of a frame to its training data, positive frames at ``UNLIKE_DISTANCE`` or more
score from ``NEGATIVE_CEILING`` to below ``UNLIKE_CEILING``, and all other positive frames above. An outline on an
out-of-distribution image may look as certain as any other, so it never ranks above an in-distribution one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from fetaliqa.measure.anatomy import Anatomy
from fetaliqa.measure.frame_size import ShapeFit
from fetaliqa.measure.line import LineFit

NEGATIVE_CEILING = 0.1
WEIGHTS = {"confidence": 0.25, "sharpness": 0.20, "area": 0.15, "shape": 0.25, "visible": 0.15}
CLASSIFIER_WEIGHT = 0.30  # added to the others' sum of 1; all weights are then divided by 1.3
EXPECTED_DICE_WEIGHT = 0.50  # likewise; the largest weight, because this component is fitted to true outlines
UNLIKE_DISTANCE = (
    1.0  # distance to the training data, in units of its limit; see `feature_reference.fit_reference`
)
UNLIKE_CEILING = 0.15  # narrow: other frames keep nearly the scale of a model without distances
# IoU at which the shape component is 0: below 0.5 a mask fits its ellipse worse than a half disc does.
WORST_OVERLAP = 0.5
GOOD_LINE_OVERLAP = 0.8  # IoU of a mask and its line's band at which the shape component is 1
NO_LINE_LENGTH = 0.05  # length component without a line
NO_SPACING_LENGTH = 0.8  # and of a line of unknown length: neither for nor against it
NO_ELLIPSE_SHAPE = 0.05  # shape without a fitted ellipse: low, but the other components still order such frames
MIN_VISIBLE = 0.05  # above 0, so that frames without a usable outline are ordered by the other components
# Shares of the sector for images without spacing. ACOUSLIC-AI abdomens of AC 141-351 mm cover 7-47 % of its
# sector (0.28 mm, 268,000 pixels); zoomed standard planes reach 60 %.
SECTOR_SHARES = ((0.01, 0.0), (0.05, 0.6), (0.40, 1.0), (0.65, 1.0), (0.90, 0.0))


@dataclass(frozen=True, eq=False)
class FrameEvidence:
    """Inputs of the quality score of a frame.

    Attributes:
        probabilities: float [S, S], foreground probability on the model's square grid.
        threshold: probability above which a pixel is foreground, in (0, 1).
        min_foreground_fraction: a frame is positive when more than this share of the grid is foreground.
        grid_pixel_mm: side of a grid pixel in mm; None without spacing.
        sector: [S, S], non-zero inside the field of view; None: the whole grid.
        fit: the outline's ellipse, or the line; needed on positive frames, ignored on negative ones.
        cls_probability: probability of a classification model; None when none was run.
        anatomy: what is outlined.
        expected_dice: Dice predicted by the model for its outline, 0 to 1; None without such an output.
        distance: distance to the model's training data, see ``UNLIKE_DISTANCE``; None without such an output.
    """

    probabilities: np.ndarray
    threshold: float
    min_foreground_fraction: float
    grid_pixel_mm: float | None
    sector: np.ndarray | None
    fit: ShapeFit | None
    cls_probability: float | None
    anatomy: Anatomy
    expected_dice: float | None = None
    distance: float | None = None


@dataclass(frozen=True)
class QualityScore:
    """A score in [0, 1] and its components, each in [0, 1]."""

    value: float
    components: dict[str, float] = field(default_factory=dict)


def quality_score(evidence: FrameEvidence) -> QualityScore:
    """Score a frame; see the module docstring.

    Raises:
        ValueError: when the threshold is not in (0, 1), or a probability is not a number.
    """
    if not 0 < evidence.threshold < 1:
        raise ValueError(f"threshold {evidence.threshold}; expected a value between 0 and 1")
    probabilities = evidence.probabilities
    mask = probabilities > evidence.threshold
    pixels = int(np.count_nonzero(mask))
    if pixels / mask.size <= evidence.min_foreground_fraction:
        return _negative_score(evidence, pixels)
    inside = float(probabilities[mask].mean())
    total = float(probabilities.sum())
    if not math.isfinite(total):
        raise ValueError("the probabilities hold values that are not numbers")
    in_sector = pixels if evidence.sector is None else int(np.count_nonzero(evidence.sector[mask]))
    parts = {
        "confidence": _unit((inside - evidence.threshold) / (1 - evidence.threshold)),
        "sharpness": _unit(2 * inside * pixels / (total + pixels)),
        "area": _area_part(evidence, pixels),
        "shape": _shape_part(evidence),
        "visible": _visible_part(evidence) * in_sector / pixels,
    }
    weights = dict(WEIGHTS)
    if evidence.expected_dice is not None:
        parts["expected_dice"] = _unit(evidence.expected_dice)
        weights["expected_dice"] = EXPECTED_DICE_WEIGHT
    if evidence.cls_probability is not None:
        parts["classifier"] = _unit(evidence.cls_probability)
        weights["classifier"] = CLASSIFIER_WEIGHT
    return QualityScore(_positive_value(_geometric_mean(parts, weights), evidence.distance), parts)


def _positive_value(mean: float, distance: float | None) -> float:
    """Score of a positive frame from the mean of its components, in the range allowed by its distance."""
    if distance is None:
        return NEGATIVE_CEILING + (1 - NEGATIVE_CEILING) * mean
    if is_unlike(distance):
        return NEGATIVE_CEILING + 0.99 * (UNLIKE_CEILING - NEGATIVE_CEILING) * mean
    return UNLIKE_CEILING + (1 - UNLIKE_CEILING) * mean


def is_unlike(distance: float | None) -> bool:
    """Whether a frame at this distance is out of distribution; False when the distance is unknown."""
    return distance is not None and distance >= UNLIKE_DISTANCE


def _negative_score(evidence: FrameEvidence, pixels: int) -> QualityScore:
    """Score below ``NEGATIVE_CEILING``, increasing with the foreground and the highest probability."""
    allowed = evidence.min_foreground_fraction * evidence.probabilities.size
    highest = float(evidence.probabilities.max())
    if not math.isfinite(highest):
        raise ValueError("the probabilities hold values that are not numbers")
    parts = {"foreground": _unit(pixels / allowed) if allowed > 0 else 0.0, "highest": _unit(highest)}
    mean = (parts["foreground"] + parts["highest"]) / 2
    if evidence.cls_probability is not None:
        parts["classifier"] = _unit(evidence.cls_probability)
        mean = (2 * mean + parts["classifier"]) / 3
    return QualityScore(0.99 * NEGATIVE_CEILING * mean, parts)


def _area_part(evidence: FrameEvidence, pixels: int) -> float:
    """Size against plausible sizes, rising slowly within their range: of two complete planes the larger is better.

    With spacing the size is the circumference of the disc of equal area, to be compared with
    ``Anatomy.plausible_mm``; the component is 0 at half the smallest and at 1.25 times the largest of these.
    """
    if evidence.anatomy.is_line:
        return _length_part(evidence)
    if evidence.grid_pixel_mm is None:
        sector = evidence.probabilities.size if evidence.sector is None else int(np.count_nonzero(evidence.sector))
        return _along(pixels / max(sector, 1), SECTOR_SHARES)
    low, high = evidence.anatomy.plausible_mm
    around = 2 * math.sqrt(math.pi * pixels) * evidence.grid_pixel_mm
    return _along(around, ((0.5 * low, 0.0), (low, 0.6), (0.8 * high, 1.0), (high, 1.0), (1.25 * high, 0.0)))


def _length_part(evidence: FrameEvidence) -> float:
    """Length of a line against plausible lengths; it does not rise within their range, as all femurs are whole."""
    fit = evidence.fit
    if not isinstance(fit, LineFit) or fit.line is None:
        return NO_LINE_LENGTH
    low, high = evidence.anatomy.plausible_mm
    if fit.length_mm is None:
        return NO_SPACING_LENGTH
    return _along(fit.length_mm, ((0.5 * low, 0.0), (low, 0.6), (3 * low, 1.0), (high, 1.0), (1.25 * high, 0.0)))


def _shape_part(evidence: FrameEvidence) -> float:
    fit = evidence.fit
    if isinstance(fit, LineFit):
        return max(NO_ELLIPSE_SHAPE, 0.0 if fit.overlap is None else _unit(fit.overlap / GOOD_LINE_OVERLAP))
    if fit is None or fit.ellipse is None or fit.overlap is None or fit.axis_ratio is None:
        return NO_ELLIPSE_SHAPE
    agreement = _unit((fit.overlap - WORST_OVERLAP) / (1 - WORST_OVERLAP))
    limit = evidence.anatomy.max_axis_ratio
    # 1 up to three quarters of the way from a circle to the limit, one half at the limit
    allowed, width = 1 + 0.75 * (limit - 1), 0.5 * (limit - 1)
    roundness = _unit(1 - (fit.axis_ratio - allowed) / width)
    return max(NO_ELLIPSE_SHAPE, agreement * roundness)


def _visible_part(evidence: FrameEvidence) -> float:
    return max(MIN_VISIBLE, 0.0 if evidence.fit is None else _unit(evidence.fit.fitted_share))


def _geometric_mean(parts: dict[str, float], weights: dict[str, float]) -> float:
    if min(parts.values()) <= 0:
        return 0.0
    total = sum(weights.values())
    return math.exp(sum(weights[name] * math.log(part) for name, part in parts.items()) / total)


def _along(value: float, knots: tuple[tuple[float, float], ...]) -> float:
    """Piecewise linear in the logarithm of ``value``; the end values outside of the knots."""
    if value <= 0:
        return knots[0][1]
    return float(np.interp(math.log(value), [math.log(x) for x, _ in knots], [y for _, y in knots]))


def _unit(value: float) -> float:
    return min(1.0, max(0.0, value))
