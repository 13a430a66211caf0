"""A DICOM segmentation of an ultrasound cine, made for the study that the cine is in.

highdicom 0.22 segments several frames only where they have a place in space (a frame of reference), which a
freehand sweep has not. DICOM does without one where each frame of the segmentation says on which frame of the
image it was drawn (PS3.3 A.51, functional group Derivation Image), and that is what is written here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, SegmentationStorage

from fetaliqa import __version__
from fetaliqa.anatomy import Anatomy
from fetaliqa.errors import OptionError
from fetaliqa.export.dicom_parts import MANUFACTURER, MODEL_NAME, SERIAL, uid
from fetaliqa.export.formats.dicom import TYPES
from fetaliqa.labels.record import PLANES, FrameLabel, FrameRecord
from fetaliqa.sweep.calibration import read_calibration

SERIES_NUMBER = 7000  # and the version: beyond what scanners count to
TEXT_LENGTH = 64  # characters, of LO and of a part of PN
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
SUBOPTIMAL = "_suboptimal"  # at the end of a segment's name
LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")


@dataclass(frozen=True)
class Authorship:
    """What a segmentation says of where it comes from.

    Attributes:
        label: name of the line of labels, such as ``final``.
        version: its version; the same version always makes the same file.
        saved: when the version was saved.
        creator: who labelled; None when nobody said.
        model: whose proposals the annotator was shown; None when none were.
    """

    label: str
    version: int
    saved: datetime
    creator: str | None = None
    model: str | None = None


def cine_segmentation(
    image: Dataset, masks: np.ndarray, frames: list[int], anatomy: Anatomy, by: Authorship
) -> FileDataset:
    """Make a binary segmentation of some frames of a cine.

    Args:
        image: header of the cine; patient and study are taken from it as they are.
        masks: uint8 [T, H, W], T frames of the cine; 1 on optimal and ungraded planes, 2 on suboptimal ones.
        frames: numbers (from 0) of the frames that somebody looked at. Each is in the segmentation, one without
            an outline as an empty frame: a frame that is not in it was not looked at.
        anatomy: what is outlined.
        by: who labelled, and when.

    Raises:
        OptionError: when the masks are not of the cine's size, or no frame is given.
    """
    shape = int(image.get("NumberOfFrames") or 1), int(image.Rows), int(image.Columns)
    if masks.shape != shape:
        raise OptionError(f"masks of {masks.shape} for a cine of {shape}; label the cine itself")
    if not frames:
        raise OptionError("no frame was looked at, so there is nothing to segment")
    values = sorted(set(np.unique(masks[frames]).tolist()) - {0}) or [PLANES["optimal"]]
    shown = [(values.index(value) + 1, frame, value) for value in values for frame in frames]
    drawn = [(segment, frame, masks[frame] == value) for segment, frame, value in shown]
    kept = [one for one in drawn if one[2].any() or (one[0] == 1 and not masks[one[1]].any())]
    dataset = _started(image, by, uid("cine segmentation", image.SOPInstanceUID, by, masks[frames].tobytes()))
    names = {PLANES["optimal"]: anatomy.name, PLANES["suboptimal"]: f"{anatomy.name}{SUBOPTIMAL}"}
    dataset.SegmentSequence = [
        _segment(number, names.get(value, f"{anatomy.name}_{value}"), anatomy, by)
        for number, value in enumerate(values, start=1)
    ]
    _add_frames(dataset, image, [(segment, frame) for segment, frame, _ in kept])
    bits = np.packbits(np.stack([mask for _, _, mask in kept]).ravel(), bitorder="little").tobytes()
    dataset.PixelData = bits + b"\0" * (len(bits) % 2)
    dataset["PixelData"].VR = "OB"
    return dataset


def _started(image: Dataset, by: Authorship, instance: UID) -> FileDataset:
    """Everything but segments, frames and pixels."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = SegmentationStorage, instance
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
    dataset.SOPClassUID, dataset.SOPInstanceUID = SegmentationStorage, instance
    dataset.Modality, dataset.SeriesInstanceUID = "SEG", uid("cine segmentation series", instance)
    dataset.SeriesNumber, dataset.InstanceNumber = SERIES_NUMBER + by.version, 1
    dataset.SeriesDescription = f"FetalIQA {by.label}, version {by.version}"[:TEXT_LENGTH]
    dataset.Manufacturer, dataset.ManufacturerModelName = MANUFACTURER, MODEL_NAME
    dataset.DeviceSerialNumber, dataset.SoftwareVersions = SERIAL, __version__
    dataset.ContentDate = dataset.SeriesDate = by.saved.strftime("%Y%m%d")
    dataset.ContentTime = dataset.SeriesTime = by.saved.strftime("%H%M%S")
    dataset.ContentLabel, dataset.ContentCreatorName = "FETALIQA", _person(by.creator)
    said = f"frames that a person confirmed; {by.label}, version {by.version} of the image's label"
    dataset.ContentDescription = said[:TEXT_LENGTH]
    dataset.ImageType, dataset.PatientOrientation = ["DERIVED", "PRIMARY"], ""
    dataset.SegmentationType = "BINARY"
    dataset.Rows, dataset.Columns = image.Rows, image.Columns
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 1
    dataset.HighBit = dataset.PixelRepresentation = 0
    return dataset


def _person(name: str | None) -> str:
    """A name of one part, which the caret says."""
    plain = re.sub(r"[\^=\\\x00-\x1f]", " ", name or "").strip()[: TEXT_LENGTH - 1]
    return f"{plain}^" if plain else ""


def _segment(number: int, name: str, anatomy: Anatomy, by: Authorship) -> Dataset:
    code, meaning = TYPES[anatomy.name]
    segment = Dataset()
    segment.SegmentNumber, segment.SegmentLabel = number, name
    segment.SegmentAlgorithmType = "MANUAL" if by.model is None else "SEMIAUTOMATIC"
    if by.model is not None:
        segment.SegmentAlgorithmName = by.model[:TEXT_LENGTH]
    segment.SegmentedPropertyCategoryCodeSequence = [_code("123037004", "SCT", "Anatomical Structure")]
    segment.SegmentedPropertyTypeCodeSequence = [_code(code, "SCT", meaning)]
    return segment


def _add_frames(dataset: FileDataset, image: Dataset, frames: list[tuple[int, int]]) -> None:
    """Which segment each frame is of, and on which frame of the image it lies.

    Args:
        dataset: gets it.
        image: header of the cine.
        frames: (segment, frame of the cine from 0).
    """
    series, instance = Dataset(), _reference(image)
    series.SeriesInstanceUID, series.ReferencedInstanceSequence = image.SeriesInstanceUID, [instance]
    dataset.ReferencedSeriesSequence = [series]
    dimension = uid("cine segmentation dimensions", dataset.SOPInstanceUID)
    organization = Dataset()
    organization.DimensionOrganizationUID = dimension
    dataset.DimensionOrganizationSequence = [organization]
    dataset.DimensionIndexSequence = [
        _dimension(dimension, "ReferencedSegmentNumber", "SegmentIdentificationSequence"),
        _dimension(dimension, "InStackPositionNumber", "FrameContentSequence"),
    ]
    shared = Dataset()
    spacing = read_calibration(image).spacing
    if spacing is not None:
        measures = Dataset()
        measures.PixelSpacing = [f"{value:.10g}" for value in spacing]
        shared.PixelMeasuresSequence = [measures]
    dataset.SharedFunctionalGroupsSequence = [shared]
    positions = {frame: place for place, frame in enumerate(sorted({frame for _, frame in frames}), start=1)}
    dataset.NumberOfFrames = len(frames)
    dataset.PerFrameFunctionalGroupsSequence = [
        _frame_groups(image, segment, frame, positions[frame]) for segment, frame in frames
    ]


def _frame_groups(image: Dataset, segment: int, frame: int, position: int) -> Dataset:
    groups, content, derived, of = (Dataset() for _ in range(4))
    content.StackID, content.InStackPositionNumber = "1", position
    content.DimensionIndexValues = [segment, position]
    source = _reference(image)
    source.ReferencedFrameNumber = frame + 1
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


def read_cine_segmentation(dataset: Dataset, shape: tuple[int, int, int]) -> tuple[np.ndarray, FrameRecord]:
    """Masks and frame record of a segmentation that ``cine_segmentation`` made.

    Args:
        dataset: the segmentation.
        shape: (frames, rows, columns) of its cine.

    Returns:
        uint8 [T, H, W] masks as ``cine_segmentation`` takes them, and what is said of the frames. Where several
        people are named, all of them are the rater; a plane that is not suboptimal counts as not graded.

    Raises:
        OptionError: when it is another's, or of another cine.
    """
    if dataset.get("Manufacturer") != MANUFACTURER or dataset.get("SOPClassUID") != SegmentationStorage:
        raise OptionError("the segmentation was not made here")
    try:
        pixels = dataset.pixel_array.reshape(-1, int(dataset.Rows), int(dataset.Columns))
        values = {
            int(one.SegmentNumber): PLANES["suboptimal" if one.SegmentLabel.endswith(SUBOPTIMAL) else "optimal"]
            for one in dataset.SegmentSequence
        }
        masks = np.zeros(shape, np.uint8)
        frames = {}
        for drawn, groups in zip(pixels, dataset.PerFrameFunctionalGroupsSequence, strict=True):
            source = groups.DerivationImageSequence[0].SourceImageSequence[0]
            frame = int(source.ReferencedFrameNumber) - 1
            value = values[int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)]
            masks[frame][drawn > 0] = value
            frames[frame] = FrameLabel("annotated" if masks[frame].any() else "empty")
    except (AttributeError, LookupError, ValueError, TypeError) as problem:
        raise OptionError(f"the segmentation does not fit its cine ({type(problem).__name__})") from None
    rater = str(dataset.get("ContentCreatorName") or "").strip("^ ") or None
    told = {
        frame: replace(
            label, rater=rater, plane="suboptimal" if masks[frame].max() == PLANES["suboptimal"] else None
        )
        for frame, label in frames.items()
    }
    return masks, FrameRecord(told)
