"""The measurement report of an assessed case: report, segmentation and, if the case is not DICOM, an image.

The report refers to frames of a DICOM image. Where the case is one, that is the image itself. Of other files the
reported frames are written as an ultrasound multi-frame image.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from fetaliqa.errors import OptionError, SweepError
from fetaliqa.export.cine_segments import Origin, segmentation_of_images
from fetaliqa.export.dicom_files import save_dicom
from fetaliqa.export.dicom_parts import uid, write_cine
from fetaliqa.export.dicom_review_state import AUTOMATIC, NOT_STATED, Algorithm, line_of
from fetaliqa.export.export_case import ExportCase
from fetaliqa.export.frame_of_image import FrameOfImage
from fetaliqa.export.report.report_content import (
    OutlinedFrame,
    ReportContent,
    axes_of,
    check_reportable,
    name_of,
)
from fetaliqa.extras import require_extra
from fetaliqa.inference.case_result import AssessmentResult
from fetaliqa.inference.frame_assessment import FrameAssessment
from fetaliqa.measure.anatomy import anatomy_named
from fetaliqa.sweep.dicom_element import DAMAGE_ERRORS, reason_of
from fetaliqa.sweep.sweep_reader import dicom_files_of

REPORT_FILE, SEGMENTATION_FILE, IMAGE_FILE = "report.dcm", "segmentation.dcm", "image.dcm"
SEGMENTATION_SERIES, REPORT_SERIES = 6998, 6999  # numbers of the series; confirmed labels have 7000 and more
SEGMENTATION = "segmentation"


@dataclass(frozen=True)
class ReportWriter:
    """Writes ``report.dcm`` and what it refers to into a case's folder (``CaseWriter`` of ``fetaliqa.batch``).

    Attributes:
        name: of what it writes, on the command line.
        files: that it may write.
    """

    name: str = "sr"
    files: tuple[str, ...] = (REPORT_FILE, SEGMENTATION_FILE, IMAGE_FILE)

    def check_model(self, model: dict[str, Any]) -> None:
        """Check that reports can be made with a model, and with what is installed.

        Args:
            model: its description, as in a record.

        Raises:
            OptionError: when they cannot.
        """
        require_extra("export", "--format sr", {"highdicom": "highdicom"})
        if model["task"] != SEGMENTATION:
            raise OptionError(
                f"--format sr reports outlines, and {model['name']} draws none; give a segmentation model"
            )

    def check_input(self, path: Path) -> None:
        """Check the headers of a case that is DICOM.

        Raises:
            SweepError: when one names no patient, lacks what a report refers to, or cannot be read.
        """
        _headers(path)

    def write(self, folder: Path, path: Path, result: AssessmentResult) -> str | None:
        """Write the report of a case.

        Args:
            folder: where to.
            path: the case, a file or a folder of frames.
            result: its assessment.

        Returns:
            None, or a sentence on why there is nothing to report.

        Raises:
            FetalIQAError: when the image cannot be referred to.
            OSError: when the disk does not take it.
        """
        from fetaliqa.export.report.report_document import ReportOrigin, measurement_report

        record = result.assessment
        frames = _reported(record)
        if not frames:
            return f"no report: {record['reason'] or 'no frame has an outline'}"
        algorithm = Algorithm(
            AUTOMATIC,
            line_of(record["model"]["name"]) or NOT_STATED,
            line_of(str(record["model"]["version"])) or NOT_STATED,
        )
        places, segmentation = _evidence(folder, path, result, frames, algorithm)
        content = _content(result, frames, places, algorithm)
        made = datetime.now(UTC)
        key = tuple(str(place.image.SOPInstanceUID) for place in places.values())
        origin = ReportOrigin(
            key=("assessed", *key, made.isoformat()),
            series_number=REPORT_SERIES,
            series_description="FetalIQA measurement report, not confirmed",
            made=made,
        )
        save_dicom(measurement_report(content, origin, (segmentation,)), folder / REPORT_FILE)
        return None


def _headers(path: Path) -> list[Dataset]:
    """Headers of a case's DICOM images, in the order of the frames; none of a case that is not DICOM."""
    headers: list[Dataset] = []
    for file in dicom_files_of(path):
        try:
            header = dcmread(file, stop_before_pixels=True)
        except DAMAGE_ERRORS as error:
            raise SweepError(
                f"{file.name}: its DICOM header is damaged ({reason_of(error)}); export it again"
            ) from None
        check_reportable(header, file.name)
        headers.append(header)
    return headers


def _reported(record: dict[str, Any]) -> list[int]:
    """Frames of the report: those that the measurement was taken from, and the ranked ones."""
    measured = (record.get("measurement") or {}).get("frames", ())
    frames = record["frames"]
    return sorted(one for one in {*measured, *record["ranking"]} if frames[one].get("area_px"))


def _evidence(
    folder: Path, path: Path, result: AssessmentResult, frames: list[int], algorithm: Algorithm
) -> tuple[dict[int, FrameOfImage], Dataset]:
    """Where each reported frame is, and the segmentation."""
    headers = _headers(path)
    if not headers:
        image = write_cine(folder / IMAGE_FILE, _export_case(result), frames)
        places = {frame: FrameOfImage.of(image, place) for place, frame in enumerate(frames)}
        masks = result.masks[frames]
        return places, _segmentation(folder, [image], masks, list(range(len(frames))), result, algorithm)
    places = {frame: FrameOfImage.among(headers, frame) for frame in frames}
    return places, _segmentation(folder, headers, result.masks, frames, result, algorithm)


def _export_case(result: AssessmentResult) -> ExportCase:
    sweep, record = result.sweep, result.assessment
    return ExportCase(
        case_id=record["case_id"],
        subject_id=record["case_id"],
        frames=sweep.frames,
        masks=result.masks,
        entries={},
        spacing=None if record["spacing_mm"] is None else (record["spacing_mm"][0], record["spacing_mm"][1]),
        ranges=sweep.ranges,
        grid=sweep.grid,
    )


def _segmentation(
    folder: Path,
    images: list[Dataset],
    masks: np.ndarray,
    frames: list[int],
    result: AssessmentResult,
    algorithm: Algorithm,
) -> Dataset:
    anatomy = anatomy_named(result.assessment["model"]["anatomy"])
    names = [str(image.SOPInstanceUID) for image in images]
    instance = uid("assessed segmentation", *names, algorithm, masks[frames].tobytes())
    origin = Origin(
        instance=instance,
        series=uid("assessed segmentation series", instance),
        series_number=SEGMENTATION_SERIES,
        series_description="FetalIQA outlines, not confirmed",
        description="proposed by a model, not confirmed",
        made=datetime.now(UTC),
    )
    segmentation = segmentation_of_images(
        images, masks, dict.fromkeys(frames, algorithm), {1: anatomy.name}, anatomy, origin
    )
    save_dicom(segmentation, folder / SEGMENTATION_FILE)
    return segmentation


def _content(
    result: AssessmentResult, frames: list[int], places: dict[int, FrameOfImage], algorithm: Algorithm
) -> ReportContent:
    record = result.assessment
    anatomy = anatomy_named(record["model"]["anatomy"])
    outlined = {}
    for frame in frames:
        found = FrameAssessment.from_record(record["frames"][frame])
        line, length = getattr(found, "line", None), getattr(found, "length_mm", None)  # of a femur
        outlined[frame] = OutlinedFrame(
            name=name_of(places[frame], frame),
            place=places[frame],
            mask=result.masks[frame],
            ellipse=found.ellipse,
            line=None if line is None else line.ends(),
            size_mm=found.circumference_mm if length is None else length,
            interval_mm=found.circumference_interval_mm,
            area_mm2=found.area_mm2,
            axes_mm=axes_of(record["frames"][frame]),
            remarks=tuple(
                text
                for text in (
                    f"frame {frame} of {record['case_id']}, counted from 0",
                    found.circumference_absent or getattr(found, "length_absent", None),
                    found.warning,
                )
                if text
            ),
            algorithm=algorithm,
        )
    measurement = record.get("measurement")
    measured = [outlined[frame] for frame in (measurement or {}).get("frames", ()) if frame in outlined]
    return ReportContent(
        anatomy=anatomy,
        frames=[outlined[frame] for frame in frames],
        measurement=measurement,
        growth=record.get("growth"),
        measured=measured,
    )
