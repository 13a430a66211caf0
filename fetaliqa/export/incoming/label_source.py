"""Common types of the label readers: classes, outlines on frames, and the ``Source`` protocol."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from fetaliqa.errors import LabelError
from fetaliqa.export.frame_names import AmbiguousName, FrameNames, Place
from fetaliqa.sweep import Sweep

T = TypeVar("T")


@dataclass(frozen=True)
class ClassLabel:
    """A class of a segmentation.

    Attributes:
        name: as the file has it; None when it has none.
        value: in masks, or the file's own number of the class; None when it has none.
        code: ``SCHEME:VALUE`` of a DICOM segment's property type.
    """

    name: str | None
    value: int | str | None = None
    code: str | None = None

    def __str__(self) -> str:
        if self.name is None:
            return "no name" if self.value is None else f"value {self.value}"
        return self.name


@dataclass(frozen=True, eq=False)
class Outline:
    """A class on a frame.

    Attributes:
        label: the class.
        draw: returns bool [H, W], True inside; None for an annotation without an area (a box, a point).
        ignored: whether it marks unknown pixels instead of the class.
        proposed: whether it is unconfirmed.
    """

    label: ClassLabel
    draw: Callable[[], np.ndarray | None]
    ignored: bool = False
    proposed: bool = False


@dataclass(frozen=True, eq=False)
class Drawn:
    """The outlines of one frame in a file; empty for a listed frame without any."""

    outlines: list[Outline]
    proposed: bool = False


class Source(Protocol):
    """A file or folder of labels.

    Attributes:
        where: its name, for messages.
        shared: whether all cases have the same classes.
        placed: its parts by case and frame.
    """

    where: str
    shared: bool
    placed: Placed[Any]

    def classes(self, case_id: str) -> list[ClassLabel]:
        """Classes that may occur in a case; the same for all cases when they are shared.

        Raises:
            LabelError: when the file cannot be read.
        """
        ...

    def drawn(self, case_id: str, sweep: Sweep) -> dict[int | None, Drawn]:
        """Outlines by frame of a case; the key is None for a single-frame case.

        Raises:
            LabelError, SweepError: when a file does not fit the sweep.
        """
        ...


@dataclass
class Placed(Generic[T]):
    """Pictures, files or entries of a file, by case and frame.

    Attributes:
        names: interprets names.
        at: items by case and frame, with the interpreted names; frame None: the whole case, or its only frame.
        wrong: why a case cannot be imported, by case.
        unplaced: names without a matching case.
    """

    names: FrameNames
    at: dict[str, dict[int | None, list[tuple[Place, T]]]] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    unplaced: list[str] = field(default_factory=list)

    def add(self, name: str, item: T, *, whole: bool = False, problem: str | None = None) -> None:
        """Add an item by its name; see ``FrameNames.place``. A ``problem`` rejects its case."""
        try:
            place = self.names.place(name, whole=whole)
        except AmbiguousName as ambiguity:
            for case_id in ambiguity.cases:
                self.refuse(case_id, str(ambiguity))
            return
        if place is None:
            self.unplaced.append(name)
            return
        if problem is not None:
            self.refuse(place.case_id, problem)
        there = self.at.setdefault(place.case_id, {}).setdefault(place.frame, [])
        if any(other.label == place.label for other, _ in there):
            what = "stacks are" if place.frame is None else f"pictures are frame {place.frame} of"
            message = f"two {what} {place.case_id}, the second is {name}; import them one after the other"
            self.refuse(place.case_id, message)
        there.append((place, item))

    def put(self, case_id: str, item: T) -> None:
        """Add an item of a given case."""
        self.at.setdefault(case_id, {}).setdefault(None, []).append((Place(case_id, None), item))

    def refuse(self, case_id: str, why: str) -> None:
        """Reject a case; the first reason is kept."""
        self.at.setdefault(case_id, {})
        self.wrong.setdefault(case_id, why)

    def of(self, case_id: str) -> list[tuple[int | None, Place, T]]:
        """Frame, place and item of all items of a case, in order of the frames."""
        frames = sorted(self.at[case_id], key=lambda frame: -1 if frame is None else frame)
        return [(frame, *one) for frame in frames for one in self.at[case_id][frame]]


def add_frame(frames: dict[int | None, Drawn], frame: int | None, drawn: Drawn, name: str) -> None:
    """Add the outlines of a frame.

    Raises:
        LabelError: when another file of the case has the same frame.
    """
    if frame in frames:
        raise LabelError(f"{name}: another file is of frame {frame} too; import them one after the other")
    frames[frame] = drawn


def text_of(file: Path) -> str:
    """A text file in UTF-8, with or without byte order mark.

    Raises:
        LabelError: when it is in another encoding.
    """
    try:
        return file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as problem:
        raise LabelError(f"{file.name}: byte {problem.start} is not UTF-8; save it as UTF-8") from None


def read_json(file: Path, kind: type = dict) -> Any:
    """A JSON object (or, with ``kind``, an array); UTF-8, -16 or -32, with or without byte order mark.

    Raises:
        LabelError: when it is none.
    """
    try:
        content = json.loads(file.read_bytes())
    except (ValueError, RecursionError) as problem:
        raise LabelError(f"{file.name}: not JSON ({problem}); export it again") from None
    if not isinstance(content, kind):
        expected = "an object" if kind is dict else "an array"
        raise LabelError(f"{file.name}: a JSON {type(content).__name__}; {expected} is expected")
    return content


def check_size(what: str, size: tuple[Any, ...], sweep: Sweep) -> None:
    """Check that a picture has the size of the sweep's frames.

    Raises:
        LabelError: when it does not.
    """
    if size != sweep.shape[1:]:
        written = " x ".join(map(str, size))
        expected = " x ".join(map(str, sweep.shape[1:]))
        raise LabelError(f"{what}: {written} pixels, but frames of {sweep.case_id} have {expected}")
