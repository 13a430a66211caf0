"""What labels made elsewhere are turned into, and how their names are understood."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fetaliqa.errors import LabelError
from fetaliqa.sweep import Sweep

NAME = re.compile(r"(?P<case>.+)_(?P<frame>[0-9]{1,6})(?P<proposed>_proposed)?")  # as exports call pictures
GRADES = ("suboptimal", "optimal")  # in this order: one name holds the other
VALUES = {"suboptimal": 2}  # of a mask; all others 1


@dataclass(frozen=True, eq=False)
class IncomingFrame:
    """What is said elsewhere of one frame.

    Attributes:
        mask: uint8 [H, W], 0 outside; 1 or, on a suboptimal plane, 2 inside.
        plane: as in a frame record.
        proposed: whether nobody confirmed it.
    """

    mask: np.ndarray
    plane: str | None = None
    proposed: bool = False


class Incoming(Protocol):
    """Labels of several cases."""

    def cases(self) -> list[str]:
        """Cases that have labels, by name."""
        ...

    def read(self, case_id: str, sweep: Sweep) -> dict[int, IncomingFrame]:
        """Frames of a case, those without an outline included.

        Raises:
            LabelError, SweepError: when a file does not fit the sweep.
        """
        ...


def named_frame(inside: np.ndarray, names: Iterable[str], proposed: bool = False) -> IncomingFrame:
    """A frame outlined where ``inside`` (bool [H, W]) is, its plane told by the labels' names."""
    plane = plane_of(names)
    return IncomingFrame(inside.astype(np.uint8) * np.uint8(VALUES.get(plane or "", 1)), plane, proposed)


def plane_of(names: Iterable[str]) -> str | None:
    """The grade that labels' names tell; the better one where they tell both, None where they tell none."""
    grades = {next((grade for grade in GRADES if grade in name.lower()), None) for name in names}
    return "optimal" if "optimal" in grades else "suboptimal" if grades == {"suboptimal"} else None


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        LabelError: when it is none.
    """
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as problem:
        raise LabelError(f"{file.name}: not JSON ({problem}); export it again") from None
    if not isinstance(content, dict):
        raise LabelError(f"{file.name}: a JSON {type(content).__name__}; an object is expected")
    return content
