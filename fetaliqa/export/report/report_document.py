"""The measurement report as a DICOM document (Comprehensive SR)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import highdicom.sr as sr
from pydicom.dataset import Dataset
from pydicom.uid import UID

from fetaliqa import __version__
from fetaliqa.export.cine_segments import IF_THERE, OF_PATIENT_AND_STUDY
from fetaliqa.export.dicom_parts import FIXED_DATE, FIXED_TIME, MANUFACTURER, MODEL_NAME, SERIAL, UTF_8, uid
from fetaliqa.export.dicom_review_state import TEXT_LENGTH
from fetaliqa.export.report.report_content import ReportContent
from fetaliqa.export.report.report_tree import content_of

READ_BY_HIGHDICOM = (*OF_PATIENT_AND_STUDY, "InstitutionName")
WITH_CURRENT_TIME = ("TimezoneOffsetFromUTC", "ContributingEquipmentSequence")  # set by highdicom
DATES = {"InstanceCreationDate": "%Y%m%d", "ContentDate": "%Y%m%d", "SeriesDate": "%Y%m%d"}
TIMES = {"InstanceCreationTime": "%H%M%S", "ContentTime": "%H%M%S", "SeriesTime": "%H%M%S"}


@dataclass(frozen=True)
class ReportOrigin:
    """Identification of a report.

    Attributes:
        key: the same key gives the same UIDs.
        series_number: of its series.
        series_description: at most 64 characters.
        made: date and time; None writes the fixed date of exports.
    """

    key: tuple[object, ...]
    series_number: int
    series_description: str
    made: datetime | None = None

    @property
    def instance(self) -> UID:
        """SOP instance UID."""
        return uid("report", *self.key)


def measurement_report(report: ReportContent, origin: ReportOrigin, beside: Sequence[Dataset] = ()) -> Dataset:
    """Make a measurement report.

    It is not verified. It is complete when a person confirmed all outlines, and partial otherwise.

    Args:
        report: what it says; patient and study are those of its first frame's image, as they are.
        origin: its identification.
        beside: objects that belong to it but are not referenced by its content, such as the segmentation.
    """
    images = {str(frame.place.image.SOPInstanceUID): frame.place.image for frame in report.frames}
    first = report.frames[0].place.image
    evidence = [_as_evidence(one) for one in (*images.values(), *beside)]
    document = sr.ComprehensiveSR(
        evidence=evidence,
        content=content_of(report, *origin.key)[0],
        series_instance_uid=uid("report series", *origin.key),
        series_number=origin.series_number,
        sop_instance_uid=origin.instance,
        instance_number=1,
        manufacturer=MANUFACTURER,
        is_complete=report.confirmed,
        is_final=False,
        is_verified=False,
        manufacturer_model_name=MODEL_NAME,
        software_versions=__version__,
        device_serial_number=SERIAL,
        series_description=origin.series_description[:TEXT_LENGTH],
    )
    for keyword in OF_PATIENT_AND_STUDY:
        setattr(document, keyword, first.get(keyword, ""))
    for keyword in IF_THERE:
        if first.get(keyword) is not None:
            setattr(document, keyword, first.get(keyword))
    document.SpecificCharacterSet = UTF_8
    for names, fixed in ((DATES, FIXED_DATE), (TIMES, FIXED_TIME)):
        for keyword, form in names.items():
            setattr(document, keyword, fixed if origin.made is None else format(origin.made, form))
    for keyword in WITH_CURRENT_TIME:
        if keyword in document:
            delattr(document, keyword)
    return document


def _as_evidence(header: Dataset) -> Dataset:
    """A header with the elements that highdicom expects, empty where they are missing."""
    dataset = copy.copy(header)
    for keyword in READ_BY_HIGHDICOM:
        if keyword not in dataset:
            setattr(dataset, keyword, "")
    return dataset
