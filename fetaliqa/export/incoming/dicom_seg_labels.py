"""Reader of DICOM segmentations: binary, fractional, and label maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID

from fetaliqa.errors import FetalIQAError, LabelError
from fetaliqa.export.dicom_review_state import AUTOMATIC
from fetaliqa.export.frame_names import FrameNames
from fetaliqa.export.incoming.label_source import ClassLabel, Drawn, Outline, Placed, add_frame, check_size
from fetaliqa.export.incoming.own_labels import Row, export_rows
from fetaliqa.sweep import Sweep, files_of
from fetaliqa.sweep.dicom_pixels import DAMAGE_ERRORS
from fetaliqa.sweep.dicom_sweep import frame_instances
from fetaliqa.sweep.sweep_reader import DICOM_SUFFIXES, sweep_suffix

SEGMENTATIONS = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")  # binary or fractional, label map
FOLDER = "segmentations"  # of an export of this software
INSIDE = 0.5  # least fraction or probability of a pixel that counts as inside


@dataclass(frozen=True)
class _Segmentation:
    """A file, and how its references map to frames of a case.

    Attributes:
        file: of the segmentation.
        frames: frame of each image of one frame, by SOP instance; of a cine None: references number its frames.
        cine: whether it refers to a cine.
        rows: of the manifest, for an export of this software.
    """

    file: Path
    frames: Mapping[str, int | None]
    cine: bool
    rows: tuple[Row, ...] = ()


class DicomSegLabels:
    """DICOM segmentations in a file or folder.

    A segmentation references the images it was drawn on. When the studies contain that image, it belongs to that
    case; one of an export of this software is traced by the manifest. For studies that are not DICOM the user has
    to name the case. A segmentation of another cine is rejected.

    Args:
        path: a file, or a folder that is searched.
        names: interprets names of files that reference no image of the studies.
        images: image of each case.
        case_given: whether the case was given by the user.
    """

    shared = False

    def __init__(self, path: Path, names: FrameNames, images: Mapping[str, Path], *, case_given: bool) -> None:
        self.where = path.name
        self.placed: Placed[_Segmentation] = Placed(names)
        instances, dicom = _instances(images)
        rows = export_rows(path)
        below = path / FOLDER if (path / FOLDER).is_dir() else path
        for file in [path] if path.is_file() else sorted(below.rglob("*")):
            if not file.is_file() or file.name.startswith("."):
                continue
            header = _header(file)
            if header is None:
                if path.is_file():
                    raise LabelError(f"{file.name}: no DICOM segmentation; name one, or a folder with some")
                continue
            self._add(file, header, instances, dicom, tuple(rows.get(file.resolve(), ())), case_given)

    def classes(self, case_id: str) -> list[ClassLabel]:
        labels: dict[ClassLabel, None] = {}
        for _, _, one in self.placed.of(case_id):
            header = _header(one.file)
            if header is not None:
                labels.update(dict.fromkeys(label for label, _ in _segments(header, one.file.name).values()))
        return list(labels)

    def drawn(self, case_id: str, sweep: Sweep) -> dict[int | None, Drawn]:
        frames: dict[int | None, Drawn] = {}
        for _, _, one in self.placed.of(case_id):
            for frame, drawn in _drawn(one, sweep).items():
                add_frame(frames, frame, drawn, one.file.name)
        return frames

    def _add(
        self,
        file: Path,
        header: Dataset,
        instances: Mapping[str, tuple[str, int | None]],
        dicom: set[str],
        rows: tuple[Row, ...],
        case_given: bool,
    ) -> None:
        """Find the case of a file."""
        references, cine = _references(header), _is_of_cine(header)
        cases = {instances[one][0] for one in references if one in instances}
        if cases:
            frames = {one: instances[one][1] for one in references if one in instances}
            if len(cases) > 1 or len(frames) < len(references):
                for case_id in cases:
                    message = f"{file.name}: refers to images of {case_id} and to others; make one for each case"
                    self.placed.refuse(case_id, message)
                return
            self.placed.put(cases.pop(), _Segmentation(file, frames, cine))
            return
        place = self.placed.names.place(file.name, whole=True)
        if place is None:
            self.placed.unplaced.append(file.name)
            return
        self.placed.put(
            place.case_id,
            _Segmentation(file, dict.fromkeys(references, None if cine else place.frame), cine, rows),
        )
        if rows:
            right = _is_of(rows, references)
            problem = "refers to another image than the manifest of its export says; export it again"
        elif place.case_id in dicom:
            right, problem = False, f"refers to another cine than {place.case_id}; import it where that cine is"
        else:
            right = case_given and len(references) == 1
            problem = (
                "refers to a DICOM image that is not in the studies; add --case ID when its frames are those of "
                "a case"
            )
        if not right:
            self.placed.refuse(place.case_id, f"{file.name}: {problem}")


def _instances(images: Mapping[str, Path]) -> tuple[dict[str, tuple[str, int | None]], set[str]]:
    """Case and, for a single-frame image, frame of each DICOM image of the studies; and the DICOM cases."""
    instances: dict[str, tuple[str, int | None]] = {}
    dicom = set()
    for case_id, path in images.items():
        if not path.is_dir() and sweep_suffix(path) not in (None, *DICOM_SUFFIXES):
            continue
        try:
            files = [file for file in files_of(path) if sweep_suffix(file) in (None, *DICOM_SUFFIXES)]
            uids = frame_instances(files, path.name)
        except (FetalIQAError, OSError):
            continue  # unreadable; reading the case reports why
        dicom |= {case_id} if uids else set()
        instances |= {uid: (case_id, None if len(uids) == 1 else frame) for frame, uid in enumerate(uids)}
    return instances, dicom


def _header(file: Path) -> Dataset | None:
    """A segmentation without its pixels; None for other files."""
    try:
        header = dcmread(file, stop_before_pixels=True)
        return header if str(header.get("SOPClassUID")) in SEGMENTATIONS else None
    except (InvalidDicomError, OSError, *DAMAGE_ERRORS):
        return None


def _references(header: Dataset) -> list[str]:
    """SOP instances referenced by the frames of a segmentation; else by the whole of it."""
    per_frame = [
        *(header.get("PerFrameFunctionalGroupsSequence") or []),
        *(header.get("SharedFunctionalGroupsSequence") or []),
    ]
    referenced = [uid for groups in per_frame for uid, _ in _sources(groups)]
    if not referenced:
        referenced = [
            str(instance.ReferencedSOPInstanceUID)
            for series in header.get("ReferencedSeriesSequence") or []
            for instance in series.get("ReferencedInstanceSequence") or []
        ]
    return list(dict.fromkeys(referenced))


def _is_of_cine(header: Dataset) -> bool:
    """Whether the SOP class of the referenced image is a multi-frame one."""
    kinds = [
        instance.get("ReferencedSOPClassUID")
        for series in header.get("ReferencedSeriesSequence") or []
        for instance in series.get("ReferencedInstanceSequence") or []
    ]
    names = [UID(str(kind)).name for kind in kinds]
    return any("Multi-frame" in name or "Enhanced" in name for name in names)


def _sources(groups: Dataset) -> list[tuple[str, list[int]]]:
    """Images that a frame was drawn on, with frame numbers from 1 (none for a single-frame image)."""
    sources = []
    for derivation in groups.get("DerivationImageSequence") or []:
        for source in derivation.get("SourceImageSequence") or []:
            numbers = source.get("ReferencedFrameNumber")
            several = numbers if numbers is None or hasattr(numbers, "__iter__") else [numbers]
            sources.append((str(source.get("ReferencedSOPInstanceUID")), [int(one) for one in several or []]))
    return sources


def _segments(header: Dataset, name: str) -> dict[int, tuple[ClassLabel, bool]]:
    """Class of each segment by its number, and whether it is unconfirmed."""
    try:
        by_number = {}
        for segment in header.SegmentSequence:
            number, codes = int(segment.SegmentNumber), segment.get("SegmentedPropertyTypeCodeSequence") or []
            code = f"{codes[0].get('CodingSchemeDesignator')}:{codes[0].get('CodeValue')}" if codes else None
            label = ClassLabel(str(segment.get("SegmentLabel") or "") or None, number, code)
            by_number[number] = label, segment.get("SegmentAlgorithmType") == AUTOMATIC
        return by_number
    except (AttributeError, LookupError, ValueError, TypeError) as problem:
        raise LabelError(f"{name}: its segments are damaged ({type(problem).__name__}); export it again") from None


def _is_of(rows: tuple[Row, ...], references: list[str]) -> bool:
    """Whether the manifest's image is referenced; True when that file is missing and cannot be compared."""
    image = rows[0].image
    if not image.is_file():
        return True
    try:
        return frame_instances([image], image.name) == references
    except FetalIQAError:
        return False


def _drawn(one: _Segmentation, sweep: Sweep) -> dict[int, Drawn]:
    """Outlines by frame of the case."""
    name = one.file.name
    try:
        dataset = dcmread(one.file)
        check_size(name, (int(dataset.Rows), int(dataset.Columns)), sweep)
        segments = _segments(dataset, name)
        pixels = dataset.pixel_array.reshape(-1, int(dataset.Rows), int(dataset.Columns))
        groups = dataset.PerFrameFunctionalGroupsSequence
        if len(groups) != len(pixels):
            raise ValueError(f"{len(pixels)} frames, {len(groups)} described")
        by_frame: dict[int, Drawn] = {}
        confirmed: set[int] = set()
        for mask, own in zip(pixels, groups):
            frame = _frame_of(own, dataset, one, sweep)
            outlines = by_frame.setdefault(frame, Drawn([], proposed=True))
            for (label, proposed), inside in _shapes(mask, own, dataset, segments):
                confirmed |= set() if proposed else {frame}
                if inside.any():
                    outlines.outlines.append(Outline(label, lambda inside=inside: inside, proposed=proposed))  # type: ignore[misc]
        return {frame: Drawn(drawn.outlines, frame not in confirmed) for frame, drawn in by_frame.items()}
    except (
        AttributeError,
        LookupError,
        ValueError,
        TypeError,
        NotImplementedError,
        RuntimeError,
        OSError,
    ) as problem:
        raise LabelError(f"{name}: its frames cannot be read ({problem}); export it again") from None


def _shapes(
    mask: np.ndarray, own: Dataset, dataset: Dataset, segments: Mapping[int, tuple[ClassLabel, bool]]
) -> list[tuple[tuple[ClassLabel, bool], np.ndarray]]:
    """Segments of a frame, and where each is."""
    kind = dataset.SegmentationType
    if kind == "LABELMAP":
        return [(segments[number], mask == number) for number in segments if number]
    shared = dataset.get("SharedFunctionalGroupsSequence") or [Dataset()]
    identified: Any = own.get("SegmentIdentificationSequence") or shared[0].SegmentIdentificationSequence
    segment = segments[int(identified[0].ReferencedSegmentNumber)]
    if kind == "FRACTIONAL":
        return [(segment, mask >= INSIDE * int(dataset.MaximumFractionalValue))]
    return [(segment, mask > 0)]


def _frame_of(own: Dataset, dataset: Dataset, one: _Segmentation, sweep: Sweep) -> int:
    """Frame of the case that a frame of the segmentation was drawn on."""
    shared = dataset.get("SharedFunctionalGroupsSequence") or [Dataset()]
    sources = _sources(own) or _sources(shared[0])
    if not sources:
        sources = [(uid, []) for uid in one.frames]
    if len(sources) != 1 or len(sources[0][1]) > 1:
        raise ValueError("a segmented frame names no source frame of the cine")
    uid, numbers = sources[0]
    if one.rows:
        places = {row.slice: row.frame for row in one.rows}
        return places[numbers[0] - 1 if numbers and None not in places else next(iter(places))]
    frame = one.frames[uid]
    if frame is None and one.cine and numbers:
        frame = numbers[0] - 1
    if frame is None and sweep.frame_count > 1:
        raise ValueError("a segmented frame names no source frame of the cine")
    return frame or 0
