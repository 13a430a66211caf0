"""Common elements of the exported DICOM files; no element of a source header is copied."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, UltrasoundMultiFrameImageStorage, generate_uid

from fetaliqa import __version__
from fetaliqa.export.dicom_files import save_dicom
from fetaliqa.export.export_case import ExportCase

MANUFACTURER, MODEL_NAME, SERIAL = "FetalIQA", "fetaliqa", "0"
FIXED_DATE, FIXED_TIME = "19000101", "000000"  # DICOM wants a date; when a frame was labelled is in the manifest
DATE_KEYWORDS = {
    "ContentDate": FIXED_DATE,
    "ContentTime": FIXED_TIME,
    "DateOfSecondaryCapture": FIXED_DATE,
    "TimeOfSecondaryCapture": FIXED_TIME,
    "SeriesDate": FIXED_DATE,
    "SeriesTime": FIXED_TIME,
}
UTF_8 = "ISO_IR 192"  # Specific Character Set (PS3.3 C.12.1.1.2)
LONGEST = 64  # characters of LO and of a part of PN (PS3.5 section 6.2)
DELIMITERS = r"[\^=]"  # of the parts of PN
MM_PER_CM = 10.0
CENTIMETRES, TISSUE_2D, TISSUE_DATA = 3, 1, 1  # PS3.3 C.8.5.5.1
FRAME_MS = 100.0  # nominal: a stack does not say how fast it was recorded


def uid(*parts: object) -> UID:
    """A deterministic UID: the same parts give the same UID."""
    return generate_uid(entropy_srcs=[repr(part) for part in parts])


def private_dates(dataset: Dataset) -> None:
    """Replace every date and time of an export by a fixed one, or remove it."""
    for element in list(dataset):
        if element.VR in ("DA", "TM", "DT") and element.value:
            if element.keyword in DATE_KEYWORDS:
                element.value = DATE_KEYWORDS[element.keyword]
            else:
                del dataset[element.tag]
        elif element.VR == "SQ":
            for item in element.value:
                private_dates(item)


def region_of(case: ExportCase) -> Dataset | None:
    """Calibration of the whole image (Sequence of Ultrasound Regions); None without spacing."""
    if case.spacing is None:
        return None
    region = Dataset()
    region.RegionSpatialFormat, region.RegionDataType = TISSUE_2D, TISSUE_DATA
    region.RegionFlags = 0
    region.RegionLocationMinX0 = region.RegionLocationMinY0 = 0
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = case.frames.shape[2] - 1, case.frames.shape[1] - 1
    region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = CENTIMETRES
    region.PhysicalDeltaX, region.PhysicalDeltaY = (value / MM_PER_CM for value in case.spacing[::-1])
    return region


def write_cine(path: Path, case: ExportCase, frames: list[int]) -> Dataset:
    """Write frames as one Ultrasound Multi-frame Image, uncompressed; returns its header.

    Args:
        path: file to write.
        case: with pseudonyms, if wanted: its names are written as they are.
        frames: their numbers.
    """
    pixels = np.ascontiguousarray(case.frames[frames])
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UltrasoundMultiFrameImageStorage
    meta.MediaStorageSOPInstanceUID = uid("cine", case.case_id, frames, pixels.tobytes())
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.is_little_endian, dataset.is_implicit_VR = True, False
    _identify(dataset, case)
    dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    dataset.SeriesInstanceUID = uid("cine series", case.case_id)
    dataset.ImageType = ["DERIVED", "PRIMARY"]
    dataset.InstanceNumber, dataset.SeriesNumber = 1, 1
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = pixels.shape
    dataset.FrameIncrementPointer = 0x00181063  # Frame Time
    dataset.FrameTime = FRAME_MS
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    dataset.LossyImageCompression = "00"
    region = region_of(case)
    if region is not None:
        dataset.SequenceOfUltrasoundRegions = [region]
    dataset.PixelData = pixels.tobytes() + b"\0" * (pixels.nbytes % 2)
    dataset["PixelData"].VR = "OB"
    save_dicom(dataset, path)
    del dataset.PixelData
    return dataset


def _identify(dataset: Dataset, case: ExportCase) -> None:
    """Set patient, study and equipment to the names in the export."""
    dataset.SpecificCharacterSet = UTF_8
    dataset.PatientName, dataset.PatientID = person_name(case), patient_id(case)
    dataset.PatientBirthDate = dataset.PatientSex = ""
    dataset.StudyInstanceUID = study_uid(case)
    dataset.StudyDate = dataset.StudyTime = dataset.AccessionNumber = dataset.ReferringPhysicianName = ""
    dataset.StudyID = ""
    dataset.Modality, dataset.Manufacturer = "US", MANUFACTURER
    dataset.ManufacturerModelName, dataset.SoftwareVersions = MODEL_NAME, __version__
    dataset.PatientOrientation = dataset.Laterality = ""


def person_name(case: ExportCase) -> str:
    """The subject's name in the export, as a person name with one component (caret)."""
    return f"{re.sub(DELIMITERS, ' ', patient_id(case))}^"


def patient_id(case: ExportCase) -> str:
    """The subject's name, short enough for DICOM's LO and PN, which hold 64 characters."""
    name = case.subject_id.replace("\\", "_")
    if len(name) < LONGEST:
        return name
    return f"{name[: LONGEST - 10]}-{hashlib.sha256(case.subject_id.encode()).hexdigest()[:8]}"


def study_uid(case: ExportCase) -> UID:
    """Study of a case."""
    return uid("study", case.subject_id, case.case_id)
