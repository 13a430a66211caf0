"""Import of labels as label versions with a frame record; conflicts are reported, nothing is overwritten."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from fetaliqa.errors import FetalIQAError, LabelError, NotFoundError
from fetaliqa.export.incoming import Incoming, IncomingFrame, LeftOut
from fetaliqa.labels import FrameLabel, FrameRecord, LabelStore
from fetaliqa.labels.label_store import FOLDER
from fetaliqa.labels.label_version import LabelVersion, pixels_sha256
from fetaliqa.labels.studies_folder import FINAL, INDEX, find_images, is_studies
from fetaliqa.sweep import Sweep, case_id_of, read_sweep, write_masks
from fetaliqa.sweep.case_paths import by_case, expand_cases

MASK_NAME = "mask.nii.gz"


@dataclass
class ImportedCase:
    """Result of the import of a case; lists of frame numbers.

    Attributes:
        case_id: name.
        version: that was saved; None when nothing was.
        added: frames without a label, or with a proposal only.
        same: frames whose label is equal already.
        conflicts: frames with a different label; with any, nothing of the case is saved.
        problem: why the case could not be imported.
        left_out: what is not imported, and which outlines were joined.
    """

    case_id: str
    version: int | None = None
    added: list[int] = field(default_factory=list)
    same: list[int] = field(default_factory=list)
    conflicts: list[int] = field(default_factory=list)
    problem: str | None = None
    left_out: LeftOut = field(default_factory=LeftOut)


def studied_images(folder: Path) -> dict[str, Path]:
    """Images of a folder that a server can serve.

    Raises:
        NotFoundError: when there is no such folder.
        LabelError: when it is a plain folder of images and labels, which has no versions, or two images have one
            name.
    """
    if not folder.is_dir():
        raise NotFoundError(f"{folder}: no such folder; check the path")
    if (folder / INDEX).is_file():
        return find_images(folder)
    if is_studies(folder):
        raise LabelError(
            f"{folder}: a plain folder of images and labels keeps no versions; import into the folder of images "
            "that the server serves"
        )
    return by_case(expand_cases(folder))


def import_labels(
    folder: Path,
    incoming: Incoming,
    rater: str,
    *,
    tag: str | None = None,
    empty: bool = False,
    about: dict[str, Any] | None = None,
    dry_run: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[ImportedCase]:
    """Save imported labels as versions.

    Args:
        folder: studies of a server.
        incoming: the labels.
        rater: who made them.
        tag: tag to save to; None: the rater's own.
        empty: whether frames without an outline were reviewed, so that they become ``empty``.
        about: stored in the version's info.
        dry_run: whether to save nothing.
        progress: called with cases done and cases in all.

    Returns:
        The result of each case, by name.

    Raises:
        FetalIQAError: when the folder cannot be used. Errors of a single case are in its ``problem``.
    """
    images, store = studied_images(Path(folder)), LabelStore(Path(folder) / FOLDER)
    results, names = [], incoming.cases()
    for done, case_id in enumerate(names, start=1):
        result = ImportedCase(case_id)
        results.append(result)
        try:
            if case_id not in images:
                raise NotFoundError(
                    f"{case_id}: no such case in {folder}; its images must be there first; else give --case or "
                    "--pattern"
                )
            _Case(store, case_id, images[case_id], tag or rater, folder).take(
                result, incoming, rater, empty, about or {}, dry_run
            )
        except FetalIQAError as problem:
            result.problem = str(problem)
        if progress is not None:
            progress(done, len(names))
    return results


class _Case:
    def __init__(self, store: LabelStore, case_id: str, image: Path, tag: str, folder: Path) -> None:
        self.store, self.case_id, self.tag = store, case_id, tag
        self.sweep: Sweep = read_sweep(image)
        self.pixels = pixels_sha256(self.sweep.frames)
        self.base = store.latest(case_id, tag)
        self.current = store.current(case_id, tag)
        if self.current is None and tag == FINAL and self._has_older_label(folder):
            raise LabelError(
                f"{case_id}: its final label was saved before there were versions; start the server on the folder "
                "once, or import with another --tag"
            )

    def take(
        self, result: ImportedCase, incoming: Incoming, rater: str, empty: bool, about: dict[str, Any], dry: bool
    ) -> None:
        """Compare, and save if there is no conflict and a new label."""
        masks, record = self._present()
        record_frames = dict(record.frames)
        now = datetime.now(UTC).isoformat(timespec="seconds")
        labels = incoming.read(self.case_id, self.sweep)
        result.left_out = labels.left_out
        for frame, incoming_frame in labels.frames.items():
            if not incoming_frame.mask.any() and not empty:
                continue
            if self.sweep.padding[frame]:
                if incoming_frame.mask.any():
                    raise LabelError(f"{self.case_id}: frame {frame} is black, but has an outline")
                continue
            label = _label_of(incoming_frame, rater, now)
            old = record_frames.get(frame)
            if old is not None and not (label.known and not old.known):
                same = _labels_agree(old, masks[frame], label, incoming_frame.mask)
                (result.same if same or (old.known and not label.known) else result.conflicts).append(frame)
                continue
            record_frames[frame], masks[frame] = label, incoming_frame.mask
            result.added.append(frame)
        if result.conflicts or not result.added or dry:
            return
        result.version = self._save(masks, FrameRecord(record_frames), rater, about).version

    def _present(self) -> tuple[np.ndarray, FrameRecord]:
        """Masks and record of the current label; empty ones without a label."""
        if self.current is None:
            return np.zeros(self.sweep.shape, np.uint8), FrameRecord()
        if self.current.image not in (None, self.pixels):
            raise LabelError(f"{self.case_id}, {self.tag}: its label was made for other pixels; use another --tag")
        if self.current.record is None:
            raise LabelError(
                f"{self.case_id}, {self.tag}: its label has no frame record to compare with; use another --tag"
            )
        return self.current.masks(self.sweep), self.current.record

    def _has_older_label(self, folder: Path) -> bool:
        labels = folder / "labels" / FINAL
        return labels.is_dir() and any(case_id_of(file) == self.case_id for file in labels.iterdir())

    def _save(self, masks: np.ndarray, record: FrameRecord, rater: str, about: dict[str, Any]) -> LabelVersion:
        with tempfile.TemporaryDirectory() as temporary:
            path = Path(temporary) / MASK_NAME
            if masks.any():
                write_masks(path, masks, self.sweep)
            return self.store.save(
                self.case_id,
                self.tag,
                path if masks.any() else None,
                record,
                {"user": rater, "imported": about},
                image=self.pixels,
                based_on=self.base,
            )


def _label_of(incoming_frame: IncomingFrame, rater: str, now: str) -> FrameLabel:
    if incoming_frame.proposed:
        return FrameLabel("proposed", incoming_frame.plane, None, now)
    return FrameLabel("annotated" if incoming_frame.mask.any() else "empty", incoming_frame.plane, rater, now)


def _labels_agree(old: FrameLabel, old_mask: np.ndarray, new: FrameLabel, new_mask: np.ndarray) -> bool:
    """Whether two labels agree; a missing grade counts as agreement."""
    grades = {old.plane, new.plane} - {None}
    return old.state == new.state and len(grades) < 2 and np.array_equal(old_mask > 0, new_mask > 0)
