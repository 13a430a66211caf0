"""The size of a frame's mask, whichever shape its anatomy has: circumference of an ellipse or length of a line.

Records of an assessment hold a circumference (``circumference_mm``, ``circumference_absent``) or a length
(``length_mm``, ``length_absent``). Whatever shows a size asks here, so that it need not tell anatomies apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

from fetaliqa.measure.anatomy import Anatomy
from fetaliqa.measure.line import LineFit, fit_line
from fetaliqa.measure.outline import OutlineFit, fit_outline

ShapeFit = OutlineFit | LineFit


def fit_mask(
    mask: np.ndarray,
    spacing: tuple[float, float] | None,
    field_of_view: np.ndarray | None,
    anatomy: Anatomy,
) -> ShapeFit:
    """The ellipse or the line of a mask, by its anatomy; arguments and errors as of ``fit_outline``."""
    fit = fit_line if anatomy.is_line else fit_outline
    return fit(mask, spacing, field_of_view)


def fit_fields(fit: ShapeFit) -> dict[str, Any]:
    """Shape and size as fields of a frame's record."""
    if isinstance(fit, LineFit):
        return {
            "line": None if fit.line is None else {k: round(v, 3) for k, v in asdict(fit.line).items()},
            "length_mm": _rounded(fit.length_mm, 2),
            "length_absent": fit.absent_reason,
            "line_overlap": _rounded(fit.overlap, 4),
            "circumference_mm": None,
        }
    return {
        "ellipse": None if fit.ellipse is None else {k: round(v, 3) for k, v in asdict(fit.ellipse).items()},
        "circumference_mm": _rounded(fit.circumference_mm, 2),
        "circumference_absent": fit.absent_reason,
        "fit_residual": _rounded(fit.residual, 5),
    }


def recorded_mm(frame: Mapping[str, Any]) -> float | None:
    """The circumference or length in mm that a frame's record holds; None without one.

    Examples:
        >>> recorded_mm({"circumference_mm": 210.5}), recorded_mm({"circumference_mm": None, "length_mm": 41.0})
        (210.5, 41.0)
    """
    length = frame.get("length_mm")
    return frame.get("circumference_mm") if length is None else length


def recorded_absence(frame: Mapping[str, Any]) -> str | None:
    """Why a frame's record holds no size; None where it holds one, or where there is no outline."""
    return frame.get("length_absent") or frame.get("circumference_absent")


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(float(value), digits)
