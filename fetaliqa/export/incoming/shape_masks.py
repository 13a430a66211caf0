"""Masks from annotated shapes: polygons, ellipses, run-length encodings.

Run lengths are decoded here, with a check of their sum and without the extra ``export``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from fetaliqa.errors import LabelError

BEYOND = 1.0  # how far outside of a picture a corner may lie, in widths or heights of the picture
ALPHA = 3  # channel of Label Studio's masks that says what was painted; the others hold the brush's colour
CHANNELS = 4


def polygons_mask(polygons: Sequence[Any], height: int, width: int, where: str) -> np.ndarray:
    """The union of polygons.

    Args:
        polygons: corners x1, y1, x2, y2, ... of each, in pixels; (0, 0) is the picture's own corner.
        height, width: of the picture, in pixels.
        where: annotation, for messages.

    Returns:
        Bool [H, W].

    Raises:
        LabelError: when one is not a polygon, or lies far outside.
    """
    from pycocotools import mask as coco_mask

    checked = []
    for polygon in polygons:
        corners = _numbers(polygon)
        if corners is None or corners.ndim != 1 or len(corners) < 6 or len(corners) % 2:
            raise LabelError(f"{where}: its outline is no polygon of three corners or more; export it again")
        pairs = corners.reshape(-1, 2) / (width, height)
        if (pairs < -BEYOND).any() or (pairs > 1 + BEYOND).any():
            raise LabelError(f"{where}: its outline lies outside of the picture; check the picture's size")
        checked.append(corners.tolist())
    if not checked:
        return np.zeros((height, width), bool)
    return coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(checked, height, width))) > 0


def ellipse_mask(
    centre: tuple[float, float], radii: tuple[float, float], degrees: float, height: int, width: int, where: str
) -> np.ndarray:
    """The pixels whose centres lie in an ellipse.

    Args:
        centre: (x, y) in pixels.
        radii: along its own x and y axis, in pixels.
        degrees: by which it is turned clockwise, as seen.
        height, width: of the picture, in pixels.
        where: annotation, for messages.

    Raises:
        LabelError: when the numbers do not describe an ellipse.
    """
    if not all(map(math.isfinite, (*centre, *radii, degrees))) or min(radii) <= 0:
        raise LabelError(f"{where}: its ellipse has no size; export it again")
    rows, columns = np.ogrid[:height, :width]
    x, y = columns + 0.5 - centre[0], rows + 0.5 - centre[1]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    inside: np.ndarray = ((x * cos + y * sin) / radii[0]) ** 2 + ((y * cos - x * sin) / radii[1]) ** 2 <= 1
    return inside


def runs_mask(counts: Any, height: int, width: int, where: str, *, order: Literal["C", "F"] = "F") -> np.ndarray:
    """A mask from run lengths, the first run outside.

    Args:
        counts: of pixels; COCO's compressed text is read too.
        height, width: of the mask, in pixels.
        where: annotation, for messages.
        order: ``F``: column by column, as COCO; ``C``: row by row.

    Raises:
        LabelError: when they do not fill the mask exactly.
    """
    runs = _numbers(_uncompressed(counts) if isinstance(counts, str) else counts)
    if runs is None or runs.ndim != 1 or (runs < 0).any() or (runs % 1).any() or runs.sum() != height * width:
        raise LabelError(f"{where}: its run lengths do not fill {height} x {width} pixels; export it again")
    inside = np.arange(len(runs)) % 2 == 1
    return np.repeat(inside, runs.astype(np.int64)).reshape((height, width), order=order)


def _uncompressed(text: str) -> list[int] | None:
    """Counts in COCO's text: five bits a character, lowest first; from the fourth on, less the count two before.

    Returns:
        None when it is no such text.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 30:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    return None if shift else counts


def painted_mask(encoded: Any, height: int, width: int, where: str) -> np.ndarray:
    """Decode a brush mask of Label Studio: four channels, run-length encoded as a bit stream ("rle-pack").

    The bits are: 32 for the number of words, 5 for the bits of a word less one, four times 4 for the bits of a
    length less one; then runs: 1 bit whether one word is repeated, 2 bits for which length follows, the number of
    words less one, and the word or the words.

    Args:
        encoded: bytes as a list of whole numbers.
        height, width: of the picture, in pixels.
        where: annotation, for messages.

    Returns:
        Bool [H, W], True where painted.

    Raises:
        LabelError: when the encoding is invalid.
    """
    numbers = _numbers(encoded)
    size = height * width * CHANNELS
    try:
        if numbers is None or (numbers < 0).any() or (numbers > 255).any():
            raise ValueError
        bits = _Bits(numbers.astype(np.uint8))
        count, word = bits.number(32), bits.number(5) + 1
        lengths = [bits.number(4) + 1 for _ in range(4)]
        if count != size:
            raise ValueError
        values, done = np.empty(size, np.int64), 0
        while done < size:
            repeated = bits.number(1)
            end = done + 1 + bits.number(lengths[bits.number(2)])
            if end > size:
                raise ValueError
            values[done:end] = bits.words(1 if repeated else end - done, word)
            done = end
    except ValueError:
        raise LabelError(f"{where}: its brush mask is not of {height} x {width} pixels; export it again") from None
    painted: np.ndarray = values.reshape(height, width, CHANNELS)[..., ALPHA] > 0
    return painted


class _Bits:
    """Numbers from a bit stream, the highest bit first; ValueError at its end."""

    def __init__(self, packed: np.ndarray) -> None:
        self._bits, self._at = np.unpackbits(packed).astype(np.int64), 0

    def number(self, bits: int) -> int:
        return int(self.words(1, bits)[0])

    def words(self, count: int, bits: int) -> np.ndarray:
        part = self._bits[self._at : self._at + count * bits]
        if len(part) < count * bits:
            raise ValueError
        self._at += count * bits
        words: np.ndarray = part.reshape(count, bits) @ (1 << np.arange(bits - 1, -1, -1, dtype=np.int64))
        return words


def _numbers(values: Any) -> np.ndarray | None:
    """Finite numbers as an array; None for other values."""
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
        return None
    try:
        numbers = np.array(values, float)
    except OverflowError:
        return None
    return numbers if np.isfinite(numbers).all() else None
