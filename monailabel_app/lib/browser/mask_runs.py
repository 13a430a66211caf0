"""Masks as run lengths in JSON: row-major, alternating, beginning with zeros."""

from __future__ import annotations

from typing import Any

import numpy as np

from fetaliqa.errors import OptionError
from fetaliqa.measure.run_lengths import mask_from_runs, run_lengths

SCHEMA = {
    "type": "object",
    "properties": {
        "rows": {"type": "integer", "minimum": 1},
        "columns": {"type": "integer", "minimum": 1},
        "runs": {"type": "array", "items": {"type": "integer", "minimum": 0}},
    },
    "required": ["rows", "columns", "runs"],
}


def runs_of(mask: np.ndarray) -> dict[str, Any]:
    """The run lengths of a mask [H, W], foreground not 0.

    Examples:
        >>> runs_of(np.array([[0, 1, 1], [0, 0, 1]]))
        {'rows': 2, 'columns': 3, 'runs': [1, 2, 2, 1]}
    """
    return {"rows": mask.shape[0], "columns": mask.shape[1], "runs": run_lengths(mask)}


def mask_of_runs(value: Any, size: tuple[int, int], what: str) -> np.ndarray:
    """The mask of run lengths: uint8 [H, W] of 0 and 1.

    Args:
        value: what a client sent.
        size: rows and columns of the frames.
        what: what to call it in messages.

    Raises:
        OptionError: when it is not the mask of a frame of this size.
    """
    if not isinstance(value, dict) or not isinstance(value.get("runs"), list):
        raise OptionError(f'{what} is not a mask; send {{"rows": ..., "columns": ..., "runs": [...]}}')
    sent = value.get("rows"), value.get("columns")
    if sent != size:
        raise OptionError(f"{what} is of {str(sent)[:40]} rows and columns; the frames are of {size}")
    return mask_from_runs(value["runs"], size, what)
