"""Sends final labels to the archive, each as a DICOM segmentation of its cine and a measurement report (SR).

There is no queue that a crash could lose: the catalog lists what was sent, and all other versions of labels are
pending. As in training, only frames that somebody confirmed are sent.
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
from monailabel_app.lib.dicomweb.archive_client import Archive, ArchiveUnavailable
from monailabel_app.lib.dicomweb.copies_catalog import Catalog
from monailabel_app.lib.dicomweb.label_report import label_report

logger = logging.getLogger(__name__)
FINAL = DefaultLabelTag.FINAL.value


class LabelUpload:
    """Sends final labels that the archive does not have yet.

    Args:
        archive: the destination.
        catalog: of copied cines and sent labels.
        labels: the labels.
        anatomy: what labels outline; called at each transfer.
    """

    def __init__(
        self, archive: Archive, catalog: Catalog, labels: LabelStore, anatomy: Callable[[], Anatomy]
    ) -> None:
        self._archive, self._catalog, self._labels, self._anatomy = archive, catalog, labels, anatomy

    def pending(self) -> dict[str, int]:
        """Version of the final label that is to be sent, by image."""
        return {name: number for name, number in self._unsent().items() if self._is_pending(name, number)}

    def _unsent(self) -> dict[str, int]:
        """Version of the final label that the catalog does not list, by image."""
        content = self._catalog.read()
        latest = {name: self._labels.latest(name, FINAL) for name in content.cines}
        return {
            name: version
            for name, version in sorted(latest.items())
            if version > content.sent.get(name, {"version": 0})["version"]
        }

    def _is_pending(self, image_id: str, number: int) -> bool:
        try:
            version = self._labels.version(image_id, FINAL, number)
        except LabelDamaged:
            return True  # until an earlier one is restored; sending reports it
        return not version.returned and not _is_empty(version)

    def run(self) -> list[str]:
        """Send pending labels; returns one sentence for each that could not be sent.

        Raises:
            ArchiveError: when the archive does not answer.
            OSError: when the file cannot be written.
        """
        problems = []
        for image_id, number in self._unsent().items():
            try:
                version = self._labels.version(image_id, FINAL, number)
                if version.returned:
                    continue  # changes requested; may be accepted yet
                objects = [] if _is_empty(version) else self._objects(version)
                for one in objects:
                    self._archive.store(one)
            except ArchiveUnavailable:
                raise
            except FetalIQAError as problem:
                problems.append(f"label {FINAL} of {image_id}, version {number}, could not be sent: {problem}")
                continue
            self._note_sent(image_id, number, objects)
        return problems

    def _note_sent(self, image_id: str, number: int, objects: list[Dataset]) -> None:
        entry: dict[str, Any] = {"version": number, "series": None, "instance": None, "report": None}
        if objects:
            entry["series"] = str(objects[0].SeriesInstanceUID)
            entry["instance"] = str(objects[0].SOPInstanceUID)
            entry["report"] = str(objects[1].SOPInstanceUID) if len(objects) > 1 else None
            logger.info("label %s of %s, version %d, was sent to the archive", FINAL, image_id, number)
        with self._catalog.changing() as content:
            content.sent[image_id] = entry

    def _objects(self, version: LabelVersion) -> list[Dataset]:
        """The segmentation of a version, and the report of its outlines if there are any.

        None of both when record and mask contradict each other in all frames.
        """
        assert version.record is not None
        copy = self._catalog.copy_of(version.case)
        try:
            header = dcmread(copy, stop_before_pixels=True)
            shape = int(header.get("NumberOfFrames") or 1), int(header.Rows), int(header.Columns)
        except (ValueError, AttributeError, EOFError, LookupError) as problem:
            raise FetalIQAError(f"its copy {version.case}.dcm is damaged ({type(problem).__name__})") from None
        masks = np.zeros(shape, np.uint8)
        if version.mask is not None:
            masks = to_labels(open_image(version.mask).pixels, version.mask.name)
        masks, frames = confirmed(masks, version.record)
        if not frames:
            return []
        anatomy = self._anatomy()
        segmentation = cine_segmentation(header, masks, frames, anatomy, _authorship(version, frames))
        try:
            report = label_report(version, copy, header, masks, frames, anatomy, segmentation)
        except FetalIQAError as problem:  # the outlines are worth more than their sizes
            logger.warning(
                "label %s of %s, version %d, has no report: %s", FINAL, version.case, version.version, problem
            )
            report = None
        return [segmentation] if report is None else [segmentation, report]


def confirmed(masks: np.ndarray, record: FrameRecord) -> tuple[np.ndarray, list[int]]:
    """Masks with the plane's grade as their value, and the frames that somebody confirmed.

    Frames whose mask and record contradict each other are left out, as in ``Studies``.

    Args:
        masks: uint8 [T, H, W] labels as saved.
        record: state of the frames.

    Raises:
        LabelError: when the record names a frame that does not exist.
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


def _is_empty(version: LabelVersion) -> bool:
    """Whether a version will never be sent: it removed the label, or confirms no frame.

    Without a record no frame is confirmed: the mask may be a model's, submitted unchanged.
    """
    return version.removed or version.record is None or not version.record.known()


def _authorship(version: LabelVersion, frames: list[int]) -> Authorship:
    assert version.record is not None
    labels = [version.record.frames[frame] for frame in frames]
    raters = sorted({label.rater for label in labels if label.rater})
    models = sorted({f"{label.model} {label.model_version or ''}".strip() for label in labels if label.model})
    return Authorship(
        label=version.tag,
        version=version.version,
        saved=datetime.fromisoformat(version.saved),
        creator=", ".join(raters) or version.info.get("user"),
        model=", ".join(models) or None,
    )
