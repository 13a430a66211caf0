"""Information that comes with a label: free JSON values, and the frame record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from fetaliqa.errors import LabelError
from fetaliqa.labels import FrameRecord, parse_record
from fetaliqa.labels.changed_frames import KEY as COMPARED
from fetaliqa.labels.confirmation import KEY as CONFIRMED
from fetaliqa.labels.frame_record import KEY, MAX_SECONDS, record_in_info
from monailabel_app.lib.http.json_input import MAX_DEPTH, too_deep

LEFT_OUT = "left_out"  # the classes that a label's file had beside the anatomy
SERVER_KEYS = (COMPARED, LEFT_OUT, CONFIRMED)  # only the server sets these
INDEX_KEYS = ("ts", "name", "version")  # only the index sets these


def plain(info: dict[str, Any]) -> dict[str, Any]:
    """Info as values that the index can store, without the keys that the index sets.

    Raises:
        LabelError: for infinite numbers, text that is not Unicode, or objects nested too deep.
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
    return {name: value for name, value in json.loads(text).items() if name not in INDEX_KEYS}


def without_server_keys(info: Mapping[str, Any]) -> dict[str, Any]:
    """What a client sent, without the keys that only the server sets."""
    return {name: value for name, value in info.items() if name not in SERVER_KEYS}


def without_record(info: Mapping[str, Any]) -> dict[str, Any]:
    """Info without its frame record, which is stored with the version: in the index, hundreds would be slow."""
    rest = {name: value for name, value in info.items() if name != KEY}
    if isinstance(rest.get("params"), dict) and KEY in rest["params"]:
        rest["params"] = {name: value for name, value in rest["params"].items() if name != KEY}
    return rest


def named_classes(info: Mapping[str, Any]) -> Any:
    """The classes that MONAI Label's client names, at the top level or in its ``params``."""
    parameters = info.get("params")
    return info.get("label_info") or (parameters.get("label_info") if isinstance(parameters, dict) else None)


def pop_based_on(info: dict[str, Any]) -> int | None:
    """The version that the annotator started from, removed from ``info``.

    Raises:
        LabelError: when it is no version number.
    """
    based_on = info.pop("based_on", None)
    if based_on is not None and (not isinstance(based_on, int) or isinstance(based_on, bool) or based_on < 0):
        raise LabelError(f"based_on is {based_on!r}; the number of a version, or 0 for none, is needed")
    return based_on


def record_of(image_id: str, info: dict[str, Any], frame_count: int | None = None) -> FrameRecord | None:
    """The frame record in a label's info.

    Raises:
        LabelError: when there is one that cannot be used.
    """
    content = record_in_info(info)
    return None if content is None else parse_record(content, f"label of {image_id}", frame_count)


def check_record(image_id: str, record: FrameRecord | None, masks: np.ndarray) -> None:
    """Refuse a record that contradicts its masks, or gives times in milliseconds.

    Args:
        image_id: for messages.
        record: the record, if any.
        masks: uint8 [T, H, W].

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
                f"label of {image_id}: frame {frame} is annotated, but its mask is empty; outline it "
                "or set its state to empty"
            )
        raise LabelError(
            f"label of {image_id}: frame {frame} is empty, but has a mask; erase it or set its state to annotated"
        )
