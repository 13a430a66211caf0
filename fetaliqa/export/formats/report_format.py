"""Writer of measurement reports: a cine of each case, its segmentation, and a report that refers to its frames."""

from __future__ import annotations

from typing import Any

from fetaliqa.export.dicom_files import save_dicom
from fetaliqa.export.dicom_review_state import algorithm_of
from fetaliqa.export.export_case import ExportCase
from fetaliqa.export.formats.dicom_format import DicomCineWriter
from fetaliqa.export.formats.format_writer import ExportContext
from fetaliqa.export.manifest import Place
from fetaliqa.export.report.labelled_report import LabelledFrame, labelled_content
from fetaliqa.export.sector_blanking import sector_of

REPORT_NOTE = "reports/CASE.dcm refers to frames of images/CASE.dcm; a case without an outline has none"
REPORTS = 3  # number of their series; the images' is 1, the segmentations' 2


class DicomReportWriter(DicomCineWriter):
    """As ``dicom-cine``, and ``reports/CASE.dcm`` where there is an outline."""

    name = "sr"
    modules = {"highdicom": "highdicom"}  # noqa: RUF012 - read only

    def __init__(self, context: ExportContext) -> None:
        super().__init__(context)
        (context.root / "reports").mkdir(exist_ok=True)

    def write_case(self, case: ExportCase) -> dict[int, Place]:
        places = super().write_case(case)
        frames = list(case.entries)
        labels = {place: _label(case, frame) for place, frame in enumerate(frames)}
        masks = case.masks[frames]
        content = labelled_content(self.cine, masks, labels, case.anatomy, sector_of(case))
        if content is not None:
            from fetaliqa.export.report.report_document import ReportOrigin, measurement_report

            instance = self.segmentation.SOPInstanceUID  # of the same pixels, masks and labels
            origin = ReportOrigin(
                ("exported", str(instance), labels), REPORTS, "measurements of the exported frames"
            )
            report = measurement_report(content, origin, [self.segmentation])
            save_dicom(report, self.context.root / "reports" / f"{case.stem}.dcm")
        return places

    def finish(self, about: dict[str, Any]) -> None:
        super().finish(about)
        self.context.notes.append(REPORT_NOTE)


def _label(case: ExportCase, frame: int) -> LabelledFrame:
    entry = case.entries[frame]
    algorithm = algorithm_of(entry)
    return LabelledFrame(
        name=f"frame {frame} of {case.case_id}, counted from 0",
        rater=entry.rater if algorithm.confirmed else None,
        plane=entry.plane,
        algorithm=algorithm,
        warning=entry.warning,
    )
