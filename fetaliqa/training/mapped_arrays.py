"""Memory-mapped arrays that are passed to other processes by file path instead of by content."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MappedFile:
    """A file that holds one array and nothing else.

    Attributes:
        path: of the file, absolute.
        dtype: NumPy's name of the values' type.
        shape: of the array.
    """

    path: str
    dtype: str
    shape: tuple[int, ...]

    def open(self) -> np.memmap:
        """Map the array, read-only."""
        return np.memmap(self.path, np.dtype(self.dtype), "r", shape=self.shape)


def as_file(array: np.ndarray) -> np.ndarray | MappedFile:
    """The file that an array is a read-only map of; the array itself where it is none, or a part of one."""
    if not isinstance(array, np.memmap) or array.mode != "r" or array.filename is None:
        return array
    whole = array.offset == 0 and array.flags.c_contiguous and os.path.getsize(array.filename) == array.nbytes
    return MappedFile(os.path.abspath(array.filename), array.dtype.str, array.shape) if whole else array
