"""NIfTI files (.nii, .nii.gz).

Pixels are streamed from the offset in the header. SimpleITK provides the geometry (LPS), so that masks are written
on the same grid; it is not used for pixels, because it reads truncated NIfTI files as zeros without an error.
"""

from __future__ import annotations

import gzip
import itertools
import math
import zlib
from pathlib import Path

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from nibabel.spatialimages import HeaderDataError

from fetaliqa.errors import SweepError
from fetaliqa.sweep.image_orientation import stored_axes_note
from fetaliqa.sweep.length_units import unknown_unit_note
from fetaliqa.sweep.raw_pixels import RawBlock, raw_pixels
from fetaliqa.sweep.sweep_types import Grid
from fetaliqa.sweep.volume_axes import Layout, frames_last, not_a_sweep
from fetaliqa.sweep.volume_file import OpenImage, check_frame_spacing, check_spacing, read_grid

NIFTI1_BYTES = 348
NIFTI2_BYTES = 540
GZIP_MAGIC = b"\x1f\x8b"
UINT8 = 2  # data type
PAIR_MAGIC = b"ni1\x00"  # header with pixels in an .img file
MAX_PIXELS_AT = 64 << 20  # largest offset: header and extensions have kilobytes
UNIT_MM = {1: 1000.0, 2: 1.0, 3: 1e-3}  # xyzt_units, its three lowest bits: m, mm, um
SPACING_TOLERANCE = 1e-3  # relative, between pixdim and sform: writers round
DIRECTION_TOLERANCE = 1e-2  # between the direction cosines of sform and qform
FORMS = {  # fields of each transform, by its code
    "sform_code": ("srow_x", "srow_y", "srow_z"),
    "qform_code": ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
}
COLOUR_INTENTS = {1007: (3, 4), 2003: (3,), 2004: (4,)}  # vector, RGB vector, RGBA vector: values per pixel


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
    if raw[344:348] == PAIR_MAGIC:
        raise SweepError(
            f"{name}: is the header of a pair of files, its pixels lie in an .img; export the sweep as .nii.gz"
        )
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


def _layout(header: Nifti1Header, name: str) -> Layout:
    """Layout of the axes.

    Raises:
        SweepError: when it is not a single time series of frames.
    """
    count = int(header["dim"][0])
    if not 1 <= count <= 7:
        raise SweepError(f"{name}: its header gives {count} dimensions; a sweep has 3, export the file again")
    sizes = [int(size) for size in header["dim"][1 : count + 1]]
    while len(sizes) > 3 and sizes[-1] == 1:
        sizes.pop()
    if len(sizes) != 5:
        return frames_last(sizes, name)
    intent, values = int(header["intent_code"]), sizes.pop()
    if values not in COLOUR_INTENTS.get(intent, ()) or int(header["datatype"]) != UINT8:
        raise not_a_sweep([*sizes, values], name)
    layout = frames_last(sizes, name)
    return Layout(layout.shape, layout.dimensions, order="ctyx", channels=values)  # stored by colour


def _spacing(
    header: Nifti1Header, layout: Layout, name: str
) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    """(row, column) spacing in mm (None when its unit is unknown), and notes for the user.

    Raises:
        SweepError: when it is not positive, or pixdim and sform contradict each other.
    """
    for code, fields in FORMS.items():
        if header[code] > 0 and not all(np.isfinite(header[field]).all() for field in fields):
            raise SweepError(
                f"{name}: its {code[:5]} has values that are not numbers; correct the header, or export it again"
            )
    column, row = (float(value) for value in header["pixdim"][1:3])
    check_spacing([float(value) for value in header["pixdim"][1 : min(layout.dimensions, 3) + 1]], name)
    notes: tuple[str, ...] = ()
    if header["sform_code"] > 0:
        lengths = np.linalg.norm(header.get_sform()[:3, :2], axis=0)
        if not np.allclose(lengths, (column, row), rtol=SPACING_TOLERANCE, atol=0):
            raise SweepError(
                f"{name}: its pixdim says {column:g} x {row:g} per pixel, its sform {lengths[0]:g} x "
                f"{lengths[1]:g}; correct the header, or export the file again"
            )
        notes = _two_orientations(header)
    unit = int(header["xyzt_units"]) & 7
    if unit not in UNIT_MM:
        return None, (*notes, unknown_unit_note("NIfTI xyzt_units", str(int(header["xyzt_units"]))))
    factor = UNIT_MM[unit]
    return check_frame_spacing((row * factor, column * factor), name), notes


def _two_orientations(header: Nifti1Header) -> tuple[str, ...]:
    """The note on a qform that contradicts the sform."""
    if header["qform_code"] <= 0:
        return ()
    try:
        qform = header.get_qform()
    except (HeaderDataError, ValueError):  # not a rotation
        return ()
    cosines = [matrix[:3, :2] / np.linalg.norm(matrix[:3, :2], axis=0) for matrix in (header.get_sform(), qform)]
    if np.allclose(cosines[0], cosines[1], rtol=0, atol=DIRECTION_TOLERANCE):
        return ()
    return ("sform and qform turn the frames differently; masks follow the one that ITK and 3D Slicer use",)


def _grid(header: Nifti1Header, layout: Layout, name: str) -> Grid:
    count, height, width = layout.shape
    sizes = [width, height, *{2: [], 3: [count], 4: [1, count]}[layout.dimensions]]
    plain = Nifti1Header()  # SimpleITK supports NIfTI-2 for few data types
    for field in ("pixdim", "qform_code", "sform_code", "xyzt_units", *itertools.chain(*FORMS.values())):
        plain[field] = header[field]
    plain["dim"] = [len(sizes), *sizes, *[1] * (7 - len(sizes))]
    plain["datatype"], plain["bitpix"] = UINT8, 8
    plain["vox_offset"] = plain["sizeof_hdr"] + 4
    plain["scl_slope"], plain["scl_inter"] = 1, 0
    for code, fields in FORMS.items():
        if plain[code] <= 0:
            for field in fields:
                plain[field] = 0
    if not 0 < plain["pixdim"][4] < math.inf:
        plain["pixdim"][4] = 1  # between frames: not a length, not used
    return read_grid(plain.binaryblock + b"\0" * 4, ".nii", "NiftiImageIO", sizes, layout, name)


def open_nifti(path: Path) -> OpenImage:
    """Open a .nii or .nii.gz file; compression is detected, whatever the suffix.

    Raises:
        SweepError: when it is not a NIfTI file, or its header is invalid.
    """
    name = path.name
    raw, deflated = _header_bytes(path)
    header = _parse(raw, name)
    layout = _layout(header, name)
    spacing, notes = _spacing(header, layout, name)
    try:
        dtype = header.get_data_dtype()
    except (HeaderDataError, KeyError):  # nibabel looks the code up in a table
        code = int(header["datatype"])
        raise SweepError(f"{name}: data type {code} is unknown; export the file with 8 bits") from None
    channels, rescale = layout.channels, _rescale(header, name)
    if dtype.names is not None:  # RGB24 and RGBA32, which are not scaled
        if channels != 1:
            raise SweepError(f"{name}: vectors of colours cannot be read; export one time series of grey frames")
        channels, dtype, rescale = len(dtype.names), np.dtype(np.uint8), None
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise SweepError(f"{name}: data type {dtype} cannot be read as grey values; export the file with 8 bits")
    offset = float(header["vox_offset"])
    if not len(raw[:NIFTI1_BYTES]) <= offset <= MAX_PIXELS_AT:
        raise SweepError(
            f"{name}: the pixel offset in its header, {offset:g} bytes, is inside the header or too large; "
            "export it again"
        )
    block = RawBlock(
        name=name,
        path=path,
        offset=0 if deflated else int(offset),
        deflated=deflated,
        dtype=dtype,
        shape=layout.shape,
        channels=channels,
        skip=int(offset) if deflated else 0,
        rescale=rescale,
        order=layout.order,
    )
    pixels = raw_pixels(block)
    grid = _grid(header, layout, name)
    turned = stored_axes_note(grid.direction)
    return OpenImage(pixels, grid, spacing, None, notes if turned is None else (*notes, turned))
