"""Files of mask stacks, written a frame at a time: 840 frames that are nearly all empty take milliseconds.

SimpleITK writes the header, of a stack of two frames of one pixel on the same grid, and only the sizes in it are
replaced: spacing, origin and direction are told exactly as SimpleITK tells them of the whole stack.
"""

from __future__ import annotations

import re
import struct
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from isal import isal_zlib

from fetaliqa.atomic import atomic_path
from fetaliqa.sweep.types import Grid

Shape = tuple[int, int, int]

LEVEL = 1  # of isal's 0 to 3; on masks it is smaller than zlib's 6, in a fiftieth of the time
RUN_BYTES = 4 << 20  # of zeros at a time: each piece begins a block, which costs some bytes
ZLIB, GZIP = 15, 31  # zlib's wbits: which wrapping the deflated bytes have
NIFTI_HEADER_BYTES = 352  # with the four bytes that say there are no extensions
NIFTI_SIZES_AT = 42  # bytes before dim[1] of a NIfTI-1 header
NIFTI_LARGEST = 2**15 - 1  # an axis of NIfTI-1; SimpleITK writes other headers beyond
_TINY = (2, 1, 1)


def image_on_grid(masks: np.ndarray, grid: Grid) -> sitk.Image:
    """An image of masks uint8 [T, H, W] on a grid; a plane image where that is one."""
    flat = grid.dimensions == 2
    image = sitk.GetImageFromArray(masks[0] if flat else masks)
    image.SetSpacing(grid.spacing[:2] if flat else grid.spacing)
    image.SetOrigin(grid.origin[:2] if flat else grid.origin)
    a, b, _, c, d, *_rest = grid.direction
    image.SetDirection((a, b, c, d) if flat else grid.direction)
    return image


def write_frames(path: Path, shape: Shape, grid: Grid, frames: Iterable[np.ndarray | None]) -> None:
    """Write a mask stack, compressed. The file appears complete or not at all.

    Args:
        path: .mha, .nii.gz or .nrrd file.
        shape: (T, H, W).
        grid: where the stack lies.
        frames: T masks uint8 [H, W] in order; None for an empty one.

    Raises:
        ValueError: when there are more or fewer frames, or one has another size.
    """
    suffix = ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()
    if grid.dimensions == 2 or max(shape) > NIFTI_LARGEST:
        stack = np.stack([np.zeros(shape[1:], np.uint8) if frame is None else frame for frame in frames])
        _check(stack.shape, shape)
        with atomic_path(path) as temporary:
            sitk.WriteImage(image_on_grid(stack, grid), str(temporary), useCompression=True)
        return
    header, wrapping = _WRITERS[suffix]
    tiny = _tiny_file(suffix, grid)
    begun = b""
    if suffix == ".nii.gz":  # its header is deflated too
        begun = header(tiny, shape, 0)
    pixels = _deflated(begun, shape, frames, wrapping)
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        if not begun:
            file.write(header(tiny, shape, sum(map(len, pixels))))
        file.writelines(pixels)


def _deflated(begun: bytes, shape: Shape, frames: Iterable[np.ndarray | None], wrapping: int) -> list[bytes]:
    packer = isal_zlib.compressobj(LEVEL, isal_zlib.DEFLATED, wrapping)
    parts = [packer.compress(begun)]
    zeros = memoryview(bytes(RUN_BYTES))
    count = empty = 0  # frames so far, and bytes of empty ones that wait to be deflated in one go

    def fill() -> None:
        for start in range(0, empty, RUN_BYTES):
            parts.append(packer.compress(zeros[: empty - start]))

    for frame in frames:
        count += 1
        if frame is None:
            empty += shape[1] * shape[2]
            continue
        _check(frame.shape, shape[1:])
        fill()
        empty = 0
        parts.append(packer.compress(np.ascontiguousarray(frame, np.uint8).data))
    fill()
    _check((count, *shape[1:]), shape)
    return [*parts, packer.flush()]


def _check(found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if tuple(found) != tuple(expected):
        raise ValueError(f"masks of shape {tuple(found)}; expected {tuple(expected)}")


def _tiny_file(suffix: str, grid: Grid) -> bytes:
    """The bytes that SimpleITK writes, without compression, of two frames of one pixel on a grid."""
    image = image_on_grid(np.zeros(_TINY, np.uint8), replace(grid, dimensions=3))
    with tempfile.TemporaryDirectory(prefix="fetaliqa-") as folder:
        path = Path(folder) / f"tiny{suffix.removesuffix('.gz')}"
        sitk.WriteImage(image, str(path), useCompression=False)
        return path.read_bytes()


def _replaced(text: bytes, line: bytes, by: bytes) -> bytes:
    changed, count = re.subn(rb"(?m)^" + re.escape(line) + rb"$", by, text)
    if count != 1:
        raise RuntimeError(f"SimpleITK's header has {count} lines {line!r}; one is expected")
    return changed


def _metaimage(tiny: bytes, shape: Shape, size: int) -> bytes:
    end = tiny.index(b"ElementDataFile = LOCAL\n") + len(b"ElementDataFile = LOCAL\n")
    header = _replaced(tiny[:end], b"DimSize = 1 1 2", b"DimSize = %d %d %d" % shape[::-1])
    compressed = b"CompressedData = True\nCompressedDataSize = %d" % size
    return _replaced(header, b"CompressedData = False", compressed)


def _nrrd(tiny: bytes, shape: Shape, size: int) -> bytes:
    header = tiny[: tiny.index(b"\n\n") + 2]
    header = _replaced(header, b"sizes: 1 1 2", b"sizes: %d %d %d" % shape[::-1])
    return _replaced(header, b"encoding: raw", b"encoding: gzip")


def _nifti(tiny: bytes, shape: Shape, size: int) -> bytes:
    header = bytearray(tiny[:NIFTI_HEADER_BYTES])
    struct.pack_into("<3h", header, NIFTI_SIZES_AT, *shape[::-1])
    return bytes(header)


_WRITERS: dict[str, tuple[Callable[[bytes, Shape, int], bytes], int]] = {
    ".mha": (_metaimage, ZLIB),
    ".nii.gz": (_nifti, GZIP),
    ".nrrd": (_nrrd, GZIP),
}
