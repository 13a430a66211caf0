"""The frame record of a label: state, plane, rater and time of each frame, which a mask stack cannot hold.

``{"schema": 1, "frames": {"57": {"state": "annotated", "plane": "optimal", "rater": ..., "time": ...}}}``

An all-zero mask may mean "no anatomy" or "not reviewed"; the record distinguishes the two. Only ``annotated`` and
``empty`` frames are ground truth; a ``proposed`` frame is an unconfirmed prediction.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from fetaliqa.errors import LabelError

SCHEMA = 1
STATES = ("annotated", "empty", "proposed")
PLANES = {"optimal": 1, "suboptimal": 2}  # and their label in a mask
KEY = "frame_record"  # in a label's info of MONAI Label
MAX_DIGITS = 6  # of a frame number
MAX_SECONDS = 253402300799  # the last second of the year 9999; larger values are in milliseconds
ORIGINS = ("interactive", "propagated")
WHERE_SET = ("comment", "origin", "clicks", "source_frame")  # fields that are written only where they are set
MAX_CLICKS = 10_000  # of one frame; more is an error of the client
MAX_TEXT = 200  # characters of a rater's or a model's name
MAX_COMMENT = 500  # characters


@dataclass(frozen=True)
class FrameLabel:
    """The record of one frame.

    Attributes
    ----------
    state
        ``annotated`` (a mask drawn or confirmed), ``empty`` (looked at, nothing there) or ``proposed``.
    plane
        ``optimal`` or ``suboptimal``; None when not graded.
    rater
        Who looked; None for a model.
    time
        When, ISO 8601 or seconds since 1970.
    model, model_version
        Whose proposal the rater was shown; None when none was.
    seconds
        Spent on the frame.
    comment
        Of the rater; None for none. On a ``proposed`` frame it does not confirm anything.
    origin
        How the mask came about: ``interactive`` (from clicks or a box, by an interactive model) or ``propagated``
        (carried from another frame); None for one that was drawn, or accepted from a model.
    clicks
        Clicks and boxes of an interactive mask.
    source_frame
        Frame that a propagated mask was carried from.

    Raises
    ------
    ValueError
        Naming the field at fault.
    """

    state: str
    plane: str | None = None
    rater: str | None = None
    time: str | float | None = None
    model: str | None = None
    model_version: str | None = None
    seconds: float | None = None
    comment: str | None = None
    origin: str | None = None
    clicks: int | None = None
    source_frame: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.state, str) or self.state not in STATES:
            raise ValueError(f"state {self.state!r}; it must be one of {', '.join(STATES)}")
        if self.plane is not None and not (isinstance(self.plane, str) and self.plane in PLANES):
            raise ValueError(f"plane {self.plane!r}; it must be optimal, suboptimal or null")
        for name in ("rater", "model", "model_version"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and 0 < len(value) <= MAX_TEXT):
                raise ValueError(f"{name} {value!r}; text of 1 to {MAX_TEXT} characters, or null, is needed")
        if self.comment is not None and not (isinstance(self.comment, str) and len(self.comment) <= MAX_COMMENT):
            raise ValueError(f"comment {str(self.comment)[:40]!r}; text of at most {MAX_COMMENT} characters")
        if self.time is not None and not (_is_seconds(self.time) or _is_iso(self.time)):
            raise ValueError(f"time {self.time!r}; ISO 8601, such as 2026-01-31T14:05:00+00:00, is needed")
        if self.seconds is not None and not _is_seconds(self.seconds):
            raise ValueError(f"seconds {self.seconds!r}; a number from 0 on, or null, is needed")
        if self.origin is not None and not (isinstance(self.origin, str) and self.origin in ORIGINS):
            raise ValueError(f"origin {self.origin!r}; it must be {' or '.join(ORIGINS)}, or null")
        for name, last in (("clicks", MAX_CLICKS), ("source_frame", 10**MAX_DIGITS - 1)):
            value = getattr(self, name)
            if value is not None and not _is_whole(value, last):
                raise ValueError(f"{name} {value!r}; a whole number from 0 to {last}, or null, is needed")

    @property
    def known(self) -> bool:
        """Whether a person reviewed the frame, so that it may train and test."""
        return self.state != "proposed"

    @property
    def label(self) -> int | None:
        """The plane's label in a mask; None when not graded."""
        return None if self.plane is None else PLANES[self.plane]

    def contradicts(self, drawn: bool) -> bool:
        """Whether the state contradicts the frame's mask, ``drawn`` or empty; a proposal never does."""
        return self.known and (self.state == "annotated") != drawn

    def to_json(self) -> dict[str, Any]:
        """The entry as JSON values; fields of ``WHERE_SET`` only where they say something."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in values.items() if value not in (None, "") or name not in WHERE_SET}


def _is_frame(key: object) -> bool:
    """Whether a key is a frame number as JSON objects have it, in its one way of writing."""
    if not isinstance(key, str) or len(key) > MAX_DIGITS or not key.isascii() or not key.isdigit():
        return False
    return str(int(key)) == key


def _is_seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf


def _is_whole(value: object, last: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= last


def _is_iso(value: object) -> bool:
    try:
        return isinstance(value, str) and bool(datetime.fromisoformat(value))
    except ValueError:
        return False


@dataclass(frozen=True)
class FrameRecord:
    """Frame labels by frame number, from 0."""

    frames: Mapping[int, FrameLabel] = field(default_factory=dict)

    def known(self) -> list[int]:
        """Numbers of the reviewed frames."""
        return sorted(frame for frame, label in self.frames.items() if label.known)

    def to_json(self) -> dict[str, Any]:
        """The record as JSON values, frames in their order."""
        return {
            "schema": SCHEMA,
            "frames": {str(frame): self.frames[frame].to_json() for frame in sorted(self.frames)},
        }


def parse_record(record: Any, where: str, frame_count: int | None = None) -> FrameRecord:
    """Parse a frame record. Unknown fields of a frame, and origins that this version does not know, are dropped.

    Args:
        record: the record, as JSON gave it.
        where: file and case, for messages.
        frame_count: of the case, when it is known.

    Raises:
        LabelError: when the record has another form, naming the entry at fault.

    Examples:
        >>> states = {"57": {"state": "annotated", "plane": "optimal"}, "58": {"state": "proposed"}}
        >>> record = parse_record({"schema": 1, "frames": states}, "case-1")
        >>> record.known(), record.frames[57].plane
        ([57], 'optimal')
    """
    if (
        not isinstance(record, dict)
        or record.get("schema") != SCHEMA
        or not isinstance(record.get("frames"), dict)
    ):
        raise LabelError(f'{where}: a frame record is {{"schema": {SCHEMA}, "frames": {{...}}}}; write it again')
    names = {one.name for one in fields(FrameLabel)}
    frames = {}
    for key, entry in record["frames"].items():
        if not _is_frame(key) or not isinstance(entry, dict):
            raise LabelError(f"{where}: frame {key!r} in its record; a frame number with an object is expected")
        if frame_count is not None and int(key) >= frame_count:
            raise LabelError(f"{where}: its record names frame {key}; its frames are 0 to {frame_count - 1}")
        source = entry.get("source_frame")
        if frame_count is not None and isinstance(source, int) and source >= frame_count:
            raise LabelError(
                f"{where}: frame {key} in its record: source_frame {source}; its frames are 0 to {frame_count - 1}"
            )
        known = {name: value for name, value in entry.items() if name in names}
        if isinstance(known.get("origin"), str) and known["origin"] not in ORIGINS:
            del known["origin"]
        try:
            frames[int(key)] = FrameLabel(**{"state": None, **known})
        except ValueError as problem:
            raise LabelError(f"{where}: frame {key} in its record: {problem}") from None
    return FrameRecord(frames)


def record_in_info(info: Mapping[str, Any]) -> Any:
    """The frame record in a label's info of MONAI Label, there or under its ``params``; None without one."""
    if KEY in info:
        return info[KEY]
    parameters = info.get("params")
    return parameters.get(KEY) if isinstance(parameters, dict) else None


def read_record_file(path: Path) -> Any:
    """The content of a ``NAME.frames.json``.

    Raises:
        LabelError: when it is not JSON.
    """
    try:
        return json.loads(path.read_bytes())  # with a byte order mark, or without
    except ValueError as problem:
        raise LabelError(f"{path.name}: not JSON ({problem}); write it again") from None
