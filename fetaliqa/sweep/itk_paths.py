"""Paths for ITK, which terminates the process if a path is not UTF-8."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import SimpleITK as sitk


def _takes(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    # ITK's NIfTI reader accepts suffixes in lower or upper case, but not in mixed case
    return path.suffix in (path.suffix.lower(), path.suffix.upper())


def _suffix(path: Path) -> str:
    suffix = ".nii.gz" if path.name.lower().endswith(".nii.gz") else path.suffix.lower()
    return suffix if suffix.isascii() else ""


@contextlib.contextmanager
def path_for_itk(path: Path) -> Iterator[str]:
    """Context with a path that SimpleITK accepts: ``path``, or a link to it in a temporary folder."""
    if _takes(path):
        yield str(path)
        return
    with tempfile.TemporaryDirectory(prefix="fetaliqa-") as folder:
        link = Path(folder) / f"image{_suffix(path)}"
        os.symlink(path.absolute(), link)
        yield str(link)


def write_compressed(image: sitk.Image, path: Path, level: int = -1) -> None:
    """Write a compressed image.

    Args:
        image: what to write.
        path: file to write, in a folder that exists.
        level: compression level; -1 for SimpleITK's default.
    """
    if _takes(path):
        sitk.WriteImage(image, str(path), useCompression=True, compressionLevel=level)
        return
    with tempfile.TemporaryDirectory(prefix="fetaliqa-") as folder:
        written = Path(folder) / f"image{_suffix(path)}"
        sitk.WriteImage(image, str(written), useCompression=True, compressionLevel=level)
        shutil.copyfile(written, path)
