"""What comes with a label: free information, and the record of which frames somebody looked at."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from fetaliqa.errors import LabelError
from fetaliqa.labels import FrameRecord, parse_record
from fetaliqa.labels.record import record_in_info


def plain(info: dict[str, Any]) -> dict[str, Any]:
    """Info as JSON values, without what the index adds by itself."""
    values = json.loads(json.dumps(info, default=str))
    return {name: value for name, value in values.items() if name not in ("ts", "name", "version")}


def record_of(image_id: str, info: dict[str, Any], frame_count: int | None = None) -> FrameRecord | None:
    """The frame record in a label's info.

    Raises:
        LabelError: when there is one that cannot be used.
    """
    told = record_in_info(info)
    return None if told is None else parse_record(told, f"label of {image_id}", frame_count)


def check_record(image_id: str, record: FrameRecord | None, masks: np.ndarray) -> None:
    """Refuse a record that contradicts its masks.

    Raises:
        LabelError: naming the frame.
    """
    for frame, label in sorted(record.frames.items()) if record is not None else ():
        drawn = bool(masks[frame].any())
        if label.state == "annotated" and not drawn:
            raise LabelError(
                f"label of {image_id}: frame {frame} is called annotated, but its mask is empty; outline it "
                "or call it empty"
            )
        if label.state == "empty" and drawn:
            raise LabelError(
                f"label of {image_id}: frame {frame} is called empty, but has a mask; erase it or call it "
                "annotated"
            )
