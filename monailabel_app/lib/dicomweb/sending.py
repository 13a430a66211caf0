"""Final labels on their way into the archive, each as a DICOM segmentation of its cine.

There is no list of what waits that a kill could lose: what was sent is written down, and the versions of the
labels say the rest, whoever made them. As in training, a frame that nobody is known to have looked at is not sent.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Any

import numpy as np
from monailabel.interfaces.datastore import DefaultLabelTag
from pydicom import dcmread
from pydicom.dataset import Dataset

from fetaliqa.errors import FetalIQAError, LabelDamaged, LabelError
from fetaliqa.export.cine_segmentation import Authorship, cine_segmentation
from fetaliqa.labels import FrameRecord, LabelStore, LabelVersion
from fetaliqa.measure.anatomy import Anatomy
from fetaliqa.sweep.pixel_conversion import to_labels
from fetaliqa.sweep.sweep_reader import open_image
from monailabel_app.lib.dicomweb.archive import Archive, ArchiveSilent
from monailabel_app.lib.dicomweb.catalog import Catalog

logger = logging.getLogger(__name__)
FINAL = DefaultLabelTag.FINAL.value


class Sending:
    """Sends what the archive does not have yet.

    Args:
        archive: where to.
        catalog: which image is which cine, and what was sent.
        labels: the labels.
        anatomy: what is outlined, when it is asked for.
    """

    def __init__(
        self, archive: Archive, catalog: Catalog, labels: LabelStore, anatomy: Callable[[], Anatomy]
    ) -> None:
        self._archive, self._catalog, self._labels, self._anatomy = archive, catalog, labels, anatomy

    def waiting(self) -> dict[str, int]:
        """Version of the final label, by image, that the archive is to get and does not have yet."""
        return {name: number for name, number in self._unsent().items() if self._wanted(name, number)}

    def _unsent(self) -> dict[str, int]:
        """Version of the final label, by image, of which nothing was written down."""
        known = self._catalog.read()
        latest = {name: self._labels.latest(name, FINAL) for name in known.cines}
        return {
            name: version
            for name, version in sorted(latest.items())
            if version > known.sent.get(name, {"version": 0})["version"]
        }

    def _wanted(self, image_id: str, number: int) -> bool:
        try:
            version = self._labels.version(image_id, FINAL, number)
        except LabelDamaged:
            return True  # until an earlier one is restored; sending says so
        return not version.returned and not _nothing_in(version)

    def send(self) -> list[str]:
        """Send the final labels that wait; returns what did not go, one sentence each.

        Raises:
            ArchiveError: when the archive does not answer.
            OSError: when the disk does not take it.
        """
        problems = []
        for image_id, number in self._unsent().items():
            try:
                version = self._labels.version(image_id, FINAL, number)
                if version.returned:
                    continue  # may be accepted yet
                segmentation = None if _nothing_in(version) else self._segmentation(version)
                if segmentation is not None:
                    self._archive.store(segmentation)
            except ArchiveSilent:
                raise
            except FetalIQAError as problem:
                problems.append(f"label {FINAL} of {image_id}, version {number}, is not in the archive: {problem}")
                continue
            self._sent(image_id, number, segmentation)
        return problems

    def _sent(self, image_id: str, number: int, segmentation: Dataset | None) -> None:
        there: dict[str, Any] = {"version": number, "series": None, "instance": None}
        if segmentation is not None:
            there["series"] = str(segmentation.SeriesInstanceUID)
            there["instance"] = str(segmentation.SOPInstanceUID)
            logger.info("label %s of %s, version %d, is in the archive", FINAL, image_id, number)
        with self._catalog.changing() as known:
            known.sent[image_id] = there

    def _segmentation(self, version: LabelVersion) -> Dataset | None:
        """The segmentation of a version; None when record and mask contradict each other in all frames."""
        assert version.record is not None
        try:
            header = dcmread(self._catalog.copy_of(version.case), stop_before_pixels=True)
            shape = int(header.get("NumberOfFrames") or 1), int(header.Rows), int(header.Columns)
        except (ValueError, AttributeError, EOFError, LookupError) as problem:
            raise FetalIQAError(f"its copy {version.case}.dcm is damaged ({type(problem).__name__})") from None
        masks = np.zeros(shape, np.uint8)
        if version.mask is not None:
            masks = to_labels(open_image(version.mask).pixels, version.mask.name)
        masks, frames = confirmed(masks, version.record)
        if not frames:
            return None
        return cine_segmentation(header, masks, frames, self._anatomy(), _authorship(version, frames))


def confirmed(masks: np.ndarray, record: FrameRecord) -> tuple[np.ndarray, list[int]]:
    """Masks with the plane's grade as their value, and the frames that somebody looked at.

    Frames of which mask and record say different things are left out, as ``Studies`` leaves them out.

    Args:
        masks: uint8 [T, H, W] labels as saved.
        record: what is said of the frames.

    Raises:
        LabelError: when the record names a frame that is not there.
    """
    masks, frames = masks.copy(), []
    for frame in record.known():
        if frame >= len(masks):
            raise LabelError(f"its record names frame {frame}; its frames are 0 to {len(masks) - 1}")
        label = record.frames[frame]
        if label.contradicts(bool(masks[frame].any())):
            continue
        frames.append(frame)
        if label.label is not None:
            masks[frame] = (masks[frame] > 0) * np.uint8(label.label)
    return masks, frames


def _nothing_in(version: LabelVersion) -> bool:
    """Whether there is nothing of a version to send, now and ever: it ended the label, or confirms no frame.

    Without a record none is confirmed: the mask may be a model's, submitted as it came.
    """
    return version.removed or version.record is None or not version.record.known()


def _authorship(version: LabelVersion, frames: list[int]) -> Authorship:
    assert version.record is not None
    said = [version.record.frames[frame] for frame in frames]
    raters = sorted({label.rater for label in said if label.rater})
    models = sorted({f"{label.model} {label.model_version or ''}".strip() for label in said if label.model})
    return Authorship(
        label=version.tag,
        version=version.version,
        saved=datetime.fromisoformat(version.saved),
        creator=", ".join(raters) or version.info.get("user"),
        model=", ".join(models) or None,
    )
