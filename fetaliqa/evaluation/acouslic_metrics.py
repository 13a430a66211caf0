"""Metrics of the ACOUSLIC-AI challenge, as computed by its evaluation code and as documented.

Written from the description of the evaluation (DIAGNijmegen/ACOUSLIC-AI-evaluation-method, commit ebf14b3).
``mode="official"`` reproduces three errors of that code, for comparison with published figures;
``mode="corrected"`` follows its README:

1. The Hausdorff figure of a frame without annotation is multiplied by the signed distance in frames (negative when
   the nearest annotated frame is behind; 0 for an identical mask however far away); corrected: by the unsigned
   distance, and the Hausdorff distance itself counts at least one pixel.
2. "Nearest" prefers any annotated frame behind within 15 frames to a closer one ahead; corrected: the nearest,
   the one behind on a tie.
3. Frame -1 ("none") reads the last frame, where two empty masks have an infinite Dice; corrected: 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Literal

import cv2
import numpy as np
import SimpleITK as sitk

from fetaliqa.measure.ellipse import ellipse_circumference

Mode = Literal["official", "corrected"]
TOLERANCE_FRAMES = 15  # T: frames at this distance from an annotated plane score 0
SUBOPTIMAL_CREDIT = 0.6  # WFSS of a suboptimal frame if the case has optimal frames
MISSED_HD = 744.0 * TOLERANCE_FRAMES  # pixels: image width times T, for an empty mask or no plane within T
OFFICIAL_PADDING = 200  # pixels around the mask before contours are taken
OFFICIAL_DILATIONS = 3  # of the field of view's border
OFFICIAL_SPACING_MM = 0.28
OFFICIAL_SHAPE = (562, 744)  # rows and columns of all frames


@dataclass(frozen=True)
class CaseTruth:
    """Reference of one case.

    Attributes:
        masks: uint8 [T, H, W]; 0 background, 1 abdomen on an optimal plane, 2 on a suboptimal one.
        circumferences_mm: reference AC per sweep; None where the sweep has none.
        ranges: half-open frame range of each sweep.
        field_of_view: [H, W], non-zero inside; both masks are limited to it.
    """

    masks: np.ndarray
    circumferences_mm: Sequence[float | None]
    ranges: Sequence[tuple[int, int]]
    field_of_view: np.ndarray | None = None

    def labels(self) -> np.ndarray:
        """Label of each frame, int [T]: 1 when it holds any optimal pixel, else 2 or 0."""
        low = np.array([(frame == 1).any() for frame in self.masks])
        high = np.array([(frame == 2).any() for frame in self.masks])
        return np.where(low, 1, np.where(high, 2, 0))


@dataclass(frozen=True)
class CaseScore:
    """The challenge's figures of one case: WFSS, soft Dice, NAE of the AC, Hausdorff distance in pixels."""

    wfss: float
    dice_soft: float
    nae_ac: float
    hausdorff_px: float

    @property
    def score(self) -> float:
        """0.5 (1 - NAE) + 0.25 WFSS + 0.25 soft Dice."""
        return 0.5 * (1 - self.nae_ac) + 0.25 * self.wfss + 0.25 * self.dice_soft


def evaluate_case(
    truth: CaseTruth,
    frame: int,
    mask: np.ndarray,
    *,
    mode: Mode = "corrected",
    spacing_mm: float = OFFICIAL_SPACING_MM,
) -> CaseScore:
    """Score one prediction: a frame number (-1: none) and the mask [H, W] on it.

    Raises:
        ValueError: when the frame lies outside of the case, or the mask's shape differs.
    """
    count = len(truth.masks)
    if not -1 <= frame < count:
        raise ValueError(f"frame {frame} in a case of {count} frames; -1 means none")
    if mask.shape != truth.masks.shape[1:]:
        raise ValueError(f"mask of shape {mask.shape} for frames of shape {truth.masks.shape[1:]}")
    labels = truth.labels()
    predicted = _inside(mask, truth.field_of_view)
    soft, hausdorff = _overlap(truth, labels, frame, predicted, mode)
    return CaseScore(
        wfss=weighted_frame_selection(labels, frame),
        dice_soft=soft,
        nae_ac=_case_nae(truth, frame, mask, spacing_mm),
        hausdorff_px=hausdorff,
    )


def mean_score(cases: Sequence[CaseScore]) -> dict[str, float]:
    """Means over cases, and the challenge score of these means.

    Raises:
        ValueError: without cases.
    """
    if not cases:
        raise ValueError("no cases to average")
    names = ("wfss", "dice_soft", "nae_ac", "hausdorff_px")
    means = {name: float(np.mean([getattr(case, name) for case in cases])) for name in names}
    return means | {"score": CaseScore(**means).score}


def weighted_frame_selection(labels: np.ndarray, frame: int) -> float:
    """WFSS: 1 for an optimal frame, or a suboptimal one if the case has no optimal one; else 0.6 if suboptimal."""
    if frame < 0 or labels[frame] == 0:
        return 0.0
    if labels[frame] == 1 or not (labels == 1).any():
        return 1.0
    return SUBOPTIMAL_CREDIT


def nearest_annotated(labels: np.ndarray, frame: int, sweep: tuple[int, int], mode: Mode) -> int | None:
    """The annotated frame that a chosen frame is compared with: in the same sweep, at most T frames away."""
    annotated = np.flatnonzero(labels[sweep[0] : sweep[1]]) + sweep[0]
    annotated = annotated[np.abs(annotated - frame) <= TOLERANCE_FRAMES]
    if not len(annotated):
        return None
    behind = annotated[annotated <= frame]
    if mode == "official" and len(behind):
        return int(behind[-1])
    return int(annotated[np.argmin(np.abs(annotated - frame))])  # argmin: the first, so the one behind on a tie


def normalised_error(truth_mm: float | None, predicted_mm: float | None) -> float:
    """NAE |t - p| / max(t, p, 1e-6); 1 when either is missing."""
    if truth_mm is None or predicted_mm is None:
        return 1.0
    return abs(truth_mm - predicted_mm) / max(truth_mm, predicted_mm, 1e-6)


def challenge_circumference(
    mask: np.ndarray, field_of_view: np.ndarray | None = None, spacing_mm: float = OFFICIAL_SPACING_MM
) -> float | None:
    """Circumference in mm as measured by the challenge, through boundary pixel centres.

    Outline pixels near the border of the field of view are removed, and the ellipse is fitted to the remaining
    piece that encloses the largest area: an outline that is cut on two sides is measured from one piece. The
    radius is about half a pixel shorter than that of ``fetaliqa.measure.fit_outline`` (0.9 mm of circumference at
    0.28 mm). None when the piece has five points or fewer.
    """
    padding = OFFICIAL_PADDING
    padded = np.pad(_inside(mask, field_of_view).astype(np.uint8), padding)
    lines = _contour_lines(padded)
    if field_of_view is not None:
        dropped = _contour_lines(np.pad((field_of_view != 0).astype(np.uint8), padding))
        dropped = cv2.dilate(dropped, np.ones((3, 3), np.uint8), iterations=OFFICIAL_DILATIONS)
        lines[dropped != 0] = 0
    pieces, _ = cv2.findContours(lines, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    piece = max(pieces, key=cv2.contourArea, default=None)
    if piece is None or len(piece) <= 5:
        return None
    _, (width, height), _ = cv2.fitEllipse(piece)
    if not np.isfinite([width, height]).all():
        return None
    return ellipse_circumference(width / 2, height / 2) * spacing_mm


def official_field_of_view() -> np.ndarray:
    """The field of view that the challenge limits all masks to: uint8 [562, 744], 1 inside.

    ``data/fov_mask.mha`` of DIAGNijmegen/ACOUSLIC-AI-evaluation-method (Apache-2.0), as a PNG.
    """
    content = (files("fetaliqa.evaluation") / "acouslic_field_of_view.png").read_bytes()
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    return (picture != 0).astype(np.uint8)


def _contour_lines(mask: np.ndarray) -> np.ndarray:
    """uint8 [H, W] of 0 and 1: the pixels on the contours of a mask, holes included."""
    contours, _ = cv2.findContours(mask, cv2.RETR_TREE, cv2.CHAIN_APPROX_NONE)
    lines = np.zeros_like(mask)
    cv2.drawContours(lines, contours, -1, [1.0], 1)
    return lines


def _case_nae(truth: CaseTruth, frame: int, mask: np.ndarray, spacing_mm: float) -> float:
    if frame < 0:
        return 1.0
    reference = truth.circumferences_mm[_sweep_number(truth.ranges, frame)]
    return normalised_error(reference, challenge_circumference(mask, truth.field_of_view, spacing_mm))


def _overlap(
    truth: CaseTruth, labels: np.ndarray, frame: int, predicted: np.ndarray, mode: Mode
) -> tuple[float, float]:
    """Soft Dice and Hausdorff figure."""
    if frame < 0:
        if mode == "corrected":
            return 0.0, MISSED_HD
        frame = len(truth.masks) - 1  # the frame at index -1
        if not labels[frame] and not predicted.any():
            return float("inf"), MISSED_HD
    if labels[frame]:
        reference = _inside(truth.masks[frame], truth.field_of_view)
        return _plain_dice(predicted, reference), _hausdorff(predicted, reference)
    sweep = truth.ranges[_sweep_number(truth.ranges, frame)]
    nearest = nearest_annotated(labels, frame, sweep, mode)
    if nearest is None:
        return 0.0, MISSED_HD
    reference = _inside(truth.masks[nearest], truth.field_of_view)
    soft = _plain_dice(predicted, reference) * (1 - abs(nearest - frame) / TOLERANCE_FRAMES)
    distance = _hausdorff(predicted, reference)
    if distance == MISSED_HD:
        return soft, distance
    if mode == "official":
        return soft, distance * (nearest - frame)
    # at least one pixel: an identical mask 14 frames away must score worse than one on the annotated frame
    return soft, min(MISSED_HD, max(distance, 1.0) * abs(nearest - frame))


def _inside(mask: np.ndarray, field_of_view: np.ndarray | None) -> np.ndarray:
    return mask != 0 if field_of_view is None else (mask != 0) & (field_of_view != 0)


def _sweep_number(ranges: Sequence[tuple[int, int]], frame: int) -> int:
    for number, (start, stop) in enumerate(ranges):
        if start <= frame < stop:
            return number
    raise ValueError(f"frame {frame} lies in none of the sweeps")


def _plain_dice(predicted: np.ndarray, reference: np.ndarray) -> float:
    total = np.count_nonzero(predicted) + np.count_nonzero(reference)
    return 2 * np.count_nonzero(predicted & reference) / total if total else 0.0


def _hausdorff(predicted: np.ndarray, reference: np.ndarray) -> float:
    """Hausdorff distance in pixels; ``MISSED_HD`` when a mask is empty."""
    if not predicted.any() or not reference.any():
        return MISSED_HD
    measure = sitk.HausdorffDistanceImageFilter()
    measure.Execute(
        sitk.GetImageFromArray(predicted.astype(np.uint8)), sitk.GetImageFromArray(reference.astype(np.uint8))
    )
    return float(measure.GetHausdorffDistance())
