"""What image files say about how their axes lie in space.

A file that says nothing is read with some default by every program, and programs differ there. So an orientation
counts as another one only where both files state theirs.
"""

from __future__ import annotations

import gzip
import re
import zlib
from pathlib import Path

import SimpleITK as sitk

from fetaliqa.sweep.sweep_reader import DICOM_SUFFIXES, sweep_suffix
from fetaliqa.sweep.sweep_types import Sweep

HEADER_BYTES = 1 << 20  # more than headers of images have before their axes
NIFTI = (".nii", ".nii.gz")
# where NIfTI-1 and -2 headers, told apart by their size, keep the codes of qform and sform
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
    """Direction cosines that programs may read from a sweep's file, ours first.

    None where programs differ in what they take for the orientation of a file that states none.
    """
    source, ours = sweep.source, sweep.grid.direction
    if source is None or not source.is_file():
        return [ours]
    suffix = sweep_suffix(source)
    if suffix in (*NIFTI, ".nrrd") and not says_orientation(source):
        return []
    found: list[tuple[float, ...]] = [ours]
    if suffix in DICOM_SUFFIXES:  # others read the position of the image plane, which is not taken here
        reader = sitk.ImageFileReader()
        reader.SetFileName(str(source))
        try:
            reader.ReadImageInformation()
        except RuntimeError:
            return found
        if reader.GetDimension() == 3:
            found.append(reader.GetDirection())
    return found
