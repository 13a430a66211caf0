"""Writers of DICOM: stills with a segmentation each, or a cine of each case with one."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileDataset

from fetaliqa import __version__
from fetaliqa.export.cine_segments import Origin, segmentation_of_images
from fetaliqa.export.dicom_files import save_dicom
from fetaliqa.export.dicom_parts import (
    MANUFACTURER,
    MODEL_NAME,
    SERIAL,
    UTF_8,
    patient_id,
    person_name,
    private_dates,
    study_uid,
    uid,
    write_cine,
)
from fetaliqa.export.dicom_review_state import (
    ARTIFICIAL,
    CATEGORY,
    TYPES,
    algorithm_of,
    description_of,
    segment_name,
)
from fetaliqa.export.export_case import ExportCase
from fetaliqa.export.formats.format_writer import ExportContext, Writer, stem_of
from fetaliqa.export.manifest import Place

DATES_NOTE = (
    "dates in DICOM files are 1900-01-01, since DICOM wants one; when a frame was labelled is in manifest.csv"
)
CINE_NOTE = (
    "segmentations/CASE.dcm says of each of its frames on which frame of the cine it lies (ReferencedFrameNumber, "
    "one more than `slice` in manifest.csv)"
)
PROPOSED_NOTE = "segments of type AUTOMATIC, whose names end in `_proposed`, are not confirmed"
SEGMENTATIONS = 2  # number of their series; the images' is 1


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
        save_dicom(image, self.context.root / image_path)
        mask = self.context.mask(case, frame)
        if not mask.any():
            return Place(image_path)
        names = {value: name for name, value in self.context.labels().items()}
        segmentation = _segmentation(case, frame, image, mask, names)
        save_dicom(segmentation, self.context.root / mask_path)
        return Place(image_path, mask_path)


class DicomCineWriter(Writer):
    """``images/CASE.dcm``, selected frames as Ultrasound Multi-frame; ``segmentations/CASE.dcm`` of all of them.

    A frame without an outline is an empty frame of the segmentation; unconfirmed frames are in segments of their
    own.

    Attributes:
        cine: header of the image of the case that was written last.
        segmentation: of its frames.
    """

    name = "dicom-cine"

    def __init__(self, context: ExportContext) -> None:
        super().__init__(context)
        for folder in ("images", "segmentations"):
            (context.root / folder).mkdir(exist_ok=True)
        self._proposals = False
        self.cine = self.segmentation = Dataset()

    def write_case(self, case: ExportCase) -> dict[int, Place]:
        image_path, mask_path = (f"{folder}/{case.stem}.dcm" for folder in ("images", "segmentations"))
        frames = list(case.entries)
        self.cine = write_cine(self.context.root / image_path, case, frames)
        self.segmentation = self._segmentation(case, self.cine, frames)
        save_dicom(self.segmentation, self.context.root / mask_path)
        return {frame: Place(image_path, mask_path, place) for place, frame in enumerate(frames)}

    def finish(self, about: dict[str, Any]) -> None:
        self.context.notes.extend([CINE_NOTE, *([PROPOSED_NOTE] if self._proposals else []), DATES_NOTE])

    def _segmentation(self, case: ExportCase, cine: Dataset, frames: list[int]) -> FileDataset:
        masks = np.stack([self.context.mask(case, frame) for frame in frames])
        algorithms = {place: algorithm_of(case.entries[frame]) for place, frame in enumerate(frames)}
        self._proposals |= not all(one.confirmed for one in algorithms.values())
        drawn = hashlib.sha256(masks).hexdigest()
        origin = Origin(
            instance=uid("exported cine segmentation", cine.SOPInstanceUID, drawn, algorithms),
            series=uid("segmentations", case.case_id),
            series_number=SEGMENTATIONS,
            series_description="masks of the exported frames",
            description=description_of(case.entries.values()),
        )
        names = {value: name for name, value in self.context.labels().items()}
        return segmentation_of_images([cine], masks, algorithms, names, case.anatomy, origin)


def _still(case: ExportCase, frame: int) -> Any:
    from highdicom.sc import SCImage

    pixels = np.ascontiguousarray(case.frames[frame])
    image = SCImage(
        pixel_array=pixels,
        photometric_interpretation="MONOCHROME2",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),  # required by highdicom; removed below, since it is not known
        study_instance_uid=study_uid(case),
        series_instance_uid=uid("stills", case.case_id),
        series_number=1,
        sop_instance_uid=uid("still", case.case_id, frame, pixels.tobytes()),
        instance_number=frame + 1,
        manufacturer=MANUFACTURER,
        patient_id=patient_id(case),
        patient_name=person_name(case),
        pixel_spacing=case.spacing,
        software_versions=__version__,
    )
    for keyword in ("PatientOrientation", "Laterality"):
        setattr(image, keyword, None)
    image.Modality = "US"
    image.SpecificCharacterSet = UTF_8
    private_dates(image)
    return image


def _segmentation(case: ExportCase, frame: int, image: Any, mask: np.ndarray, names: dict[int, str]) -> Any:
    from highdicom.seg import Segmentation

    values = sorted(set(np.unique(mask).tolist()) - {0})
    numbers = np.zeros(256, np.uint8)  # segments count from 1 without a gap
    numbers[values] = np.arange(1, len(values) + 1)
    segments = [_segment(case, frame, number, names[value]) for number, value in enumerate(values, start=1)]
    segmentation = Segmentation(
        source_images=[image],
        pixel_array=numbers[mask][None],
        segmentation_type="BINARY",
        segment_descriptions=segments,
        series_instance_uid=uid("segmentations", case.case_id),
        series_number=SEGMENTATIONS,
        sop_instance_uid=uid("segmentation", case.case_id, frame, mask.tobytes()),
        instance_number=frame + 1,
        manufacturer=MANUFACTURER,
        manufacturer_model_name=MODEL_NAME,
        software_versions=__version__,
        device_serial_number=SERIAL,
        content_description=description_of([case.entries[frame]]),
    )
    segmentation.PatientOrientation = None
    segmentation.SpecificCharacterSet = UTF_8
    segmentation.PatientName, segmentation.PatientID = image.PatientName, image.PatientID
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

    algorithm, (code, meaning) = algorithm_of(case.entries[frame]), TYPES[case.anatomy.name]
    identified = None
    if not algorithm.confirmed:
        identified = hd.AlgorithmIdentificationSequence(
            name=algorithm.name, version=algorithm.version, family=Code(*ARTIFICIAL)
        )
    return hd.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment_name(name, algorithm),
        segmented_property_category=Code(*CATEGORY),
        segmented_property_type=Code(code, "SCT", meaning),
        algorithm_type=algorithm.kind,
        algorithm_identification=identified,
    )
