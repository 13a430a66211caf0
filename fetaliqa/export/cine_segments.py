"""DICOM segmentation files of ultrasound cines and of series of single images, written with pydicom.

highdicom 0.22 requires a frame of reference for multi-frame segmentations, which a freehand sweep does not have.
DICOM allows none where each frame of the segmentation references the frame of the image it was drawn on (PS3.3
A.51, functional group Derivation Image), as written here.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

import numpy as np
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SegmentationStorage

from fetaliqa import __version__
from fetaliqa.errors import OptionError
from fetaliqa.export.dicom_parts import FIXED_DATE, FIXED_TIME, MANUFACTURER, MODEL_NAME, SERIAL, uid
from fetaliqa.export.dicom_review_state import (
    ARTIFICIAL,
    AUTOMATIC,
    CATEGORY,
    TEXT_LENGTH,
    TYPES,
    Algorithm,
    line_of,
    segment_name,
)
from fetaliqa.export.frame_of_image import FrameOfImage
from fetaliqa.labels.frame_record import PLANES
from fetaliqa.measure.anatomy import Anatomy
from fetaliqa.sweep.dicom_spacing import read_calibration

OF_PATIENT_AND_STUDY = (
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
    "ReferringPhysicianName",
)
IF_THERE = ("IssuerOfPatientID", "StudyDescription")
LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")
BITS = 8  # that many frames, of whatever size, fill whole bytes


@dataclass(frozen=True)
class Origin:
    """Identification of a segmentation.

    Attributes:
        instance, series: its UIDs.
        series_number: of its series.
        series_description, description: at most 64 characters each.
        made: date and time; None writes the fixed date of exports.
        creator: the rater; None when not known.
    """

    instance: UID
    series: UID
    series_number: int
    series_description: str
    description: str
    made: datetime | None = None
    creator: str | None = None


@dataclass(frozen=True)
class _Segment:
    """A segment: how its frames were drawn, and their value in the masks."""

    algorithm: Algorithm
    value: int


def segmentation_of_images(
    images: Sequence[Dataset],
    masks: np.ndarray,
    frames: Mapping[int, Algorithm],
    names: Mapping[int, str],
    anatomy: Anatomy,
    origin: Origin,
) -> FileDataset:
    """Make a binary segmentation of some frames of a cine, or of some images of one frame each.

    Args:
        images: header of the cine, or of each image; patient and study are taken from the first one as they are.
        masks: uint8 [T, H, W], T frames of the cine, or T images; 0 background, other values as in ``names``.
        frames: how each frame was drawn, by its number from 0. Each is in the segmentation, one without an outline
            as an empty frame. Frames drawn in different ways are in different segments, and the name of an
            unconfirmed segment ends in ``_proposed``.
        names: of the segments, by value in the masks.
        anatomy: what is outlined.
        origin: its identification.

    Raises:
        OptionError: when the masks are not of the images' size, or no frame is given.
    """
    check_fits(images, masks, frames)
    segments, drawn = _segments_of(masks, frames)
    dataset = _started(images[0], origin)
    dataset.SegmentSequence = [
        _described(number, segment, names.get(segment.value, f"{anatomy.name}_{segment.value}"), anatomy)
        for number, segment in enumerate(segments, start=1)
    ]
    _add_frames(dataset, images, drawn)
    bits = b"".join(_packed(masks[frame] == segments[number - 1].value for number, frame in drawn))
    dataset.PixelData = bits + b"\0" * (len(bits) % 2)
    dataset["PixelData"].VR = "OB"
    return dataset


def check_fits(images: Sequence[Dataset], masks: np.ndarray, frames: Collection[int]) -> None:
    """Check that the masks fit the cine or the images, and that there is a frame to segment.

    Raises:
        OptionError: when they do not fit, or no frame is given.
    """
    count = len(images) if len(images) > 1 else int(images[0].get("NumberOfFrames") or 1)
    shape = count, int(images[0].Rows), int(images[0].Columns)
    if masks.shape != shape:
        raise OptionError(f"masks of {masks.shape} for a cine of {shape}; label the cine itself")
    if not frames:
        raise OptionError("no frame was reviewed, so there is nothing to segment")


def _segments_of(
    masks: np.ndarray, frames: Mapping[int, Algorithm]
) -> tuple[list[_Segment], list[tuple[int, int]]]:
    """The segments, confirmed ones first, and (segment from 1, frame) of each frame of the segmentation.

    An empty frame belongs to the first segment of its origin, which is made for it if necessary.
    """
    values = {frame: np.flatnonzero(np.bincount(masks[frame].ravel())[1:]) + 1 for frame in sorted(frames)}
    segments: list[_Segment] = []
    drawn = []
    origins = sorted(set(frames.values()), key=lambda one: (not one.confirmed, one.name, one.version))
    for algorithm in origins:
        own = [frame for frame in values if frames[frame] == algorithm]
        present = sorted({int(value) for frame in own for value in values[frame]}) or [PLANES["optimal"]]
        for value in present:
            segments.append(_Segment(algorithm, value))
            drawn += [
                (len(segments), frame)
                for frame in own
                if value in values[frame] or (value == present[0] and not len(values[frame]))
            ]
    return segments, drawn


def _packed(drawn: Iterator[np.ndarray]) -> Iterator[bytes]:
    """Bits of all frames one after the other (PS3.5 8.1.1), a few frames in memory at a time."""
    while some := list(islice(drawn, BITS)):
        yield np.packbits(np.stack(some).ravel(), bitorder="little").tobytes()


def _started(image: Dataset, origin: Origin) -> FileDataset:
    """Everything but segments, frames and pixels."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SegmentationStorage, origin.instance
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.is_little_endian, dataset.is_implicit_VR = True, False
    dataset.SpecificCharacterSet = "ISO_IR 192"
    for keyword in OF_PATIENT_AND_STUDY:
        setattr(dataset, keyword, image.get(keyword, ""))
    for keyword in (*IF_THERE, *LOSSY):
        if image.get(keyword) is not None:
            setattr(dataset, keyword, image.get(keyword))
    dataset.LossyImageCompression = dataset.get("LossyImageCompression") or "00"
    dataset.StudyInstanceUID = image.StudyInstanceUID
    dataset.SOPClassUID, dataset.SOPInstanceUID = SegmentationStorage, origin.instance
    dataset.Modality, dataset.SeriesInstanceUID = "SEG", origin.series
    dataset.SeriesNumber, dataset.InstanceNumber = origin.series_number, 1
    dataset.SeriesDescription = origin.series_description[:TEXT_LENGTH]
    dataset.Manufacturer, dataset.ManufacturerModelName = MANUFACTURER, MODEL_NAME
    dataset.DeviceSerialNumber, dataset.SoftwareVersions = SERIAL, __version__
    made = origin.made
    date, time = (FIXED_DATE, FIXED_TIME) if made is None else (f"{made:%Y%m%d}", f"{made:%H%M%S}")
    dataset.ContentDate = dataset.SeriesDate = date
    dataset.ContentTime = dataset.SeriesTime = time
    dataset.ContentLabel, dataset.ContentCreatorName = "FETALIQA", _person(origin.creator)
    dataset.ContentDescription = origin.description[:TEXT_LENGTH]
    dataset.ImageType, dataset.PatientOrientation = ["DERIVED", "PRIMARY"], ""
    dataset.SegmentationType = "BINARY"
    dataset.Rows, dataset.Columns = image.Rows, image.Columns
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 1
    dataset.HighBit = dataset.PixelRepresentation = 0
    return dataset


def _person(name: str | None) -> str:
    """A person name with one component, marked by the caret."""
    plain = re.sub(r"[\^=\\\x00-\x1f]", " ", name or "").strip()[: TEXT_LENGTH - 1]
    return f"{plain}^" if plain else ""


def _described(number: int, one: _Segment, name: str, anatomy: Anatomy) -> Dataset:
    code, meaning = TYPES[anatomy.name]
    algorithm, segment = one.algorithm, Dataset()
    segment.SegmentNumber, segment.SegmentLabel = number, segment_name(name, algorithm)
    segment.SegmentAlgorithmType = algorithm.kind
    if algorithm.name:
        segment.SegmentAlgorithmName = line_of(algorithm.name)
    if algorithm.kind == AUTOMATIC:
        identified = Dataset()
        identified.AlgorithmFamilyCodeSequence = [_code(*ARTIFICIAL)]
        identified.AlgorithmName, identified.AlgorithmVersion = algorithm.name, algorithm.version
        segment.SegmentationAlgorithmIdentificationSequence = [identified]
    segment.SegmentedPropertyCategoryCodeSequence = [_code(*CATEGORY)]
    segment.SegmentedPropertyTypeCodeSequence = [_code(code, "SCT", meaning)]
    return segment


def _add_frames(dataset: FileDataset, images: Sequence[Dataset], frames: list[tuple[int, int]]) -> None:
    """Which segment each frame is of, and on which frame or image it lies.

    Args:
        dataset: gets it.
        images: header of the cine, or of each image.
        frames: (segment, frame of the cine or number of the image, from 0).
    """
    shown = sorted({frame for _, frame in frames})
    places = {frame: FrameOfImage.among(images, frame) for frame in shown}
    drawn_on = {str(place.image.SOPInstanceUID): place.image for place in places.values()}
    dataset.ReferencedSeriesSequence = _series_of(drawn_on.values())
    dimension = uid("cine segmentation dimensions", dataset.SOPInstanceUID)
    organization = Dataset()
    organization.DimensionOrganizationUID = dimension
    dataset.DimensionOrganizationSequence = [organization]
    dataset.DimensionIndexSequence = [
        _dimension(dimension, "ReferencedSegmentNumber", "SegmentIdentificationSequence"),
        _dimension(dimension, "InStackPositionNumber", "FrameContentSequence"),
    ]
    shared = Dataset()
    spacing, *others = {read_calibration(image).spacing for image in drawn_on.values()}
    if spacing is not None and not others:
        measures = Dataset()
        measures.PixelSpacing = [f"{value:.10g}" for value in spacing]
        shared.PixelMeasuresSequence = [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]
    positions = {frame: place for place, frame in enumerate(shown, start=1)}
    dataset.NumberOfFrames = len(frames)
    dataset.PerFrameFunctionalGroupsSequence = [
        _frame_groups(places[frame], segment, positions[frame]) for segment, frame in frames
    ]


def _series_of(images: Iterable[Dataset]) -> list[Dataset]:
    """References of images, by series."""
    found: dict[str, Dataset] = {}
    for image in images:
        series = found.setdefault(str(image.SeriesInstanceUID), Dataset())
        series.SeriesInstanceUID = image.SeriesInstanceUID
        series.ReferencedInstanceSequence = [*series.get("ReferencedInstanceSequence", ()), _reference(image)]
    return list(found.values())


def _frame_groups(place: FrameOfImage, segment: int, position: int) -> Dataset:
    groups, content, derived, of = (Dataset() for _ in range(4))
    content.StackID, content.InStackPositionNumber = "1", position
    content.DimensionIndexValues = [segment, position]
    source = _reference(place.image)
    if place.number is not None:
        source.ReferencedFrameNumber = place.number
    source.SpatialLocationsPreserved = "YES"
    source.PurposeOfReferenceCodeSequence = [_code("121322", "DCM", "Source Image for Image Processing Operation")]
    derived.SourceImageSequence = [source]
    derived.DerivationCodeSequence = [_code("113076", "DCM", "Segmentation")]
    of.ReferencedSegmentNumber = segment
    groups.FrameContentSequence, groups.DerivationImageSequence = [content], [derived]
    groups.SegmentIdentificationSequence = [of]
    return groups


def _reference(image: Dataset) -> Dataset:
    reference = Dataset()
    reference.ReferencedSOPClassUID, reference.ReferencedSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    return reference


def _dimension(organization: UID, pointer: str, group: str) -> Dataset:
    index = Dataset()
    index.DimensionOrganizationUID = organization
    index.DimensionIndexPointer = tag_for_keyword(pointer)
    index.FunctionalGroupPointer = tag_for_keyword(group)
    index.DimensionDescriptionLabel = pointer
    return index


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code: Any = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code
