"""Files of mask stacks, written a frame at a time: 840 frames that are nearly all empty take milliseconds.

SimpleITK writes the header, of a stack of two frames of one pixel on the same grid, and only the sizes in it are
replaced: spacing, origin and direction are told exactly as SimpleITK tells them of the whole stack.
"""

from __future__ import annotations

import re
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from fetaliqa.atomic import atomic_path
from fetaliqa.errors import StorageError
from fetaliqa.sweep.deflated_frames import GzipWrapping, Wrapping, ZlibWrapping, deflated
from fetaliqa.sweep.types import Grid

Shape = tuple[int, int, int]

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
        OSError, StorageError: when the disk does not take it.
    """
    suffix = ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()
    if grid.dimensions == 2 or max(shape) > NIFTI_LARGEST:
        stack = np.stack([np.zeros(shape[1:], np.uint8) if frame is None else frame for frame in frames])
        _check(stack.shape, shape)
        with atomic_path(path) as temporary:
            try:
                sitk.WriteImage(image_on_grid(stack, grid), str(temporary), useCompression=True)
            except RuntimeError as problem:  # ITK's word for any failed write
                raise StorageError(f"{path.name}: the masks were not written; check the disk's room") from problem
        return
    header, wrapping = _WRITERS[suffix]
    tiny = _tiny_file(suffix, grid)
    begun = b""
    if suffix == ".nii.gz":  # its header is deflated too
        begun = header(tiny, shape, 0)
    pixels = deflated(begun, _checked(frames, shape), shape[1] * shape[2], wrapping())
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        if not begun:
            file.write(header(tiny, shape, sum(map(len, pixels))))
        file.writelines(pixels)


def _checked(frames: Iterable[np.ndarray | None], shape: Shape) -> Iterator[memoryview | None]:
    """The bytes of each frame, None for an empty one.

    Raises:
        ValueError: when they do not make a stack of this shape.
    """
    count = 0
    for frame in frames:
        count += 1
        if frame is None:
            yield None
        else:
            _check(frame.shape, shape[1:])
            yield np.ascontiguousarray(frame, np.uint8).data.cast("B")
    _check((count, *shape[1:]), shape)


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


_WRITERS: dict[str, tuple[Callable[[bytes, Shape, int], bytes], type[Wrapping]]] = {
    ".mha": (_metaimage, ZlibWrapping),
    ".nii.gz": (_nifti, GzipWrapping),
    ".nrrd": (_nrrd, GzipWrapping),
}
