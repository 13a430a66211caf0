"""The measurement report (DICOM SR) of a final label, for the archive."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from fetaliqa.export.cine_segmentation import SERIES_NUMBER
from fetaliqa.export.dicom_review_state import SEMIAUTOMATIC, Algorithm
from fetaliqa.export.report.labelled_report import LabelledFrame, labelled_content
from fetaliqa.labels import FrameLabel, LabelVersion
from fetaliqa.measure.anatomy import Anatomy
from fetaliqa.measure.field_of_view import field_of_view
from fetaliqa.registry.growth_of_file import growth_of_file
from fetaliqa.sweep import read_sweep

REPORT_NUMBERS = SERIES_NUMBER + 1000  # and the version: series of reports come after those of segmentations


def label_report(
    version: LabelVersion,
    copy: Path,
    header: Dataset,
    masks: np.ndarray,
    frames: Sequence[int],
    anatomy: Anatomy,
    segmentation: Dataset,
) -> Dataset | None:
    """The report of a label version, the same for the same version; None when no frame has an outline.

    Args:
        version: the version; it has a frame record.
        copy: file of the cine.
        header: of the cine; patient and study are taken from it as they are.
        masks: uint8 [T, H, W], T frames of the cine.
        frames: numbers (from 0) of the confirmed frames.
        anatomy: what is outlined.
        segmentation: of the same version.

    Raises:
        SweepError: when the copy cannot be read.
    """
    from fetaliqa.export.report.report_document import ReportOrigin, measurement_report  # imports highdicom

    assert version.record is not None
    drawn = [frame for frame in frames if masks[frame].any()]
    if not drawn:
        return None
    labels = {frame: _label(version, frame, version.record.frames[frame]) for frame in drawn}
    sector = field_of_view(read_sweep(copy).frames)
    content = labelled_content(header, masks, labels, anatomy, sector, partial(growth_of_file, copy))
    if content is None:
        return None
    origin = ReportOrigin(
        key=("label", str(segmentation.SOPInstanceUID)),
        series_number=REPORT_NUMBERS + version.version,
        series_description=f"FetalIQA {version.tag}, version {version.version}, measurements",
        made=datetime.fromisoformat(version.saved),
    )
    return measurement_report(content, origin, [segmentation])


def _label(version: LabelVersion, frame: int, label: FrameLabel) -> LabelledFrame:
    model = Algorithm(SEMIAUTOMATIC, label.model or "", label.model_version or "")
    return LabelledFrame(
        name=f"frame {frame} of {version.case}, counted from 0; {version.tag}, version {version.version}",
        rater=label.rater or version.info.get("user"),
        plane=label.plane,
        algorithm=model if label.model else Algorithm(),
    )
