"""DICOM segmentations of a label version for a DICOM archive: writing, and reading them back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import SegmentationStorage

from fetaliqa.errors import OptionError
from fetaliqa.export.cine_segments import Origin, check_fits, segmentation_of_images
from fetaliqa.export.dicom_parts import MANUFACTURER, uid
from fetaliqa.export.dicom_review_state import AUTOMATIC, SEMIAUTOMATIC, UNCONFIRMED, Algorithm
from fetaliqa.labels.frame_record import PLANES, FrameLabel, FrameRecord
from fetaliqa.measure.anatomy import Anatomy

SERIES_NUMBER = 7000  # and the version: beyond what scanners count to
SUBOPTIMAL = "_suboptimal"  # at the end of a segment's name


@dataclass(frozen=True)
class Authorship:
    """Provenance of a segmentation.

    Attributes:
        label: tag of the label, such as ``final``.
        version: its version; the same version always gives the same file.
        saved: when the version was saved.
        creator: the rater; None when not known.
        model: whose proposals were shown to the rater; None without one.
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
        frames: numbers (from 0) of the reviewed frames. Each is in the segmentation, one without an outline as an
            empty frame.
        anatomy: what is outlined.
        by: provenance.

    Raises:
        OptionError: when the masks are not of the cine's size, or no frame is given.
    """
    check_fits([image], masks, frames)
    instance = uid("cine segmentation", image.SOPInstanceUID, by, masks[frames].tobytes())
    names = {PLANES["optimal"]: anatomy.name, PLANES["suboptimal"]: f"{anatomy.name}{SUBOPTIMAL}"}
    algorithm = Algorithm() if by.model is None else Algorithm(SEMIAUTOMATIC, by.model)
    origin = Origin(
        instance=instance,
        series=uid("cine segmentation series", instance),
        series_number=SERIES_NUMBER + by.version,
        series_description=f"FetalIQA {by.label}, version {by.version}",
        description=f"frames that a person confirmed; {by.label}, version {by.version} of the image's label",
        made=by.saved,
        creator=by.creator,
    )
    return segmentation_of_images([image], masks, dict.fromkeys(frames, algorithm), names, anatomy, origin)


def read_cine_segmentation(dataset: Dataset, shape: tuple[int, int, int]) -> tuple[np.ndarray, FrameRecord]:
    """Masks and frame record of a segmentation that ``cine_segmentation`` made.

    Args:
        dataset: the segmentation.
        shape: (frames, rows, columns) of its cine.

    Returns:
        uint8 [T, H, W] masks as in ``cine_segmentation``, and the frame record. Several named people are joined as
        the rater; a plane that is not suboptimal counts as ungraded. Unconfirmed segments of an export become
        proposals.

    Raises:
        OptionError: when it was made by other software, or is of another cine.
    """
    if dataset.get("Manufacturer") != MANUFACTURER or dataset.get("SOPClassUID") != SegmentationStorage:
        raise OptionError("the segmentation was not made here")
    rater = str(dataset.get("ContentCreatorName") or "").strip("^ ") or None
    try:
        pixels = dataset.pixel_array.reshape(-1, int(dataset.Rows), int(dataset.Columns))
        segments = {int(one.SegmentNumber): one for one in dataset.SegmentSequence}
        masks = np.zeros(shape, np.uint8)
        frames = {}
        for drawn, groups in zip(pixels, dataset.PerFrameFunctionalGroupsSequence, strict=True):
            source = groups.DerivationImageSequence[0].SourceImageSequence[0]
            frame = int(source.get("ReferencedFrameNumber", 1)) - 1
            segment = segments[int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber)]
            suboptimal = segment.SegmentLabel.removesuffix(UNCONFIRMED).endswith(SUBOPTIMAL)
            masks[frame][drawn > 0] = PLANES["suboptimal" if suboptimal else "optimal"]
            frames[frame] = _frame_label(segment, masks[frame], rater)
    except (AttributeError, LookupError, ValueError, TypeError) as problem:
        raise OptionError(f"the segmentation does not fit its cine ({type(problem).__name__})") from None
    return masks, FrameRecord(frames)


def _frame_label(segment: Dataset, mask: np.ndarray, rater: str | None) -> FrameLabel:
    plane = "suboptimal" if mask.max() == PLANES["suboptimal"] else None
    if segment.SegmentAlgorithmType == AUTOMATIC:
        return FrameLabel("proposed", plane, model=segment.get("SegmentAlgorithmName") or None)
    return FrameLabel("annotated" if mask.any() else "empty", plane, rater)
