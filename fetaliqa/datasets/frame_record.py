"""What was said about which frame of a case: the part of a label that its mask stack cannot hold.

``{"schema": 1, "frames": {"57": {"state": "annotated", "plane": "optimal", "rater": ..., "time": ...}}}``

An all-zero mask may mean "no anatomy here" or "nobody looked"; the record tells the two apart.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fetaliqa.errors import SweepError

SCHEMA = 1
STATES = ("annotated", "empty", "proposed")
PLANES = {"optimal": 1, "suboptimal": 2}  # and their label in a mask
KEY = "frame_record"


@dataclass(frozen=True)
class FrameState:
    """State of one frame: ``annotated``, ``empty`` or ``proposed``; label of its plane, None when not graded."""

    state: str
    label: int | None


def parse_frame_record(record: Any, where: str) -> dict[int, FrameState]:
    """Read a frame record.

    Args:
        record: the record, as JSON gave it.
        where: file and case, for messages.

    Returns:
        State of each frame that the record speaks of, by frame number from 0.

    Raises:
        SweepError: when the record has another form, naming the entry at fault.
    """
    if (
        not isinstance(record, dict)
        or record.get("schema") != SCHEMA
        or not isinstance(record.get("frames"), dict)
    ):
        raise SweepError(f'{where}: a frame record is {{"schema": {SCHEMA}, "frames": {{...}}}}; write it again')
    states = {}
    for key, entry in record["frames"].items():
        if not (isinstance(key, str) and key.isascii() and key.isdigit()) or not isinstance(entry, dict):
            raise SweepError(f"{where}: frame {key!r} in its record; a frame number with an object is expected")
        state, plane = entry.get("state"), entry.get("plane")
        if state not in STATES:
            raise SweepError(f"{where}: state {state!r} of frame {key}; it must be one of {', '.join(STATES)}")
        if plane is not None and plane not in PLANES:
            raise SweepError(f"{where}: plane {plane!r} of frame {key}; it must be optimal, suboptimal or null")
        states[int(key)] = FrameState(state, None if plane is None else PLANES[plane])
    return states


def record_in_info(info: Mapping[str, Any]) -> Any:
    """The frame record in a label's info of MONAI Label, there or under its ``params``; None without one."""
    if KEY in info:
        return info[KEY]
    parameters = info.get("params")
    return parameters.get(KEY) if isinstance(parameters, dict) else None


def read_record_file(path: Path) -> Any:
    """The content of a ``NAME.frames.json``.

    Raises:
        SweepError: when it is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise SweepError(f"{path.name}: not JSON ({problem}); write it again") from None
