"""DICOM: stills with a segmentation each, or a cine of each case."""

from __future__ import annotations

from typing import Any

import numpy as np

from fetaliqa import __version__
from fetaliqa.export.case import ExportCase
from fetaliqa.export.dicom_parts import (
    MANUFACTURER,
    MODEL_NAME,
    SERIAL,
    person_name,
    private_dates,
    study_uid,
    uid,
    write_cine,
)
from fetaliqa.export.formats.base import ExportContext, Writer, stem_of
from fetaliqa.export.manifest import Place
from fetaliqa.export.selection import PROPOSED

DATES_NOTE = (
    "dates in DICOM files are 1900-01-01, since DICOM wants one; when a frame was labelled is in manifest.csv"
)
CINE_NOTE = "there is no segmentation of a cine in this format; masks of stills are in the format `dicom`"
TYPES = {"abdomen": ("113345001", "Abdomen"), "head": ("69536005", "Head")}  # SNOMED CT


class DicomStillWriter(Writer):
    """``images/CASE_FRAME.dcm``, Secondary Capture; ``segmentations/CASE_FRAME.dcm`` where there is an outline."""

    name = "dicom"
    modules = {"highdicom": "highdicom"}  # noqa: RUF012 - read only

    def __init__(self, context: ExportContext) -> None:
        super().__init__(context)
        for folder in ("images", "segmentations"):
            (context.root / folder).mkdir(exist_ok=True)

    def write_case(self, case: ExportCase) -> dict[int, Place]:
        return {frame: self._write(case, frame) for frame in case.entries}

    def finish(self, about: dict[str, Any]) -> None:
        self.context.notes.append(DATES_NOTE)

    def _write(self, case: ExportCase, frame: int) -> Place:
        image_path, mask_path = (f"{folder}/{stem_of(case, frame)}.dcm" for folder in ("images", "segmentations"))
        image = _still(case, frame)
        image.save_as(self.context.root / image_path, write_like_original=False)
        mask = self.context.mask(case, frame)
        if not mask.any():
            return Place(image_path)
        names = {value: name for name, value in self.context.labels().items()}
        segmentation = _segmentation(case, frame, image, mask, names)
        segmentation.save_as(self.context.root / mask_path, write_like_original=False)
        return Place(image_path, mask_path)


class DicomCineWriter(Writer):
    """``images/CASE.dcm``: the selected frames of a case as an Ultrasound Multi-frame Image."""

    name = "dicom-cine"

    def write_case(self, case: ExportCase) -> dict[int, Place]:
        (self.context.root / "images").mkdir(exist_ok=True)
        name, frames = f"images/{case.case_id}.dcm", list(case.entries)
        write_cine(self.context.root / name, case, frames)
        return {frame: Place(name, None, place) for place, frame in enumerate(frames)}

    def finish(self, about: dict[str, Any]) -> None:
        self.context.notes.extend([CINE_NOTE, DATES_NOTE])


def _still(case: ExportCase, frame: int) -> Any:
    from highdicom.sc import SCImage

    pixels = np.ascontiguousarray(case.frames[frame])
    image = SCImage(
        pixel_array=pixels,
        photometric_interpretation="MONOCHROME2",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),  # asked for; taken out below, nobody knows it
        study_instance_uid=study_uid(case),
        series_instance_uid=uid("stills", case.case_id),
        series_number=1,
        sop_instance_uid=uid("still", case.case_id, frame, pixels.tobytes()),
        instance_number=frame + 1,
        manufacturer=MANUFACTURER,
        patient_id=case.subject_id,
        patient_name=person_name(case),
        pixel_spacing=case.spacing,
        software_versions=__version__,
    )
    for keyword in ("PatientOrientation", "Laterality"):
        setattr(image, keyword, None)
    image.Modality = "US"
    private_dates(image)
    return image


def _segmentation(case: ExportCase, frame: int, image: Any, mask: np.ndarray, names: dict[int, str]) -> Any:
    from highdicom.seg import Segmentation

    values = sorted(set(np.unique(mask).tolist()) - {0})
    numbers = np.zeros(256, np.uint8)  # segments count from 1 without a gap
    numbers[values] = np.arange(1, len(values) + 1)
    segments = [_segment(case, frame, number, names[value]) for number, value in enumerate(values, start=1)]
    entry = case.entries[frame]
    segmentation = Segmentation(
        source_images=[image],
        pixel_array=numbers[mask][None],
        segmentation_type="BINARY",
        segment_descriptions=segments,
        series_instance_uid=uid("segmentations", case.case_id),
        series_number=2,
        sop_instance_uid=uid("segmentation", case.case_id, frame, mask.tobytes()),
        instance_number=frame + 1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=__version__,
        device_serial_number=SERIAL,
        content_description="proposed by a model, confirmed by nobody" if entry.state == PROPOSED else entry.state,
    )
    segmentation.PatientOrientation = None
    private_dates(segmentation)
    # the dimension's UID would be a random one
    new = uid("dimensions", case.case_id, frame)
    for item in segmentation.DimensionOrganizationSequence:
        item.DimensionOrganizationUID = new
    for item in segmentation.DimensionIndexSequence:
        item.DimensionOrganizationUID = new
    return segmentation


def _segment(case: ExportCase, frame: int, number: int, name: str) -> Any:
    import highdicom as hd
    from pydicom.sr.coding import Code

    entry, (code, meaning) = case.entries[frame], TYPES[case.anatomy.name]
    algorithm = None
    if entry.state == PROPOSED:
        algorithm = hd.AlgorithmIdentificationSequence(
            name=entry.model or "not stated",
            version=entry.model_version or "not stated",
            family=Code("123110", "DCM", "Artificial Intelligence"),
        )
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=name,
        segmented_property_category=Code("123037004", "SCT", "Anatomical Structure"),
        segmented_property_type=Code(code, "SCT", meaning),
        algorithm_type="AUTOMATIC" if entry.state == PROPOSED else "MANUAL",
        algorithm_identification=algorithm,
    )
