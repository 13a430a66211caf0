"""Ultrasound DICOM: multi-frame files, single frames, and folders of single frames.

Nothing that identifies a person is taken from the files: only pixels, their calibration and their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID

from fetaliqa.errors import SweepError
from fetaliqa.sweep.calibration import read_calibration
from fetaliqa.sweep.dicom_pixels import (
    DAMAGE_ERRORS,
    GREY,
    READABLE,
    frame_count,
    grey_frames,
    read_dataset,
    reason_of,
)
from fetaliqa.sweep.pixels import LUMA_NOTE, Pixels
from fetaliqa.sweep.types import Grid
from fetaliqa.sweep.volume import OpenImage, check_spacing


def holds_one_frame(path: Path) -> bool:
    """Whether a DICOM file holds one frame, by its header; False when that cannot be read."""
    try:
        header = dcmread(path, stop_before_pixels=True, specific_tags=["NumberOfFrames"])
        return int(header.get("NumberOfFrames") or 1) == 1
    except (InvalidDicomError, OSError, *DAMAGE_ERRORS):
        return False


def _checked_size(dataset: FileDataset, name: str) -> tuple[int, int]:
    """(rows, columns), after checking that the pixels are of a kind known here."""
    rows, columns = int(dataset.get("Rows") or 0), int(dataset.get("Columns") or 0)
    if rows < 1 or columns < 1:
        raise SweepError(f"{name}: the DICOM file holds no image (size {rows} x {columns}); name one that does")
    interpretation = str(dataset.get("PhotometricInterpretation") or "")
    if interpretation not in READABLE:
        raise SweepError(
            f"{name}: photometric interpretation {interpretation!r} cannot be read; "
            "export as MONOCHROME2, RGB, YBR_FULL, YBR_FULL_422 or PALETTE COLOR"
        )
    if not isinstance(dataset.file_meta.get("TransferSyntaxUID"), UID):
        raise SweepError(f"{name}: does not say how its pixels are encoded (no transfer syntax); export it again")
    return rows, columns


def _in_order(paths: Sequence[Path], datasets: Sequence[FileDataset], name: str) -> list[int]:
    """Indices of a folder's files by instance number, after checking that they belong together."""
    series = {str(dataset.get("SeriesInstanceUID", "")) for dataset in datasets}
    if len(series) > 1:
        raise SweepError(f"{name}: holds files of {len(series)} DICOM series; keep one series in one folder")
    for path, dataset in zip(paths, datasets):
        if frame_count(dataset, path.name) > 1:
            raise SweepError(f"{name}: {path.name} holds several frames itself; name that file, not its folder")
    sizes = {_checked_size(dataset, path.name) for path, dataset in zip(paths, datasets)}
    if len(sizes) > 1:
        written = ", ".join(f"{rows} x {columns}" for rows, columns in sorted(sizes))
        raise SweepError(f"{name}: frames of different sizes ({written}); keep one sweep in one folder")
    numbers = [dataset.get("InstanceNumber") for dataset in datasets]
    if None in numbers or len(set(numbers)) < len(numbers):
        return list(range(len(paths)))  # of no use: the order of the names stays
    return sorted(range(len(paths)), key=lambda index: int(numbers[index]))


def open_dicom(paths: Sequence[Path], name: str) -> OpenImage:
    """Open one DICOM file, or several single-frame files of one series as the frames of a sweep.

    Args:
        paths: the files, in the order of their names.
        name: what the user named, for messages.

    Raises:
        SweepError: when a file is not DICOM, holds no image, or the files do not belong together.
    """
    datasets = [read_dataset(path, with_pixels=False) for path in paths]
    try:
        return _opened(paths, datasets, name)
    except DAMAGE_ERRORS as error:  # pydicom parses values when they are asked for
        raise SweepError(f"{name}: its DICOM header is damaged ({reason_of(error)}); export it again") from None


def _opened(paths: Sequence[Path], datasets: Sequence[FileDataset], name: str) -> OpenImage:
    if len(paths) > 1:
        order = _in_order(paths, datasets, name)
        paths, datasets = [paths[index] for index in order], [datasets[index] for index in order]
    first = datasets[0]
    rows, columns = _checked_size(first, paths[0].name)
    calibration = read_calibration(first)
    notes = list(calibration.notes)
    if first.PhotometricInterpretation not in GREY:
        notes.append(LUMA_NOTE)
    elif first.PhotometricInterpretation == "MONOCHROME1":
        notes.append("MONOCHROME1 inverted: 0 is black")
    spacing = calibration.spacing
    grid = Grid()
    if spacing is not None:
        check_spacing(spacing, name)
        grid = Grid(spacing=(spacing[1], spacing[0], 1.0))
    count = len(paths) if len(paths) > 1 else frame_count(first, paths[0].name)
    return OpenImage(Pixels((count, rows, columns), lambda: grey_frames(paths), tuple(notes)), grid, spacing)


def frame_instances(paths: Sequence[Path], name: str) -> list[str]:
    """SOP instance of each file, in the order in which they are the frames of a sweep.

    Args:
        paths: the files, in the order of their names.
        name: what the user named, for messages.

    Raises:
        SweepError: when a file is not DICOM, or the files do not belong together.
    """
    datasets = [read_dataset(path, with_pixels=False) for path in paths]
    try:
        order = _in_order(paths, datasets, name) if len(paths) > 1 else range(len(paths))
        return [str(datasets[index].SOPInstanceUID) for index in order]
    except DAMAGE_ERRORS as error:
        raise SweepError(f"{name}: its DICOM header is damaged ({reason_of(error)}); export it again") from None
