"""Base class and context of the format writers."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np

from fetaliqa.export.export_case import ExportCase
from fetaliqa.export.frame_selection import PROPOSED
from fetaliqa.export.manifest import Place
from fetaliqa.measure.anatomy import Anatomy

CLASSES = ("plane", "anatomy")
T = TypeVar("T")
R = TypeVar("R")


@dataclass
class ExportContext:
    """Context shared by all writers.

    Attributes:
        root: folder to write into; becomes the export when all is written.
        anatomy: what is outlined.
        classes: ``plane``: label 1 on optimal and ungraded planes, 2 on suboptimal ones; ``anatomy``: 1 on all.
        part_of: part of the split (``train``, ``validation``, ``test``) by case, the name in the export.
        synthetic: whether these are phantoms.
        pool: threads for work on single frames.
        notes: for the card, one sentence each; writers add theirs.
    """

    root: Path
    anatomy: Anatomy
    classes: str = "plane"
    part_of: dict[str, str] = field(default_factory=dict)
    synthetic: bool = False
    pool: ThreadPoolExecutor | None = None
    notes: list[str] = field(default_factory=list)

    def each(self, function: Callable[[T], R], items: Iterable[T]) -> list[R]:
        """``function`` of every item, on the pool's threads, in the order of the items."""
        return list(map(function, items) if self.pool is None else self.pool.map(function, items))

    def labels(self) -> dict[str, int]:
        """Name and value of every label that a mask may hold, without background."""
        name = self.anatomy.name
        if self.classes == "anatomy" or name != "abdomen":
            return {name: 1}
        return {name: 1, f"{name}_suboptimal": 2}

    def mask(self, case: ExportCase, frame: int) -> np.ndarray:
        """A frame's mask with the values of ``labels``: uint8 [H, W]."""
        mask = case.masks[frame]
        return mask if len(self.labels()) > 1 else (mask > 0).astype(np.uint8)


class Writer:
    """A format. ``write_case`` is called once for each case that has frames, then ``finish`` once.

    Attributes:
        name: on the command line.
        modules: packages that the extra ``export`` brings, by the module that is needed.
        takes_empty_cases: whether ``write_case`` is also called for cases without a selected frame.
        ascii_names: whether file names may have nothing but ASCII letters, digits, dot, underscore and hyphen.
        holds_proposals: whether the format can mark unconfirmed frames.
    """

    name: ClassVar[str]
    modules: ClassVar[dict[str, str]] = {}
    holds_proposals: ClassVar[bool] = True
    takes_empty_cases: ClassVar[bool] = False
    ascii_names: ClassVar[bool] = False

    def __init__(self, context: ExportContext) -> None:
        self.context = context

    def write_case(self, case: ExportCase) -> dict[int, Place]:
        """Write the frames of ``case.entries``; returns where each is."""
        raise NotImplementedError

    def finish(self, about: dict[str, Any]) -> None:
        """Write the files that depend on all cases.

        Args:
            about: the data card, without its time.
        """


def stem_of(case: ExportCase, frame: int) -> str:
    """Name of a frame's files, marked when the frame is unconfirmed."""
    mark = f"_{PROPOSED}" if case.entries[frame].state == PROPOSED else ""
    return f"{case.stem}_{frame:04d}{mark}"


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, its folder made where it is missing."""
    try:
        path.write_bytes(content)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
