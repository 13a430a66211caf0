"""DICOM cines: series of Slicer's database, and the files that belong to one cine.

A cine is one multi-frame file, or a series of single-frame files. The latter are joined to one multi-frame file
without decoding them, so that the server reads pixels and calibration as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from FetalIQALib.client_errors import FetalIQAError, FileError
from FetalIQALib.image_upload import is_dicom
from FetalIQALib.translation import _

ULTRASOUND = ("US", "IVUS")  # modalities
MULTIFRAME = "1.2.840.10008.5.1.4.1.1.3.1"  # Ultrasound Multi-frame Image Storage
SAME = (  # attributes that frames of one cine have in common
    "Rows",
    "Columns",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PlanarConfiguration",
    "PixelSpacing",
    "SequenceOfUltrasoundRegions",
)


@dataclass(frozen=True)
class Series:
    """An ultrasound series of Slicer's DICOM database.

    Attributes:
        uid: of the series.
        text: description and number of files, for a list.
        files: paths.
    """

    uid: str
    text: str
    files: tuple[str, ...]


def ultrasound_series(database: Any) -> list[Series]:
    """The ultrasound series of a ``ctkDICOMDatabase``; empty without a database."""
    found: list[Series] = []
    if database is None or not database.isOpen:
        return found
    for patient in database.patients():
        for study in database.studiesForPatient(patient):
            for uid in database.seriesForStudy(study):
                files = tuple(str(file) for file in database.filesForSeries(uid))
                if files and str(database.fileValue(files[0], "0008,0060")).strip() in ULTRASOUND:
                    found.append(Series(str(uid), _text(database, files), files))
    return found


def _text(database: Any, files: Sequence[str]) -> str:
    """What a list shows: no patient's name."""
    values = [str(database.fileValue(files[0], tag) or "").strip() for tag in ("0008,103e", "0008,0020")]
    frames = str(database.fileValue(files[0], "0028,0008") or "").strip()
    size = _("{count} files") if len(files) > 1 else _("{count} frames") if frames else _("1 frame")
    values.append(size.format(count=len(files) if len(files) > 1 else frames))
    return ", ".join(value for value in values if value)


def joined_cine(files: Sequence[Path], folder: Path) -> Path:
    """One file with all frames of a cine; a single file is returned as it is.

    Args:
        files: of one series.
        folder: for the joined file.

    Raises:
        FetalIQAError: if the files are not one cine; the message says why.
    """
    if not files:
        raise FetalIQAError(_("The series has no files."))
    if len(files) == 1:
        return files[0]
    frames = [(_read(path), path) for path in files]
    _check(frames)
    ordered = sorted(frames, key=lambda entry: int(entry[0].InstanceNumber))
    joined = ordered[0][0]
    pixels = [frame.PixelData for frame, _path in ordered]
    import pydicom

    if joined.file_meta.TransferSyntaxUID.is_compressed:
        joined.PixelData = pydicom.encaps.encapsulate([_fragment(data) for data in pixels])
        joined["PixelData"].is_undefined_length = True
    else:
        length = _frame_bytes(joined)
        joined.PixelData = b"".join(data[:length] for data in pixels) + b"\0" * (len(pixels) * length % 2)
    joined.NumberOfFrames = len(ordered)
    joined.SOPClassUID = joined.file_meta.MediaStorageSOPClassUID = MULTIFRAME
    joined.SOPInstanceUID = joined.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    target = folder / "cine.dcm"
    try:
        joined.save_as(str(target), write_like_original=False)
    except TypeError:  # pydicom 4 has the other name only
        joined.save_as(str(target), enforce_file_format=True)
    return target


def cine_files(path: Path) -> list[Path]:
    """The files of the cine that a file belongs to: of a single frame, those of its series in its folder.

    Any other file is alone.
    """
    series = _single_frame_series(path)
    if not series:
        return [path]
    return sorted(
        other for other in path.parent.iterdir() if other.is_file() and _single_frame_series(other) == series
    )


def series_uid(path: Path) -> str:
    """The series of a file; empty if it is not DICOM."""
    try:
        return str(_read(path, pixels=False).SeriesInstanceUID)
    except (FetalIQAError, AttributeError):
        return ""


def _single_frame_series(path: Path) -> str:
    """The series of a single-frame file; empty for others."""
    try:
        if not is_dicom(path):
            return ""
        header = _read(path, pixels=False)
    except (FetalIQAError, OSError):
        return ""
    single = "Rows" in header and int(header.get("NumberOfFrames") or 1) == 1
    return str(header.get("SeriesInstanceUID", "")) if single else ""


def _read(path: Path, pixels: bool = True) -> Any:
    try:
        import pydicom
    except ImportError:
        raise FileError(
            _("This Slicer comes without pydicom, which reads DICOM; use an official build.")
        ) from None
    try:
        dataset = pydicom.dcmread(str(path), stop_before_pixels=not pixels)
    except (OSError, pydicom.errors.InvalidDicomError, ValueError, KeyError, AttributeError, EOFError):
        raise FetalIQAError(_("{name} is not a readable DICOM file.").format(name=path.name)) from None
    if pixels and ("PixelData" not in dataset or "Rows" not in dataset):
        raise FetalIQAError(_("{name} has no image.").format(name=path.name))
    return dataset


def _check(frames: Sequence[tuple[Any, Path]]) -> None:
    """Raise if the files are not the single frames of one series."""
    series = {str(frame.get("SeriesInstanceUID", "")) for frame, _path in frames}
    if len(series) > 1:
        raise FetalIQAError(
            _("The files belong to {count} series; choose those of one.").format(count=len(series))
        )
    several = [path.name for frame, path in frames if int(frame.get("NumberOfFrames") or 1) > 1]
    if several:
        raise FetalIQAError(
            _("The series has {count} cines; choose the file of one, such as {name}.").format(
                count=len(several), name=several[0]
            )
        )
    first = frames[0][0]
    for frame, path in frames[1:]:
        for name in ("TransferSyntaxUID", *SAME):
            values = [(one.file_meta if name == "TransferSyntaxUID" else one).get(name) for one in (first, frame)]
            if values[0] != values[1]:
                raise FetalIQAError(
                    _("{first} and {other} differ in {attribute}; they are not frames of one cine.").format(
                        first=frames[0][1].name, other=path.name, attribute=name
                    )
                )
    numbers = [frame.get("InstanceNumber") for frame, _path in frames]
    if None in numbers or len(set(map(int, numbers))) < len(numbers):
        raise FetalIQAError(_("The files have no instance numbers, or equal ones: their order is not known."))


def _frame_bytes(dataset: Any) -> int:
    return int(dataset.Rows * dataset.Columns * dataset.SamplesPerPixel * dataset.BitsAllocated // 8)


def _fragment(data: bytes) -> bytes:
    """The compressed frame of a file with one frame."""
    from pydicom import encaps

    if hasattr(encaps, "generate_frames"):
        return next(iter(encaps.generate_frames(data, number_of_frames=1)))
    return next(iter(encaps.generate_pixel_data_frame(data, 1)))  # pydicom 2, of Slicer 5.8
