"""Evaluation of the femur model on real still images, as in docs/real-images.md."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from fetaliqa.evaluation.line_figures import LineError, line_error
from fetaliqa.inference import Predictor, assess
from fetaliqa.inference.assessment_options import AssessOptions
from fetaliqa.lab.overlay_tiles import FOUND, REFERENCE, in_rows, tile
from fetaliqa.lab.stills.still_image import Still, read_grey
from fetaliqa.measure import Line
from fetaliqa.sweep import sweep_from_array

TILE = 300  # pixels of an overlay's side


@dataclass(frozen=True, eq=False)
class FemurOutcome:
    """Result for one image.

    Attributes:
        still: the image.
        positive: whether it was called positive.
        line: that was found; None without one.
        error: against the reference; None without a reference.
        quality, distance, warning: of the frame's record.
    """

    still: Still
    positive: bool
    line: Line | None
    error: LineError | None
    quality: float
    distance: float | None
    warning: str | None


def femur_outcome(predictor: Predictor, still: Still, reference: Line | None = None) -> FemurOutcome:
    """Assess one image as a user's file would be, and compare its line with a reference."""
    spacing = None if still.pixel_mm is None else (still.pixel_mm, still.pixel_mm)
    sweep = sweep_from_array(read_grey(still.file)[None], spacing, case_id=still.name)
    frame = assess(sweep, predictor, AssessOptions()).record["frames"][0]
    line = None if frame.get("line") is None else Line(**frame["line"])
    error = None if reference is None else line_error(line, reference, spacing)
    return FemurOutcome(
        still,
        bool(frame["positive"]),
        line,
        error,
        float(frame["quality"]),
        frame.get("distance"),
        frame.get("warning"),
    )


def femur_figures(outcomes: Sequence[FemurOutcome]) -> dict[str, Any]:
    """Figures of images with a reference line."""
    errors = [one.error for one in outcomes if one.error is not None]
    found = [one for one in errors if one.error_percent is not None]
    percent = np.array([one.error_percent for one in found], float)
    millimetres = np.array([one.error_mm for one in found if one.error_mm is not None], float)
    ends_mm = np.array([one.end_mm for one in found if one.end_mm is not None], float)
    ends = np.array([100 * (one.end_px or 0.0) / one.reference_px for one in found], float)
    return {
        "images": len(errors),
        "patients": len({one.still.patient for one in outcomes}),
        "found": len(found),
        "length_error_percent": _spread(np.abs(percent)),
        "length_bias_percent": _mean(percent),
        "end_error_percent_of_length": _spread(ends),
        "images_with_pixel_size": len(millimetres),
        "length_error_mm": _spread(np.abs(millimetres)),
        "length_bias_mm": _mean(millimetres),
        "end_error_mm": _spread(ends_mm),
    }


def femur_overlays(
    outcomes: Sequence[FemurOutcome], references: Sequence[Line | None], columns: int = 5
) -> np.ndarray:
    """A picture of all images: the reference's ends green, the model's line red, the error below."""
    tiles = [_tile(one, line) for one, line in zip(outcomes, references)]
    return in_rows(tiles, columns)


def _tile(one: FemurOutcome, reference: Line | None) -> np.ndarray:
    def draw(small: np.ndarray, factor: float) -> None:
        for line, colour in ((reference, REFERENCE), (one.line, FOUND)):
            if line is None:
                continue
            ends = line.ends() * factor
            across = (ends[1] - ends[0])[::-1] * (-1, 1) / max(np.linalg.norm(ends[1] - ends[0]), 1e-6)
            for end in ends:
                _draw(small, end - 9 * across, end + 9 * across, colour)
            if colour == FOUND:
                _draw(small, ends[0], ends[1], colour)

    error = "-" if one.error is None or one.error.error_percent is None else f"{one.error.error_percent:+.1f} %"
    signals = f"q{one.quality:.2f} d{one.distance or 0:.1f}"
    return tile(one.still, TILE, draw, f"{one.still.name[:14]} {error} {signals} {one.still.confidence or ''}")


def _draw(picture: np.ndarray, one: np.ndarray, other: np.ndarray, colour: tuple[int, int, int]) -> None:
    (x1, y1), (x2, y2) = one.round().astype(int).tolist(), other.round().astype(int).tolist()
    cv2.line(picture, (x1, y1), (x2, y2), colour, 1, cv2.LINE_AA)


def _spread(values: np.ndarray) -> dict[str, float] | None:
    if not len(values):
        return None
    return {
        "mean": round(float(values.mean()), 3),
        "median": round(float(np.median(values)), 3),
        "most": round(float(values.max()), 3),
    }


def _mean(values: np.ndarray) -> float | None:
    return round(float(values.mean()), 3) if len(values) else None
