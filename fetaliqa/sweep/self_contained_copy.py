"""Self-contained copies of image files, for programs that receive a single file.

A copy is needed for headers with detached pixel files, and for files that ITK's readers interpret differently
(other axes, unsupported codecs).
"""

from __future__ import annotations

import contextlib
import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import SimpleITK as sitk

from fetaliqa.sweep.itk_paths import path_for_itk
from fetaliqa.sweep.mask_files import NIFTI_LARGEST, image_header
from fetaliqa.sweep.sweep_reader import DICOM_SUFFIXES, is_self_contained, open_image, sweep_suffix
from fetaliqa.sweep.sweep_types import Grid
from fetaliqa.sweep.volume_file import RANGES_KEY, OpenImage

COPIED_AS = {".mha": ".mha", ".mhd": ".mha", ".nrrd": ".nrrd", ".nii": ".nii.gz", ".nii.gz": ".nii.gz"}
OTHERS_AS = ".mha"
GZIP_LEVEL = 1  # speckle hardly compresses, but .nii.gz requires compression
# transfer syntaxes that GDCM, and so ITK and 3D Slicer, decode (PS3.5 annex A): uncompressed, deflated, JPEG,
# JPEG-LS, JPEG 2000, RLE; not video or high-throughput JPEG 2000
ITK_ENCODINGS = re.compile(r"1\.2\.840\.10008\.1\.2(\.1|\.2|\.1\.99|\.5|\.4\.(50|51|57|70|80|81|90|91))?")


def copy_suffix(path: Path) -> str | None:
    """The suffix of the copy that other programs need; None when they can open the file itself.

    Args:
        path: a file that ``open_image`` can open.

    Raises:
        SweepError, NotFoundError: as ``open_image``.
    """
    image = open_image(path)
    suffix = sweep_suffix(path)
    if is_self_contained(path) and _itk_agrees(path, image):
        return None
    copied_as = COPIED_AS.get(str(suffix), OTHERS_AS)
    return OTHERS_AS if copied_as == ".nii.gz" and max(image.pixels.shape) > NIFTI_LARGEST else copied_as


def write_copy(path: Path, target: Path) -> None:
    """Write the frames of ``path`` to one file, on its own grid, a few frames at a time.

    Args:
        path: a file that ``open_image`` can open.
        target: .mha, .nrrd (both uncompressed) or .nii.gz file, in a folder that nobody else writes to.

    Raises:
        SweepError, NotFoundError: when ``path`` cannot be read; the target is then incomplete.
    """
    image = open_image(path)
    slabs = image.pixels.slabs()
    first = next(slabs)
    dtype = first.dtype.newbyteorder("<")
    suffix = cast(str, sweep_suffix(target))
    grid = Grid(image.grid.spacing, image.grid.origin, image.grid.direction)
    header = image_header(suffix, image.pixels.shape, grid, dtype)
    with _writing(target, suffix) as file:
        file.write(_with_ranges(header, suffix, image.ranges))
        file.write(np.ascontiguousarray(first, dtype).data)
        for slab in slabs:
            file.write(np.ascontiguousarray(slab, dtype).data)


@contextlib.contextmanager
def _writing(target: Path, suffix: str) -> Iterator[BinaryIO]:
    if suffix == ".nii.gz":
        with gzip.open(target, "wb", compresslevel=GZIP_LEVEL) as packed:
            yield cast(BinaryIO, packed)
    else:
        with open(target, "wb") as plain:
            yield plain


def _with_ranges(header: bytes, suffix: str, ranges: str | None) -> bytes:
    """Add the field with the sweep ranges to a header; NIfTI has no such field."""
    text = None if ranges is None else ranges.encode("ascii", "ignore").replace(b"\n", b" ")
    if text is None or suffix == ".nii.gz":
        return header
    key = RANGES_KEY.encode()
    if suffix == ".mha":
        return header.replace(b"ElementDataFile", key + b" = " + text + b"\nElementDataFile", 1)
    return header[:-1] + key + b":=" + text + b"\n\n"


def _itk_agrees(path: Path, image: OpenImage) -> bool:
    """Whether ITK's reader, which other programs use, reads the same frames from a file."""
    reader = sitk.ImageFileReader()
    try:
        with path_for_itk(path) as itk_path:
            reader.SetFileName(itk_path)
            reader.ReadImageInformation()
    except RuntimeError:
        return False
    size = (*reader.GetSize(), 1)[: max(3, reader.GetDimension())]
    if size != image.pixels.shape[::-1]:
        return False
    if sweep_suffix(path) not in DICOM_SUFFIXES:
        return True
    from pydicom.filereader import read_file_meta_info

    encoding = read_file_meta_info(path).get("TransferSyntaxUID", "")
    return ITK_ENCODINGS.fullmatch(str(encoding)) is not None
