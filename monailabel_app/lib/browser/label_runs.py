"""Labels of the page: masks as run lengths, saved as the same mask file and frame record as those of 3D Slicer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fetaliqa.errors import OptionError
from fetaliqa.labels import LabelVersion
from fetaliqa.sweep import Sweep, write_masks
from monailabel_app.lib.browser.mask_runs import mask_of_runs, runs_of

SUFFIX = ".mha"
INFO_KEYS = ("frame_record", "based_on", "rater", "submission", "client")
"""Keys of a submission that are stored with the label, as the Slicer module sends them."""


def write_label(folder: Path, masks: Any, sweep: Sweep) -> Path:
    """Write the masks of a submission as a mask file on the sweep's grid.

    Args:
        folder: to write to.
        masks: run lengths by frame number.
        sweep: of the image.

    Raises:
        OptionError: naming the frame.
    """
    if not isinstance(masks, dict):
        raise OptionError('masks must be an object like {"12": {"rows": ..., "columns": ..., "runs": [...]}}')
    stack = np.zeros(sweep.shape, np.uint8)
    for key, value in masks.items():
        number = int(key) if key.isascii() and key.isdigit() and len(key) < 8 else -1
        if not 0 <= number < sweep.frame_count or str(number) != key:
            raise OptionError(
                f"masks: there is no frame {key[:20]!r}; the frames are 0 to {sweep.frame_count - 1}"
            )
        stack[number] = mask_of_runs(value, (sweep.shape[1], sweep.shape[2]), f"the mask of frame {number}")
    file = folder / f"masks{SUFFIX}"
    write_masks(file, stack, sweep)
    return file


def read_label_runs(version: LabelVersion, sweep: Sweep) -> dict[str, Any]:
    """A version of a label for the page: record, masks, who saved it, reviews."""
    stack = version.masks(sweep)
    outlined = np.flatnonzero(stack.reshape(len(stack), -1).any(axis=1))
    return {
        **label_entry(version),
        "frame_record": None if version.record is None else version.record.to_json(),
        "masks": {str(number): runs_of(stack[number]) for number in outlined.tolist()},
        "values": {str(number): int(stack[number].max()) for number in outlined.tolist()},
    }


def label_entry(version: LabelVersion) -> dict[str, Any]:
    """What a list of versions says, with the rater and the token of the submission."""
    info: Mapping[str, Any] = version.info
    return {**version.summary(), "rater": info.get("rater"), "submission": info.get("submission")}
