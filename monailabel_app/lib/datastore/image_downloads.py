"""Downloads of images: one self-contained file, and the grid that the server uses."""

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
from monailabel_app.lib.datastore.image_files import download_name, split_name
from monailabel_app.lib.files.scratch import scratch

GRID_HEADER = "fetaliqa-grid"
MAX_CACHED = 10_000  # images, of some hundred bytes each


@dataclass(frozen=True)
class DownloadInfo:
    """How an image file is sent.

    Attributes:
        grid: size, spacing, origin and direction (x, y, frame), and ``spacing_mm`` of rows and columns, null where
            the file has none; None for a file that cannot be read.
        copy: suffix of the complete copy that is sent in its place; None when the file itself is sent.
    """

    grid: dict[str, Any] | None
    copy: str | None

    def name(self, path: Path) -> str:
        """Name of the file that is sent."""
        return download_name(path) if self.copy is None else f"{split_name(path.name)[0]}{self.copy}"

    def headers(self) -> dict[str, str]:
        """Headers of the response that carries the file."""
        return {} if self.grid is None else {GRID_HEADER: json.dumps(self.grid)}


class Downloads:
    """Download information on image files, computed once for each version of a file."""

    def __init__(self) -> None:
        self._cache: dict[tuple[str, str], DownloadInfo] = {}
        self._lock = threading.Lock()

    def info(self, path: Path) -> DownloadInfo:
        """How a file is sent."""
        key = (str(path), source_of(path))
        info = self._cache.get(key)
        if info is None:
            info = _read_info(path)
            with self._lock:
                if len(self._cache) >= MAX_CACHED:
                    self._cache.clear()
                self._cache[key] = info
        return info


def _read_info(path: Path) -> DownloadInfo:
    try:
        image = open_image(path)
        copy = copy_suffix(path)
    except (FetalIQAError, OSError):
        return DownloadInfo(None, None)
    count, height, width = image.pixels.shape
    grid = {
        "size": [width, height, count],
        "spacing": list(image.grid.spacing),
        "origin": list(image.grid.origin),
        "direction": list(image.grid.direction),
        "spacing_mm": None if image.spacing is None else list(image.spacing),
    }
    return DownloadInfo(grid, copy)


def complete_copy(path: Path, suffix: str) -> Path:
    """A temporary copy of an image that can be opened by itself; the caller discards it.

    Raises:
        SweepError: when the image cannot be read.
        OSError: when the file cannot be written.
    """
    target = scratch.file(suffix)
    try:
        write_copy(path, target)
    except BaseException:
        scratch.discard(target)
        raise
    return target
