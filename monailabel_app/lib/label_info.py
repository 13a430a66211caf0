"""What comes with a label: free information, and the record of which frames somebody looked at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from fetaliqa.errors import LabelError
from fetaliqa.labels import FrameRecord, parse_record
from fetaliqa.labels.frame_record import KEY, MAX_SECONDS, record_in_info
from monailabel_app.lib.json_input import MAX_DEPTH, too_deep

ADDED = ("ts", "name", "version")  # by the index itself


def plain(info: dict[str, Any]) -> dict[str, Any]:
    """Info as values that the index can hold and give back, without what the index adds by itself.

    Raises:
        LabelError: for infinite numbers, text that is no Unicode, or objects nested too deep.
    """
    try:
        text = json.dumps(info, default=str, allow_nan=False, ensure_ascii=False)
        text.encode("utf-8")
        deep = too_deep(json.loads(text))
    except RecursionError:
        deep = True
    except ValueError as problem:  # UnicodeEncodeError is one
        raise LabelError(f"the information sent along cannot be stored ({problem}); send plain JSON") from None
    if deep:
        raise LabelError(f"the information sent along is nested deeper than {MAX_DEPTH} levels; send it flat")
    return {name: value for name, value in json.loads(text).items() if name not in ADDED}


def without_record(info: Mapping[str, Any]) -> dict[str, Any]:
    """Info without its frame record, which is kept with the version: hundreds of them would slow the index."""
    told = {name: value for name, value in info.items() if name != KEY}
    if isinstance(told.get("params"), dict) and KEY in told["params"]:
        told["params"] = {name: value for name, value in told["params"].items() if name != KEY}
    return told


def record_of(image_id: str, info: dict[str, Any], frame_count: int | None = None) -> FrameRecord | None:
    """The frame record in a label's info.

    Raises:
        LabelError: when there is one that cannot be used.
    """
    told = record_in_info(info)
    return None if told is None else parse_record(told, f"label of {image_id}", frame_count)


def check_record(image_id: str, record: FrameRecord | None, masks: np.ndarray) -> None:
    """Refuse a record that contradicts its masks, or tells times in milliseconds.

    Raises:
        LabelError: naming the frame.
    """
    for frame, label in sorted(record.frames.items()) if record is not None else ():
        # not in the record's own check: labels that were saved before this was refused stay readable
        if isinstance(label.time, int | float) and label.time > MAX_SECONDS:
            raise LabelError(
                f"label of {image_id}: frame {frame}: time {label.time!r}; seconds since 1970, not milliseconds, "
                "are needed"
            )
        if not label.contradicts(bool(masks[frame].any())):
            continue
        if label.state == "annotated":
            raise LabelError(
                f"label of {image_id}: frame {frame} is called annotated, but its mask is empty; outline it "
                "or call it empty"
            )
        raise LabelError(
            f"label of {image_id}: frame {frame} is called empty, but has a mask; erase it or call it annotated"
        )
