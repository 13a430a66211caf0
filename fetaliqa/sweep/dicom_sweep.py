"""Ultrasound DICOM files: multi-frame files, single frames, and folders of single frames.

Only pixels, their calibration and their order are read, nothing that identifies a person.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydicom.dataset import Dataset

from fetaliqa.errors import SweepError
from fetaliqa.sweep.dicom_element import DAMAGE_ERRORS, read_header, reason_of
from fetaliqa.sweep.dicom_pixels import DicomFrames, open_frames
from fetaliqa.sweep.dicom_spacing import Calibration, read_calibration, same_spacing, written
from fetaliqa.sweep.pixel_conversion import Pixels
from fetaliqa.sweep.sweep_types import Grid
from fetaliqa.sweep.volume_file import OpenImage, check_frame_spacing

Value = TypeVar("Value")
NOT_IMAGES = (
    "SR",
    "PR",
    "KO",
    "DOC",
    "REG",
    "ECG",
    "AU",
)  # modalities of files that scanners export beside frames
UPRIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)  # default Image Orientation (Patient)
VOLUME = "1.2.840.10008.5.1.4.1.1.6.2"  # SOP class of enhanced ultrasound volumes
NAMED = 5  # largest number of items listed in a message


def holds_one_frame(path: Path) -> bool:
    """Whether a DICOM file holds one frame, by its header or else its pixels; False when unreadable."""
    try:
        header = read_header(path).dataset
        written_count = header.get("NumberOfFrames")
        return (int(written_count) if written_count not in (None, "") else open_frames(path).shape[0]) == 1
    except (SweepError, *DAMAGE_ERRORS):
        return False


def _is_image(path: Path) -> bool:
    """Whether a file holds an image, not a report, presentation state or other object."""
    header = read_header(path).dataset
    return "Rows" in header or header.get("Modality") not in NOT_IMAGES


def _named(names: Sequence[object]) -> str:
    return ", ".join(map(str, names[:NAMED])) + (", ..." if len(names) > NAMED else "")


def _checked_alike(files: Sequence[DicomFrames], name: str) -> list[str]:
    """Check that files are frames of one sweep; return notes for the user."""
    series = {str(file.dataset.get("SeriesInstanceUID", "")) for file in files}
    if len(series) > 1:
        raise SweepError(f"{name}: holds files of {len(series)} DICOM series; keep one series in one folder")
    for file in files:
        if file.shape[0] > 1:
            raise SweepError(
                f"{name}: {file.path.name} holds several frames itself; name that file, not its folder"
            )
    sizes = {file.shape[1:] for file in files}
    if len(sizes) > 1:
        sizes_written = ", ".join(f"{rows} x {columns}" for rows, columns in sorted(sizes))
        raise SweepError(f"{name}: frames of different sizes ({sizes_written}); keep one sweep in one folder")
    instances = Counter(str(file.dataset.get("SOPInstanceUID", number)) for number, file in enumerate(files))
    uid, times = instances.most_common(1)[0]
    if times > 1:
        twice = [file.path.name for file in files if str(file.dataset.get("SOPInstanceUID")) == uid]
        raise SweepError(f"{name}: {_named(twice)} are the same frame ({times} copies); keep one of them")
    scales = [file.scale for file in files if file.scale is not None]
    notes = []
    interpretations = sorted({scale.layout.interpretation for scale in scales})
    if len(interpretations) > 1:
        notes.append(f"frames of different kinds ({', '.join(interpretations)}), each read by its own header")
    depths = sorted({scale.layout.stored for scale in scales})
    if len(depths) > 1:
        raise SweepError(
            f"{name}: frames of different depth ({', '.join(map(str, depths))} bits); export all frames alike"
        )
    if len({scale.settings for scale in scales}) > 1:
        notes.append("frames have windows or rescaling of their own: their brightness cannot be compared")
    return notes


def _one_calibration(files: Sequence[DicomFrames], name: str) -> Calibration:
    """The calibration of all files.

    Raises:
        SweepError: when they differ.
    """
    calibrations = [read_calibration(file.dataset) for file in files]
    first = calibrations[0]
    for file, calibration in zip(files, calibrations):
        if not same_spacing(calibration.spacing, first.spacing):
            spacings = [
                f"{frames.path.name}: {'none' if spacing is None else f'{written(spacing)} mm'}"
                for frames, spacing in ((files[0], first.spacing), (file, calibration.spacing))
            ]
            raise SweepError(
                f"{name}: frames of different pixel spacing ({'; '.join(spacings)}); keep frames of one spacing "
                "in one folder"
            )
    return Calibration(first.spacing, tuple(dict.fromkeys(note for each in calibrations for note in each.notes)))


def _in_order(files: Sequence[DicomFrames]) -> tuple[list[DicomFrames], list[str]]:
    """Sort files by instance number, or by name if the numbers are missing or ambiguous."""
    written_numbers = [file.dataset.get("InstanceNumber") for file in files]
    if any(number in (None, "") for number in written_numbers):
        return list(files), ["instance numbers are missing: frames in the order of the file names"]
    numbers = [int(number) for number in written_numbers]
    twice = sorted(number for number, times in Counter(numbers).items() if times > 1)
    if twice:
        return list(files), [
            f"instance numbers occur twice ({_named(twice)}): frames in the order of the file names"
        ]
    ordered = sorted(files, key=lambda file: int(file.dataset.InstanceNumber))
    step = min((later - earlier for earlier, later in zip(sorted(numbers), sorted(numbers)[1:])), default=1)
    missing = sorted(set(range(min(numbers), max(numbers), step)) - set(numbers))
    if not missing:
        return ordered, []
    return ordered, [f"instance numbers have gaps ({_named(missing)} missing): frames may be lost"]


def _orientation_notes(dataset: Dataset) -> list[str]:
    notes = []
    if dataset.get("SOPClassUID") == VOLUME:
        notes.append("an ultrasound volume: its planes are read as frames, in the order of the file")
    written_axes = dataset.get("ImageOrientationPatient")
    if written_axes is not None and tuple(float(value) for value in written_axes) != UPRIGHT:
        notes.append("the image's orientation in the patient is not used: frames are shown as stored")
    return notes


def _image_files(paths: Sequence[Path]) -> tuple[list[DicomFrames], list[str]]:
    """Open the files that hold images; returns them and a note on the others."""
    try:
        images = [path for path in paths if _is_image(path)] if len(paths) > 1 else list(paths)
    except (SweepError, *DAMAGE_ERRORS):
        images = list(paths)  # opening them raises the error
    skipped = [path.name for path in paths if path not in images]
    if not images or not skipped:
        return [open_frames(path) for path in paths], []
    return [open_frames(path) for path in images], [f"skipped, no images: {_named(skipped)}"]


def _ordered(files: list[DicomFrames], name: str) -> tuple[list[DicomFrames], list[str]]:
    """Check and sort files that are the frames of one sweep; returns them and notes for the user."""
    if len(files) == 1:
        return files, []
    notes = _checked_alike(files, name)
    ordered, order_notes = _in_order(files)
    return ordered, notes + order_notes


def open_dicom(paths: Sequence[Path], name: str) -> OpenImage:
    """Open one DICOM file, or several single-frame files of one series as the frames of a sweep.

    Args:
        paths: the files, in the order of their names.
        name: what the user named, for messages.

    Raises:
        SweepError: when a file is not DICOM, holds no image, or the files do not belong together.
    """
    files, notes = _image_files(paths)
    try:
        return _opened(files, name, notes)
    except DAMAGE_ERRORS as error:  # pydicom parses values on access
        raise SweepError(f"{name}: its DICOM header is damaged ({reason_of(error)}); export it again") from None


def _opened(files: list[DicomFrames], name: str, notes: list[str]) -> OpenImage:
    count, rows, columns = files[0].shape
    files, order_notes = _ordered(files, name)
    notes = notes + order_notes
    if len(files) > 1:
        count = len(files)
    calibration = _one_calibration(files, name)
    notes += [note for file in files for note in file.notes]
    notes += [*calibration.notes, *_orientation_notes(files[0].dataset)]
    spacing, grid = calibration.spacing, Grid()
    if spacing is not None:
        check_frame_spacing(spacing, name)
        grid = Grid(spacing=(spacing[1], spacing[0], 1.0))
    reading_notes: list[str] = []

    def slabs() -> Iterator[np.ndarray]:
        for file in files:
            for frame in file.grey(reading_notes.append):
                yield frame[None]

    return OpenImage(Pixels((count, rows, columns), slabs, tuple(notes), reading_notes), grid, spacing)


def frame_files(paths: Sequence[Path], name: str) -> list[Path]:
    """The files that hold images, in frame order.

    Args:
        paths: the files, in the order of their names.
        name: what the user named, for messages.

    Raises:
        SweepError: when a file is not DICOM, or the files do not belong together.
    """
    return _of_frames(paths, name, lambda file: file.path)


def frame_instances(paths: Sequence[Path], name: str) -> list[str]:
    """SOP instance UID of each file, in frame order; arguments and errors as of :func:`frame_files`."""
    return _of_frames(paths, name, lambda file: str(file.dataset.SOPInstanceUID))


def _of_frames(paths: Sequence[Path], name: str, value: Callable[[DicomFrames], Value]) -> list[Value]:
    """A value of each file that holds an image, in frame order; damage of a header is told as a ``SweepError``."""
    try:
        return [value(file) for file in _ordered(_image_files(paths)[0], name)[0]]
    except DAMAGE_ERRORS as error:
        raise SweepError(f"{name}: its DICOM header is damaged ({reason_of(error)}); export it again") from None
