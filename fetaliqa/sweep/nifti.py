"""NIfTI files (.nii, .nii.gz).

Pixels are streamed from the place the header gives; SimpleITK supplies the geometry (LPS), so that masks
go back onto the same grid. SimpleITK itself reads truncated NIfTI files without complaint, as zeros.
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError

from fetaliqa.errors import SweepError
from fetaliqa.sweep.raw import RawBlock, raw_pixels
from fetaliqa.sweep.volume import OpenImage, check_spacing, checked_shape, read_grid

NIFTI1_BYTES = 348
NIFTI2_BYTES = 540
GZIP_MAGIC = b"\x1f\x8b"


def _header_bytes(path: Path) -> tuple[bytes, bool]:
    """First bytes of the (inflated) file, and whether it is deflated."""
    with open(path, "rb") as file:
        deflated = file.read(2) == GZIP_MAGIC
    try:
        with gzip.open(path, "rb") if deflated else open(path, "rb") as file:
            return file.read(NIFTI2_BYTES), deflated
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise SweepError(f"{path.name}: its compressed header is damaged ({error}); copy the file again") from None


def _parse(raw: bytes, name: str) -> Nifti1Header | Nifti2Header:
    length = int.from_bytes(raw[:4], "little"), int.from_bytes(raw[:4], "big")
    try:
        if NIFTI2_BYTES in length and len(raw) >= NIFTI2_BYTES:
            return Nifti2Header(raw[:NIFTI2_BYTES], check=False)
        if NIFTI1_BYTES in length and len(raw) >= NIFTI1_BYTES and raw[344:348] == b"n+1\x00":
            return Nifti1Header(raw[:NIFTI1_BYTES], check=False)
    except HeaderDataError:
        pass
    raise SweepError(
        f"{name}: is not a NIfTI file, its header is not that of NIfTI-1 or -2; export the sweep as .mha"
    )


def _rescale(header: Nifti1Header, name: str) -> tuple[float, float] | None:
    try:
        slope, intercept = header.get_slope_inter()
    except HeaderDataError as error:
        raise SweepError(f"{name}: its scaling factor cannot be used ({error}); export the file again") from None
    if slope is None or (slope == 1 and not intercept):
        return None
    return float(slope), float(intercept or 0.0)


def _sizes(header: Nifti1Header, name: str) -> list[int]:
    """Sizes along the axes, without trailing axes of length 1 beyond the third."""
    count = int(header["dim"][0])
    if not 1 <= count <= 7:
        raise SweepError(f"{name}: its header gives {count} dimensions; a sweep has 3, export the file again")
    sizes = [int(size) for size in header["dim"][1 : count + 1]]
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    return sizes


def open_nifti(path: Path) -> OpenImage:
    """Open a .nii or .nii.gz file.

    Raises:
        SweepError: when it is no NIfTI file, or its header cannot be used.
    """
    name = path.name
    raw, deflated = _header_bytes(path)
    header = _parse(raw, name)
    sizes = _sizes(header, name)
    shape = checked_shape(sizes, name)
    spacing = [float(value) for value in header["pixdim"][1 : len(sizes) + 1]]
    check_spacing(spacing, name)
    try:
        dtype = header.get_data_dtype()
    except (HeaderDataError, KeyError):  # nibabel looks the code up in a table
        code = int(header["datatype"])
        raise SweepError(f"{name}: data type {code} is unknown; export the file with 8 bits") from None
    channels = 1
    if dtype.names is not None:  # RGB24 and RGBA32
        channels, dtype = len(dtype.names), np.dtype(np.uint8)
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise SweepError(f"{name}: data type {dtype} cannot be read as grey values; export the file with 8 bits")
    offset = float(header["vox_offset"])
    if not math.isfinite(offset) or offset < len(raw[:NIFTI1_BYTES]):
        raise SweepError(
            f"{name}: its header puts the pixels at byte {offset:g}, inside the header; export it again"
        )
    block = RawBlock(
        name=name,
        path=path,
        offset=0 if deflated else int(offset),
        deflated=deflated,
        dtype=dtype,
        shape=shape,
        channels=channels,
        skip=int(offset) if deflated else 0,
        rescale=_rescale(header, name),
    )
    pixels = raw_pixels(block)
    grid = read_grid(path, "NiftiImageIO", shape)
    return OpenImage(pixels, grid, (grid.spacing[1], grid.spacing[0]))
