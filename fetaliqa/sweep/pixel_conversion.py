"""Conversion of pixels of any type to a uint8 stack, a slab of frames at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from fetaliqa.errors import SweepError
from fetaliqa.sweep.frame_buffers import uninitialised
from fetaliqa.sweep.sweep_ranges import BLACK_LEVEL

# ITU-R BT.601-7 section 2.5.1, in 1/65536: the sum is 65536, so that grey (R = G = B) is unchanged.
LUMA_WEIGHTS = (19595, 38470, 7471)
LUMA_NOTE = "colour reduced to luma (ITU-R BT.601)"
ALPHA_NOTE = "transparency ignored"

Decoded = Callable[[np.ndarray, int], None]


@dataclass(frozen=True)
class Pixels:
    """Pixels of an opened file.

    Attributes:
        shape: (T, H, W).
        slabs: function that reads from the beginning: yields [n, H, W] arrays of one numeric type, in order, T
            frames in total. A slab is valid until the next one is requested.
        notes: notes for the user on the conversion.
        reading_notes: notes for the user that depend on the pixels; ``slabs`` adds to them.
    """

    shape: tuple[int, int, int]
    slabs: Callable[[], Iterator[np.ndarray]]
    notes: tuple[str, ...] = ()
    reading_notes: list[str] = field(default_factory=list)

    @property
    def all_notes(self) -> tuple[str, ...]:
        """All notes without duplicates, after reading."""
        return tuple(dict.fromkeys((*self.notes, *self.reading_notes)))


@dataclass(frozen=True)
class _Extent:
    """Range of the values in a stack."""

    low: float
    high: float
    integral: bool  # all values are whole numbers


def luma(colour: np.ndarray) -> np.ndarray:
    """Reduce colour to luma.

    Args:
        colour: [..., C], C = 3 (RGB) or 4 (RGB and alpha, ignored); any real type.

    Returns:
        [...]: uint8 for uint8 input (rounded), float64 otherwise.
    """
    if colour.dtype == np.uint8:
        total = np.full(colour.shape[:-1], 1 << 15, dtype=np.uint32)
        for channel, weight in enumerate(LUMA_WEIGHTS):
            total += colour[..., channel].astype(np.uint32) * np.uint32(weight)
        return (total >> 16).astype(np.uint8)
    weights = np.asarray(LUMA_WEIGHTS, dtype=np.float64) / 65536
    return colour[..., :3].astype(np.float64) @ weights


def new_stack(shape: tuple[int, int, int], name: str) -> np.ndarray:
    """Return an uninitialised uint8 stack.

    Raises:
        SweepError: when there is no memory for it.
    """
    try:
        return uninitialised(shape)
    except (MemoryError, ValueError):
        size = math.prod(shape) / 2**30
        raise SweepError(
            f"{name}: {shape[0]} frames of {shape[1]} x {shape[2]} need {size:,.1f} GiB of memory; "
            "split the file into shorter sweeps"
        ) from None


def _checked_slabs(pixels: Pixels, name: str) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (first frame, slab), and check that values are finite and of one type."""
    first, dtype = 0, None
    for slab in pixels.slabs():
        dtype = dtype or slab.dtype
        if slab.dtype != dtype:
            raise SweepError(
                f"{name}: frames of different depth, frame 0 is {dtype} and frame {first} {slab.dtype}; "
                "export all frames alike"
            )
        if slab.dtype.kind == "f" and not np.isfinite(slab).all():
            bad = ~np.isfinite(slab)
            frame = first + int(np.flatnonzero(bad.any(axis=(1, 2)))[0])
            raise SweepError(
                f"{name}: frame {frame} holds values that are not numbers (NaN or infinite); "
                "export the file again with finite grey values"
            )
        yield first, slab
        first += len(slab)


def _extent(pixels: Pixels, name: str) -> _Extent:
    low, high, integral = math.inf, -math.inf, True
    for _first, slab in _checked_slabs(pixels, name):
        low, high = min(low, float(slab.min())), max(high, float(slab.max()))
        integral = integral and (slab.dtype.kind in "iub" or bool((slab == np.rint(slab)).all()))
    return _Extent(low, high, integral)


def to_uint8(pixels: Pixels, name: str, decoded: Decoded | None = None) -> tuple[np.ndarray, tuple[str, ...]]:
    """Read all pixels as uint8.

    8-bit values are unchanged. Others are unchanged too if they are whole numbers from 0 to 255 (and not just a
    mask); otherwise the range of the stack is mapped linearly to 0 to 255. One window is used for all frames, so
    that brightness is comparable within a case. The full range is used instead of percentiles, because ultrasound
    images have no outliers, and their background must stay exactly black. Values that are not 8-bit are read
    twice, so that they need not fit in memory.

    Args:
        pixels: what to read.
        name: the file, for messages.
        decoded: called with the stack and the number of frames that it holds so far.

    Returns:
        uint8 [T, H, W], C-contiguous, and the notes.

    Raises:
        SweepError: when values are not finite or the stack does not fit into memory.
    """
    slabs = _checked_slabs(pixels, name)
    first, slab = next(slabs)
    frames = new_stack(pixels.shape, name)
    decoded = decoded or (lambda *_: None)
    if slab.dtype == np.uint8:
        for start, part in itertools.chain([(first, slab)], slabs):
            frames[start : start + len(part)] = part
            decoded(frames, start + len(part))
        return frames, pixels.all_notes
    bits = slab.dtype.itemsize * 8
    kind = "floating-point" if slab.dtype.kind == "f" else f"{bits}-bit"
    slabs.close()  # type: ignore[attr-defined]
    extent = _extent(pixels, name)
    if extent.integral and extent.low >= 0 and BLACK_LEVEL < extent.high <= 255:
        for first, slab in _checked_slabs(pixels, name):
            frames[first : first + len(slab)] = slab
        return frames, (*pixels.all_notes, f"{kind} values from 0 to 255 kept as they are")
    scale = 255.0 / (extent.high - extent.low) if extent.high > extent.low else 0.0
    for first, slab in _checked_slabs(pixels, name):
        scaled = (slab.astype(np.float64) - extent.low) * scale
        frames[first : first + len(slab)] = np.rint(scaled, out=scaled)
    return frames, (*pixels.all_notes, f"{kind} values {extent.low:g} to {extent.high:g} windowed to 0 to 255")


def to_labels(pixels: Pixels, name: str) -> np.ndarray:
    """Read all pixels as labels, unchanged.

    Returns:
        uint8 [T, H, W].

    Raises:
        SweepError: when they are in colour, or a value is not a whole number from 0 to 255.
    """
    if LUMA_NOTE in pixels.notes:
        raise SweepError(
            f"{name}: is in colour; a label has one whole number for each pixel, so export it as a label map"
        )
    labels = new_stack(pixels.shape, name)
    for first, slab in _checked_slabs(pixels, name):
        target = labels[first : first + len(slab)]
        if slab.dtype == np.uint8:
            target[...] = slab
            continue
        with np.errstate(invalid="ignore"):
            target[...] = slab.astype(np.uint8)
        wrong = target != slab
        if wrong.any():
            value = slab[wrong][0]
            raise SweepError(f"{name}: holds the value {value:g}; labels are whole numbers from 0 to 255")
    return labels
