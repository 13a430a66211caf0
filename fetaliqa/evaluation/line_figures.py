"""Errors of lines (femur): length and ends against the reference, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fetaliqa.datasets.labelled_data import LabelledCase
from fetaliqa.evaluation.bootstrap import ratios
from fetaliqa.evaluation.frame_figures import with_intervals
from fetaliqa.inference.assessment import Assessment
from fetaliqa.measure import Line, fit_line


@dataclass(frozen=True)
class LineError:
    """A frame's line against the reference's.

    Attributes:
        case: index into the evaluated cases.
        frame: frame number.
        reference_px: length of the reference in pixels.
        error_percent: length found minus reference, in percent of the reference; None where no line was found.
        error_mm: the same in mm; None without a line or pixel spacing.
        end_px, end_mm: mean distance of the two ends from the reference's.
    """

    case: int
    frame: int
    reference_px: float
    error_percent: float | None = None
    error_mm: float | None = None
    end_px: float | None = None
    end_mm: float | None = None

    @property
    def found(self) -> bool:
        """Whether there is a line to compare."""
        return self.error_percent is not None


def line_error(
    found: Line | None, reference: Line, spacing: tuple[float, float] | None, case: int = 0, frame: int = 0
) -> LineError:
    """Compare two lines, in mm where spacing is known.

    Examples:
        >>> error = line_error(Line(0, 0, 104, 0), Line(0, 0, 100, 0), (0.5, 0.5))
        >>> error.error_percent, error.error_mm, error.end_px
        (4.0, 2.0, 2.0)
    """
    if found is None:
        return LineError(case, frame, reference.length)
    pixels = spacing or (1.0, 1.0)
    length, true = (line.length_mm(pixels) for line in (found, reference))
    return LineError(
        case,
        frame,
        reference.length,
        100 * (length - true) / true,
        None if spacing is None else length - true,
        _end_distance(found, reference, (1.0, 1.0)),
        None if spacing is None else _end_distance(found, reference, spacing),
    )


def line_errors(case: LabelledCase, number: int, assessment: Assessment) -> tuple[LineError, ...]:
    """Errors on every labelled frame of a case whose reference mask is a line."""
    errors = []
    for frame in np.flatnonzero(case.known & (case.grades() > 0)):
        reference = fit_line(case.masks[frame] > 0, case.spacing).line
        if reference is not None:
            found = assessment.frames[int(frame)].line
            errors.append(line_error(found, reference, case.spacing, number, int(frame)))
    return tuple(errors)


def line_figures(errors: Sequence[LineError], weights: np.ndarray) -> dict[str, Any] | None:
    """Means over frames with a reference line, with intervals; None without any.

    Returns:
        ``lines``, ``lines_found`` (counts); and figures ``found_share``, and over the lines found
        ``length_percent``, ``length_mm`` (mean absolute error), ``length_bias_percent``, ``end_px``, ``end_mm``;
        those in mm over frames with a pixel spacing.
    """
    if not errors:
        return None
    counts = np.zeros((weights.shape[1], 8))
    for error in errors:
        counts[error.case, 0] += 1
        if error.error_percent is None:
            continue
        counts[error.case, 1:5] += [1, abs(error.error_percent), error.error_percent, error.end_px or 0.0]
        if error.error_mm is not None:
            counts[error.case, 5:] += [1, abs(error.error_mm), error.end_mm or 0.0]
    found = sum(error.found for error in errors)
    return {"lines": len(errors), "lines_found": found} | with_intervals(counts, _means, weights)


def _means(sums: np.ndarray) -> dict[str, np.ndarray]:
    total, found, percent, bias, end_px, in_mm, length_mm, end_mm = sums.T
    return {
        "found_share": ratios(found, total),
        "length_mm": ratios(length_mm, in_mm),
        "length_percent": ratios(percent, found),
        "length_bias_percent": ratios(bias, found),
        "end_mm": ratios(end_mm, in_mm),
        "end_px": ratios(end_px, found),
    }


def _end_distance(one: Line, other: Line, spacing: tuple[float, float]) -> float:
    """Mean distance of the ends, paired so that it is the smaller one."""
    scale = np.array([spacing[1], spacing[0]])
    ends, others = one.ends() * scale, other.ends() * scale
    pairs = (others, others[::-1])
    return float(min(np.linalg.norm(ends - pair, axis=1).mean() for pair in pairs))
