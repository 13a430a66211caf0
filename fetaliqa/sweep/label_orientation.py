"""Orientation of label files compared with their sweeps.

Programs use different defaults for a file that states no orientation. Orientations are therefore compared only if
both files state theirs.
"""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path

import SimpleITK as sitk

from fetaliqa.sweep.sweep_reader import DICOM_SUFFIXES, sweep_suffix
from fetaliqa.sweep.sweep_types import Sweep

HEADER_BYTES = 1 << 20  # part of the header that is searched for the orientation
NIFTI = (".nii", ".nii.gz")
# bytes of the qform and sform codes in NIfTI-1 and NIfTI-2 headers, by header size
NIFTI_CODES = {348: slice(252, 256), 540: slice(344, 352)}
_LINES = {
    ".mha": rb"(?m)^\s*(TransformMatrix|Rotation|Orientation)\s*=",
    ".nrrd": rb"(?m)^space directions:",
}


def says_orientation(path: Path) -> bool:
    """Whether a file states its orientation."""
    suffix = sweep_suffix(path)
    if suffix in NIFTI:
        return _nifti_codes(path)
    if suffix in _LINES:
        with open(path, "rb") as file:
            return re.search(_LINES[suffix], file.read(HEADER_BYTES)) is not None
    return suffix in DICOM_SUFFIXES


def _nifti_codes(path: Path) -> bool:
    with open(path, "rb") as file:
        head = file.read(max(NIFTI_CODES))
    if head[:2] == b"\x1f\x8b":
        try:
            with gzip.open(path, "rb") as file:
                head = file.read(max(NIFTI_CODES))
        except (OSError, EOFError, zlib.error):
            return False
    for size, codes in NIFTI_CODES.items():
        if size in (int.from_bytes(head[:4], "little"), int.from_bytes(head[:4], "big")):
            return any(head[codes])
    return False


def orientations(sweep: Sweep) -> list[tuple[float, ...]]:
    """Direction cosines that programs may read from a sweep's file, starting with ours.

    Empty if the file states no orientation and programs use different defaults.
    """
    source, ours = sweep.source, sweep.grid.direction
    if source is None or not source.is_file():
        return [ours]
    suffix = sweep_suffix(source)
    if suffix in (*NIFTI, ".nrrd") and not says_orientation(source):
        return []
    directions: list[tuple[float, ...]] = [ours]
    if suffix in DICOM_SUFFIXES:  # other programs use the orientation of the image plane, which is ignored here
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(source))
        try:
            reader.ReadImageInformation()
        except RuntimeError:
            return directions
        if reader.GetDimension() == 3:
            directions.append(reader.GetDirection())
    return directions
