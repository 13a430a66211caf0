"""Which cases a path given by a user stands for."""

from __future__ import annotations

from pathlib import Path

from fetaliqa.errors import NotFoundError, SweepError
from fetaliqa.sweep import is_single_frame_dicom, is_sweep_path

STILL_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
ACOUSLIC_IMAGES = Path("images") / "stacked_fetal_ultrasound"


def _is_still(path: Path) -> bool:
    return path.suffix.lower() in STILL_SUFFIXES


def images_below(root: Path) -> Path:
    """Where the images of a folder lie in it: an ACOUSLIC-AI root has a place of its own for them."""
    return ACOUSLIC_IMAGES if (root / ACOUSLIC_IMAGES).is_dir() else Path(".")


def expand_cases(path: Path, *, each: bool = False) -> list[Path]:
    """The cases a path stands for.

    A file is one case. A folder with sweep files holds one case per file; an ACOUSLIC-AI root stands for
    its ``images/stacked_fetal_ultrasound``; a folder of still images only, or of single-frame DICOM files
    only, is one sweep whose frames they are, or, with ``each``, one single-frame case per image.

    Raises:
        NotFoundError: when the path does not exist.
        SweepError: when a folder holds nothing that can be read.
    """
    path = Path(path)
    if not path.exists():
        raise NotFoundError(f"{path}: no such file or folder; check the path")
    if path.is_file():
        return [path]
    if (path / ACOUSLIC_IMAGES).is_dir():
        return expand_cases(path / ACOUSLIC_IMAGES, each=each)
    files = sorted(child for child in path.iterdir() if child.is_file() and not child.name.startswith("."))
    stills = [child for child in files if _is_still(child)]
    stacks = [child for child in files if not _is_still(child) and is_sweep_path(child)]
    if len(stacks) > 1 and not stills and not each and all(map(is_single_frame_dicom, stacks)):
        return [path]
    if stacks:
        return sorted(stacks + stills) if each else stacks
    if stills:
        return stills if each else [path]
    raise SweepError(f"{path}: no sweep or image file in this folder; give a file, or a folder that holds some")
