"""Immutable masks of single frames."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass

import numpy as np

from FetalIQALib.client_errors import FileError

MAX_SIDE = 1 << 14  # pixels; larger frames in a journal are invalid


@dataclass(frozen=True, eq=False)
class Mask:
    """The foreground of one frame; never empty, immutable.

    Attributes:
        shape: rows and columns of the frame.
        top, left: position of ``pixels`` in the frame.
        pixels: bool [h, w], the smallest rectangle around the foreground.
        value: pixel value in the file it was read from, 1 or 2; not compared by ``==``.
    """

    shape: tuple[int, int]
    top: int
    left: int
    pixels: np.ndarray
    value: int = 1

    @classmethod
    def of(cls, frame: np.ndarray) -> Mask | None:
        """The mask of an array [H, W], foreground not 0; None without foreground."""
        array = np.asarray(frame)
        drawn = array != 0
        rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
        if not len(rows):
            return None
        top, left = int(rows[0]), int(columns[0])
        pixels = drawn[top : rows[-1] + 1, left : columns[-1] + 1].copy()
        pixels.flags.writeable = False
        value = 2 if array.dtype != bool and not (array == 1).any() and (array == 2).any() else 1
        return cls((drawn.shape[0], drawn.shape[1]), top, left, pixels, value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mask):
            return NotImplemented
        return (self.shape, self.top, self.left) == (other.shape, other.top, other.left) and np.array_equal(
            self.pixels, other.pixels
        )

    def __hash__(self) -> int:
        return hash((self.shape, self.top, self.left, self.pixels.tobytes()))

    @property
    def area(self) -> int:
        """Number of foreground pixels."""
        return int(np.count_nonzero(self.pixels))

    def paint(self, target: np.ndarray) -> None:
        """Set the foreground of an array [H, W] to 1."""
        height, width = self.pixels.shape
        target[self.top : self.top + height, self.left : self.left + width][self.pixels] = 1

    def full(self) -> np.ndarray:
        """The mask of the whole frame: uint8 [H, W] of 0 and 1."""
        frame = np.zeros(self.shape, np.uint8)
        self.paint(frame)
        return frame

    def to_text(self) -> str:
        """Serialize the mask to one line of text for ``from_text``."""
        packed = base64.b64encode(zlib.compress(np.packbits(self.pixels).tobytes(), 6)).decode("ascii")
        height, width = self.pixels.shape
        return f"{self.shape[0]} {self.shape[1]} {self.top} {self.left} {height} {width} {packed}"

    @classmethod
    def from_text(cls, text: str) -> Mask:
        """Read the mask from a line of text.

        Raises:
            FileError: if the text is not a valid mask.
        """
        try:
            *numbers, packed = text.split(" ")
            rows, columns, top, left, height, width = (int(number) for number in numbers)
            if min(top, left) < 0 or min(height, width) < 1 or max(rows, columns) > MAX_SIDE:
                raise ValueError
            if top + height > rows or left + width > columns:
                raise ValueError
            limit = height * width // 8 + 1
            data = zlib.decompressobj().decompress(base64.b64decode(packed, validate=True), limit + 1)
            bits = np.unpackbits(np.frombuffer(data, np.uint8), count=height * width)
            frame = np.zeros((rows, columns), np.uint8)
            frame[top : top + height, left : left + width] = bits.reshape(height, width)
            mask = cls.of(frame)
        except (ValueError, zlib.error, AttributeError):
            mask = None
        if mask is None:
            raise FileError("a mask is damaged")
        return mask


def dice(first: Mask | None, second: Mask | None) -> float | None:
    """Dice coefficient of two masks of one frame, 0 to 1; None if both are empty."""
    if first is None or second is None:
        return None if first is second else 0.0
    both = int(np.count_nonzero(first.full() & second.full()))
    return 2.0 * both / (first.area + second.area)
