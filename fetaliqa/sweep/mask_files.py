"""Fast writing of mask stacks frame by frame: 840 mostly empty frames take milliseconds.

SimpleITK writes the header for a stack of two frames of one pixel on the same grid; only the sizes in it are
replaced. Spacing, origin and direction are therefore exactly those that SimpleITK writes for the full stack.
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
from fetaliqa.sweep.image_orientation import UPRIGHT, as_stored, stored_shape
from fetaliqa.sweep.itk_paths import write_compressed
from fetaliqa.sweep.sweep_types import Grid

Shape = tuple[int, int, int]

NIFTI_HEADER_BYTES = 352  # including four bytes for no extensions
NIFTI_SIZES_AT = 42  # bytes before dim[1] of a NIfTI-1 header
NIFTI_LARGEST = 2**15 - 1  # an axis of NIfTI-1; SimpleITK writes other headers beyond
_TINY = (2, 1, 1)


def image_on_grid(masks: np.ndarray, grid: Grid) -> sitk.Image:
    """An image of masks uint8 [T, H, W] on a grid, with the dimensions of the grid."""
    if grid.dimensions == 4:
        image = sitk.GetImageFromArray(masks[:, None], isVector=False)
        image.SetSpacing((*grid.spacing, grid.frame_spacing))
        image.SetOrigin((*grid.origin, grid.frame_origin))
        direction = np.eye(4)
        direction[:3, :3] = np.reshape(grid.direction, (3, 3))
        image.SetDirection(tuple(direction.ravel()))
        return image
    flat = grid.dimensions == 2
    image = sitk.GetImageFromArray(masks[0] if flat else masks)
    image.SetSpacing(grid.spacing[:2] if flat else grid.spacing)
    image.SetOrigin(grid.origin[:2] if flat else grid.origin)
    a, b, _, c, d, *_rest = grid.direction
    image.SetDirection((a, b, c, d) if flat else grid.direction)
    return image


def write_frames(path: Path, shape: Shape, grid: Grid, frames: Iterable[np.ndarray | None]) -> None:
    """Write a compressed mask stack atomically.

    Masks of a sequence of 3D Slicer are written as a sequence in .nrrd files. Masks of a still with an EXIF
    orientation are stored with the same orientation.

    Args:
        path: .mha, .nii.gz or .nrrd file.
        shape: (T, H, W).
        grid: geometry of the stack.
        frames: T masks uint8 [H, W] in order; None for an empty one.

    Raises:
        ValueError: when there are more or fewer frames, or one has another size.
        OSError, StorageError: when writing fails.
    """
    suffix = ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()
    if grid.exif != UPRIGHT:
        frames = _as_stored(_checked_frames(frames, shape), grid.exif)
        shape = stored_shape(shape, grid.exif)
    if grid.dimensions == 2 or (suffix == ".nii.gz" and max(shape) > NIFTI_LARGEST):
        stack = np.stack([np.zeros(shape[1:], np.uint8) if frame is None else frame for frame in frames])
        _check(stack.shape, shape)
        with atomic_path(path) as temporary:
            try:
                write_compressed(image_on_grid(stack, grid), temporary)
            except RuntimeError as problem:  # raised by ITK for any failed write
                raise StorageError(
                    f"{path.name}: the masks were not written; check the free disk space"
                ) from problem
        return
    sequence = grid.sequence and suffix == ".nrrd"
    header, wrapping = _WRITERS[".seq.nrrd" if sequence else suffix]
    tiny = _tiny_file(suffix, replace(grid, dimensions=3) if sequence else grid)
    preamble = b""
    if suffix == ".nii.gz":  # its header is deflated too
        preamble = header(tiny, shape, 0)
    pixels = deflated(preamble, _checked(frames, shape), shape[1] * shape[2], wrapping())
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        if not preamble:
            file.write(header(tiny, shape, sum(map(len, pixels))))
        file.writelines(pixels)


def _as_stored(frames: Iterable[np.ndarray | None], exif: int) -> Iterator[np.ndarray | None]:
    for frame in frames:
        yield None if frame is None else np.ascontiguousarray(as_stored(frame, exif))


def _checked_frames(frames: Iterable[np.ndarray | None], shape: Shape) -> Iterator[np.ndarray | None]:
    """Yield the frames, and check their shapes and number.

    Raises:
        ValueError: when they do not make a stack of this shape.
    """
    count = 0
    for frame in frames:
        count += 1
        if frame is not None:
            _check(frame.shape, shape[1:])
        yield frame
    _check((count, *shape[1:]), shape)


def _checked(frames: Iterable[np.ndarray | None], shape: Shape) -> Iterator[memoryview | None]:
    """The bytes of each frame, None for an empty one.

    Raises:
        ValueError: when they do not make a stack of this shape.
    """
    for frame in _checked_frames(frames, shape):
        yield None if frame is None else np.ascontiguousarray(frame, np.uint8).data.cast("B")


def _check(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if tuple(shape) != tuple(expected):
        raise ValueError(f"masks of shape {tuple(shape)}; expected {tuple(expected)}")


def image_header(suffix: str, shape: Shape, grid: Grid, dtype: np.dtype) -> bytes:
    """The header of an uncompressed file, as SimpleITK writes it; the pixels follow, x fastest.

    Args:
        suffix: .mha, .nrrd or .nii.gz (the bytes before they are deflated).
        shape: (T, H, W).
        grid: geometry of the stack.
        dtype: of the pixels, little-endian.
    """
    return _WRITERS[suffix][0](_tiny_file(suffix, replace(grid, dimensions=3), dtype), shape, None)


def _tiny_file(suffix: str, grid: Grid, dtype: np.dtype | type = np.uint8) -> bytes:
    """The uncompressed file that SimpleITK writes for two frames of one pixel on a grid."""
    image = image_on_grid(np.zeros(_TINY, dtype), grid)
    with tempfile.TemporaryDirectory(prefix="fetaliqa-") as folder:
        path = Path(folder) / f"tiny{suffix.removesuffix('.gz')}"
        sitk.WriteImage(image, str(path), useCompression=False)
        return path.read_bytes()


def _replaced(text: bytes, line: bytes, by: bytes) -> bytes:
    changed, count = re.subn(rb"(?m)^" + re.escape(line) + rb"$", by, text)
    if count != 1:
        raise RuntimeError(f"SimpleITK's header has {count} lines {line!r}; one is expected")
    return changed


def _sizes(tiny: bytes, line: bytes, shape: Shape) -> tuple[bytes, bytes]:
    """The line with the sizes of a tiny stack, and the same line for a stack of another shape."""
    count, height, width = shape
    if line + b" 1 1 1 2\n" in tiny:
        return line + b" 1 1 1 2", line + b" %d %d 1 %d" % (width, height, count)
    return line + b" 1 1 2", line + b" %d %d %d" % (width, height, count)


def _metaimage(tiny: bytes, shape: Shape, size: int | None) -> bytes:
    end = tiny.index(b"ElementDataFile = LOCAL\n") + len(b"ElementDataFile = LOCAL\n")
    header = _replaced(tiny[:end], *_sizes(tiny[:end], b"DimSize =", shape))
    if size is None:
        return header
    compressed = b"CompressedData = True\nCompressedDataSize = %d" % size
    return _replaced(header, b"CompressedData = False", compressed)


def _nrrd(tiny: bytes, shape: Shape, size: int | None) -> bytes:
    header = tiny[: tiny.index(b"\n\n") + 2]
    header = _replaced(header, *_sizes(header, b"sizes:", shape))
    return header if size is None else _replaced(header, b"encoding: raw", b"encoding: gzip")


def _sequence(tiny: bytes, shape: Shape, size: int | None) -> bytes:
    """Header of a 3D Slicer sequence: a list of single-slice images, with the list as the last axis."""
    count, height, width = shape
    header = tiny[: tiny.index(b"\n\n") + 2]
    header = _replaced(header, b"dimension: 3", b"dimension: 4")
    header = _replaced(header, b"sizes: 1 1 2", b"sizes: %d %d 1 %d" % (width, height, count))
    header = _replaced(header, b"kinds: domain domain domain", b"kinds: domain domain domain list")
    directions = next(line for line in header.split(b"\n") if line.startswith(b"space directions: "))
    header = _replaced(header, directions, directions + b" none")
    return _replaced(header, b"encoding: raw", b"encoding: gzip")


def _nifti(tiny: bytes, shape: Shape, size: int | None) -> bytes:
    header = bytearray(tiny[:NIFTI_HEADER_BYTES])
    count, height, width = shape
    (dimensions,) = struct.unpack_from("<h", header, NIFTI_SIZES_AT - 2)
    sizes = (width, height, 1, count) if dimensions == 4 else (width, height, count)
    struct.pack_into(f"<{len(sizes)}h", header, NIFTI_SIZES_AT, *sizes)
    return bytes(header)


_WRITERS: dict[str, tuple[Callable[[bytes, Shape, int | None], bytes], type[Wrapping]]] = {
    ".mha": (_metaimage, ZlibWrapping),
    ".nii.gz": (_nifti, GzipWrapping),
    ".nrrd": (_nrrd, GzipWrapping),
    ".seq.nrrd": (_sequence, GzipWrapping),
}
