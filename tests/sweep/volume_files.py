"""MetaImage, NRRD and NIfTI files byte by byte: with headers that no library writes."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import nibabel
import numpy as np


def cine(count: int = 6, size: tuple[int, int] = (30, 40)) -> np.ndarray:
    """Frames that differ in every pixel, uint8 [T, H, W]."""
    return np.random.default_rng(11).integers(1, 256, (count, *size), dtype=np.uint8)


def metaimage(path: Path, pixels: bytes, compressed: bool = False, **fields: str | None) -> Path:
    """An .mha, or a header alone when ``ElementDataFile`` is another file. None leaves a field out."""
    header: dict[str, str | None] = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "CompressedData": str(compressed),
        "ElementSpacing": "0.3 0.4 1",
        "DimSize": "40 30 6",
        "ElementType": "MET_UCHAR",
        **fields,
    }
    last = header.pop("ElementDataFile", None) or "LOCAL"
    lines = [f"{key} = {value}\n" for key, value in header.items() if value is not None]
    text = "".join([*lines, f"ElementDataFile = {last}\n"])
    path.write_bytes(text.encode("utf-8", "surrogateescape") + (zlib.compress(pixels) if compressed else pixels))
    return path


def nrrd(path: Path, pixels: bytes, sizes: str, *lines: str, end: bytes = b"\n") -> Path:
    """A .nrrd of uint8, or a header alone when a line names a data file; gzip when a line says so."""
    header = ["NRRD0005", "type: uchar", f"dimension: {len(sizes.split())}", f"sizes: {sizes}", *lines]
    if not any(line.startswith("encoding") for line in lines):
        header.append("encoding: raw")
    packed = gzip.compress(pixels) if "encoding: gzip" in header else pixels
    path.write_bytes("\n".join([*header, ""]).encode("utf-8", "surrogateescape") + end + packed)
    return path


def nifti(path: Path, stack: np.ndarray, unit: int = 2, spacing: tuple[float, float] = (0.3, 0.4)) -> Path:
    """A .nii or .nii.gz of an array [x, y, ...], upright in LPS, with a unit of length (xyzt_units)."""
    image = nibabel.Nifti1Image(stack, np.diag([-spacing[0], -spacing[1], 1, 1]))
    image.header["xyzt_units"] = unit
    nibabel.save(image, path)
    return path


def changed_nifti(path: Path, **fields: object) -> Path:
    """Change header fields of an uncompressed .nii."""
    content = path.read_bytes()
    header = nibabel.Nifti1Header(content[:348], check=False)
    for field, value in fields.items():
        header[field] = value
    path.write_bytes(header.binaryblock + content[348:])
    return path
