"""What a client is sent when it asks for an image: one file that it can open by itself, and the server's grid."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fetaliqa.active.frame_profiles import source_of
from fetaliqa.errors import FetalIQAError
from fetaliqa.sweep.self_contained_copy import copy_suffix, write_copy
from fetaliqa.sweep.sweep_reader import open_image
from monailabel_app.lib.offered import download_name, split_name
from monailabel_app.lib.scratch import scratch

GRID_HEADER = "fetaliqa-grid"
MAX_KNOWN = 10_000  # images, of some hundred bytes each


@dataclass(frozen=True)
class Described:
    """What is told of an image file.

    Attributes:
        grid: size, spacing, origin and direction (x, y, frame), and ``spacing_mm`` of rows and columns, null where
            the file has none; None of a file that cannot be read.
        copy: suffix of the complete copy that is sent in its place; None when the file itself is.
    """

    grid: dict[str, Any] | None
    copy: str | None

    def name(self, path: Path) -> str:
        """What the file that is sent is called."""
        return download_name(path) if self.copy is None else f"{split_name(path.name)[0]}{self.copy}"

    def headers(self) -> dict[str, str]:
        """Headers of the answer that carries the file."""
        return {} if self.grid is None else {GRID_HEADER: json.dumps(self.grid)}


class Downloads:
    """Descriptions of image files, each made once as long as the file stays as it is."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Described] = {}
        self._lock = threading.Lock()

    def described(self, path: Path) -> Described:
        """What is told of a file."""
        key = (str(path), source_of(path))
        found = self._known.get(key)
        if found is None:
            found = _describe(path)
            with self._lock:
                if len(self._known) >= MAX_KNOWN:
                    self._known.clear()
                self._known[key] = found
        return found


def _describe(path: Path) -> Described:
    try:
        image = open_image(path)
        copy = copy_suffix(path)
    except (FetalIQAError, OSError):
        return Described(None, None)
    count, height, width = image.pixels.shape
    grid = image.grid
    told = {
        "size": [width, height, count],
        "spacing": list(grid.spacing),
        "origin": list(grid.origin),
        "direction": list(grid.direction),
        "spacing_mm": None if image.spacing is None else list(image.spacing),
    }
    return Described(told, copy)


def complete_copy(path: Path, suffix: str) -> Path:
    """A temporary copy of an image that can be opened by itself; the caller discards it.

    Raises:
        SweepError: when the image cannot be read.
        OSError: when the disk does not take it.
    """
    target = scratch.file(suffix)
    try:
        write_copy(path, target)
    except BaseException:
        scratch.discard(target)
        raise
    return target
