"""Masks as run lengths, the form in which the interactive endpoints send and receive them.

``{"rows": 562, "columns": 744, "runs": [1200, 5, ...]}``: lengths of runs of background and foreground in turn,
row by row, beginning with background.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from FetalIQALib.client_errors import InvalidResponse
from FetalIQALib.frame_masks import Mask
from FetalIQALib.translation import _


def to_runs(mask: Mask) -> dict[str, Any]:
    """A mask as run lengths."""
    rows, columns = mask.shape
    flat = mask.full().ravel()
    changes = np.flatnonzero(np.diff(flat)) + 1
    borders = np.concatenate([[0], changes, [flat.size]])
    runs = np.diff(borders).tolist()
    return {"rows": rows, "columns": columns, "runs": [0, *runs] if flat[0] else runs}


def from_runs(value: Any, shape: tuple[int, int]) -> Mask | None:
    """The mask of run lengths; None if it has no foreground.

    Args:
        value: of the server's response.
        shape: rows and columns that the mask must have.

    Raises:
        InvalidResponse: if it is malformed or has another size.
    """
    runs = value.get("runs") if isinstance(value, dict) else None
    if not isinstance(runs, list) or not all(type(run) is int and run >= 0 for run in runs):
        raise InvalidResponse(
            _("The server's response about {what} has an unexpected format.").format(what="the mask")
        )
    if (value.get("rows"), value.get("columns")) != shape or sum(runs) != shape[0] * shape[1]:
        raise InvalidResponse(
            _("The server's mask has {actual} pixels, the frame has {expected}; nothing was changed.").format(
                actual=f"{value.get('columns')} × {value.get('rows')} ({sum(runs)})",
                expected=f"{shape[1]} × {shape[0]}",
            )
        )
    values = np.arange(len(runs), dtype=np.uint8) & 1
    return Mask.of(np.repeat(values, runs).reshape(shape))
