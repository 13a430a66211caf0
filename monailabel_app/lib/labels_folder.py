"""Saving labels of a studies folder: every one a version, checked before it is one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from fetaliqa.active.frame_profiles import source_of
from fetaliqa.errors import LabelConflict, LabelDamaged, LabelError
from fetaliqa.inference.case_result import AssessmentResult
from fetaliqa.labels import FrameRecord, LabelVersion
from fetaliqa.labels.changed_frames import KEY as COMPARED
from fetaliqa.labels.confirmation import KEY as CONFIRMED
from fetaliqa.labels.confirmation import confirm
from fetaliqa.labels.frame_record import KEY
from fetaliqa.labels.label_version import pixels_sha256
from fetaliqa.labels.served_masks import Ledger, Proposal, frame_digests
from fetaliqa.measure.anatomy import ABDOMEN, Anatomy
from fetaliqa.sweep import MASK_SUFFIXES, read_masks, read_sweep, write_masks
from monailabel_app.lib.comparison import Comparison
from monailabel_app.lib.label_info import check_record, plain, record_of
from monailabel_app.lib.received import LABEL_SUFFIXES, check_self_contained, suffix_of
from monailabel_app.lib.received_label import read_received
from monailabel_app.lib.refusal import Refused, as_refusal
from monailabel_app.lib.scratch import scratch
from monailabel_app.lib.shown_labels import PROPOSALS, ShownLabels, tag_of

logger = logging.getLogger(__name__)
LEFT_OUT = "left_out"  # in a label's info: the classes that its file had beside the anatomy
MAX_NOTED = 10_000  # entries of 200 bytes


@dataclass(frozen=True)
class _Label:
    """A label that is about to be saved: its file and masks, its record if it has one, its image's pixels."""

    file: Path
    masks: np.ndarray
    record: FrameRecord | None
    pixels: str


class LabelsFolder(ShownLabels):
    """A folder of sweeps with an index, and labels in versions.

    Args:
        studies: the folder.
        images: folder of the images in it.
        max_file_bytes: largest file stored on a client's behalf.
        auto_reload, read_only: see ``LockedIndex``.
    """

    def __init__(
        self, studies: str, images: str, *, max_file_bytes: int, auto_reload: bool, read_only: bool
    ) -> None:
        self._max_file_bytes = max_file_bytes
        super().__init__(studies, images, auto_reload=auto_reload, read_only=read_only)
        self.anatomy: Callable[[], Anatomy] = lambda: ABDOMEN  # what labels outline; the app knows its model's
        self.handed_out = Ledger(self.labels.folder)
        self._noted: set[tuple[Any, ...]] = set()  # what is in the ledger already

    def _check_not_read_only(self) -> None:
        if self._read_only:
            raise Refused(403, "the studies folder is open for reading only in this process")

    def _check_writable(self, path: Path) -> None:
        self._check_not_read_only()
        if path.stat().st_size > self._max_file_bytes:
            raise Refused(
                413,
                f"{path.name}: larger than the limit of {self._max_file_bytes // 1024**2} MiB; see max_upload_mb",
            )

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any] | None
    ) -> str:
        """Store a mask stack on the image's own grid under a tag, as the next version of that label.

        Args:
            image_id: of the image.
            label_filename: file with the masks.
            label_tag: rater, or ``final``.
            label_info: kept with the label. ``frame_record`` says what is known of each frame (docs/server.md);
                ``based_on`` is the version that the writer had before them, 0 for none.

        Raises:
            Refused: 400 for a bad id, tag or record, or a file that is no mask on the grid, 404 for an unknown
                image, 409 when the label was changed since the version that it is based on or has a frame record
                where this one has none, 413 when too large, 507 when the disk does not take it.
        """
        self.save_version(image_id, label_filename, label_tag, label_info)
        return image_id

    def save_version(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any] | None
    ) -> LabelVersion:
        """As ``save_label``; returns the version.

        A model's proposal (tag ``original``) is no annotation: only the newest is kept, as version 0.
        """
        tag = tag_of(label_tag)
        received = Path(label_filename)
        if suffix_of(received.name, LABEL_SUFFIXES) is None:
            raise Refused(400, f"label of {image_id}: the suffix must be one of {', '.join(LABEL_SUFFIXES)}")
        self._check_writable(received)
        check_self_contained(received)
        image = self.image_path(image_id)
        seen = source_of(image)
        with scratch.folder() as folder:
            with as_refusal():
                info = _without_ours(plain(label_info or {}))
                based_on = _based_on(info)
                label = self._read_label(image_id, image, received, info, folder)
                compared = None
                if label.record is None and tag != PROPOSALS:
                    compared = Comparison(self, image_id, tag, label.masks, (seen,), label.pixels, info)
            with self._locked(), as_refusal():
                self._check_same(image_id, image, seen)
                if tag == PROPOSALS:
                    now = datetime.now(UTC).isoformat(timespec="seconds")
                    version = LabelVersion(image_id, tag, 0, now, label.file, None, label.record, info)
                    self._show(version)
                    self._update_datastore_file()
                    return version
                self._adopt(image_id, tag)
                record = label.record
                if compared is not None:
                    if based_on in (None, self.labels.latest(image_id, tag)):  # else it is a conflict
                        self._check_no_record(image_id, tag)
                    record, info = compared.record(), compared.info()
                version = self.labels.save(
                    image_id, tag, label.file, record, info, image=label.pixels, based_on=based_on
                )
                self._shown(version)
        return version

    def _read_label(
        self, image_id: str, image: Path, received: Path, info: dict[str, Any], folder: Path
    ) -> _Label:
        """What a client sent; where that is not on the image's own grid it is written again, into ``folder``."""
        sweep = read_sweep(image)
        found = read_received(received, f"label of {image_id}", sweep, self.anatomy(), _classes(info))
        file = received
        if not found.as_sent:
            file = folder / f"label{suffix_of(received.name, MASK_SUFFIXES) or '.nii.gz'}"
            write_masks(file, found.masks, sweep)
        if found.left_out:
            info[LEFT_OUT] = list(found.left_out)
        record = record_of(image_id, info, len(found.masks))
        check_record(image_id, record, found.masks)
        return _Label(file, found.masks, record, pixels_sha256(sweep.frames))

    def _masks(self, image: Path, file: Path) -> tuple[np.ndarray, str]:
        """Masks of a label that is here, and which pixels its image has."""
        sweep = read_sweep(image)
        return read_masks(file, sweep, by_size=True), pixels_sha256(sweep.frames)

    def _check_same(self, image_id: str, image: Path, seen: str) -> None:
        """Refuse to label an image that was replaced since it was read."""
        there = image_id in self._datastore.objects and image.exists()
        if not there or source_of(image) != seen:
            raise Refused(404, f"image {image_id}: it was removed or replaced meanwhile; load it again")

    def _check_no_record(self, image_id: str, tag: str) -> None:
        """Refuse to put a label that does not say what was looked at in the place of one that does.

        Nothing of the new one could train, and what was confirmed before would not train any more.
        """
        try:
            held = self.labels.current(image_id, tag)
        except LabelDamaged:
            return
        if held is not None and held.record is not None and COMPARED not in held.info:
            raise LabelConflict(
                f"label {tag} of {image_id}: version {held.version} says who looked at which frames, and this "
                "save does not; send a frame_record along, or save under another tag"
            )

    def restore_label(self, image_id: str, label_tag: str, version: int, info: dict[str, Any]) -> LabelVersion:
        """Make an earlier version of a label the label again, as a new version.

        Raises:
            Refused: 404 when there is no such image or version, 400 when that version removed the label or is of
                another image.
        """
        return self._renewed(image_id, tag_of(label_tag), version, None, info)

    def pick_label(
        self, image_id: str, label_tag: str, version: int, final: str, info: dict[str, Any]
    ) -> LabelVersion:
        """Make one rater's version the label of tag ``final``, and accept it.

        Raises:
            Refused: as ``restore_label``.
        """
        return self._renewed(image_id, tag_of(label_tag), version, tag_of(final), info)

    def _renewed(
        self, image_id: str, tag: str, version: int, final: str | None, info: dict[str, Any]
    ) -> LabelVersion:
        self._check_not_read_only()
        image = self.image_path(image_id)
        seen = source_of(image)
        with as_refusal():
            old = self.labels.version(image_id, tag, version)
            if old.mask is not None:
                pixels = self._masks(image, old.mask)[1]
                if old.image not in (None, pixels):
                    raise LabelError(
                        f"{image_id}, {tag}: version {version} was made for other pixels than the image has"
                    )
        with self._locked(), as_refusal():
            self._check_same(image_id, image, seen)
            self._adopt(image_id, final or tag)
            if final is None:
                found = self.labels.restore(image_id, tag, version, plain(info))
            else:
                found = self.labels.pick(image_id, tag, version, final, str(info.get("user") or "unknown"))
            self._shown(found)
        return found

    def confirm_label(
        self, image_id: str, label_tag: str, version: int | None, reviewer: str, frames: list[int] | None = None
    ) -> LabelVersion:
        """Confirm proposed frames of a label as a new version, see ``fetaliqa.labels.confirmation``.

        Raises:
            Refused: 404 when there is no such image or version, 409 when another was saved meanwhile, 400 when
                there is nothing to confirm.
        """
        self._check_not_read_only()
        self.image_path(image_id)
        tag = tag_of(label_tag)
        with self._locked(), as_refusal():
            self._adopt(image_id, tag)
            number = self.labels.latest(image_id, tag) if version is None else version
            found = confirm(self.labels, image_id, tag, number, reviewer, frames)
            self._shown(found)
        return found

    def note_label_sent(self, image_id: str, tag: str, version: int) -> None:
        """Remember that a client downloads a version of a label: what it sends back unchanged is nobody's work."""
        if version and not self._read_only:
            try:
                identity = (source_of(self.image_path(image_id)),)
                self.handed_out.label_received(image_id, identity, tag, version)
            except OSError as problem:
                logger.warning("%s: which labels were downloaded cannot be noted: %s", image_id, problem)

    def note_proposal(self, path: Path, request: Mapping[str, Any], result: AssessmentResult) -> None:
        """Remember that a client is given a model's masks, of an image here or of a file that it sent along."""
        if self._read_only:
            return
        image_id, client = request.get("image_name"), request.get("client_id")
        try:
            identity = (source_of(path),)
            noted = (image_id, identity, result.key, client if isinstance(client, str) else "")
            if noted in self._noted:
                return
            model = result.assessment["model"]
            proposal = Proposal(
                frame_digests(result.mask_frames()), str(model["name"]), str(model["version"]), (noted[3],)
            )
            if image_id is None:
                self.handed_out.pixels_received(pixels_sha256(result.sweep.frames), proposal)
            else:
                self.handed_out.image_received(str(image_id), identity, proposal)
        except OSError as problem:
            logger.warning("%s: what was proposed cannot be noted: %s", image_id or path.name, problem)
            return
        if len(self._noted) >= MAX_NOTED:
            self._noted.clear()
        self._noted.add(noted)

    def review_label(
        self, image_id: str, label_tag: str, version: int, state: str, reviewer: str, comment: str
    ) -> LabelVersion:
        """Say of a version that it is ``accepted``, or ``returned`` with a comment.

        Raises:
            Refused: 404 when there is no such image or version, 400 for another state or a missing comment.
        """
        self._check_not_read_only()
        self.image_path(image_id)
        with as_refusal():
            return self.labels.review(image_id, tag_of(label_tag), version, state, reviewer, comment)

    def remove_label(self, label_id: str, label_tag: str, info: dict[str, Any] | None = None) -> None:
        """End a label; its versions stay.

        Raises:
            Refused: 404 when there is none.
        """
        self._check_not_read_only()
        tag = tag_of(label_tag)
        if not self.has_label(label_id, tag):
            raise Refused(404, f"image {label_id} has no label with tag {tag!r}")
        with self._locked(), as_refusal():
            self._adopt(label_id, tag)
            if self.labels.latest(label_id, tag) == 0:  # a proposal, or its file was taken away by hand
                super().remove_label(label_id, tag)
                self.refresh()
            else:
                self._shown(self.labels.remove(label_id, tag, plain(info or {})))

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        """Add to what is said of a label, as a new version of it.

        Raises:
            Refused: as ``save_label``.
        """
        self._check_not_read_only()
        tag = tag_of(label_tag)
        if not self.has_label(label_id, tag):
            raise Refused(404, f"image {label_id} has no label with tag {tag!r}")
        image = self.image_path(label_id)
        with self._locked(), as_refusal():
            self._adopt(label_id, tag)
            added = _without_ours(plain(info))
            label = self.labels.current(label_id, tag)
            if label is None:
                super().update_label_info(label_id, tag, added)
                return
            based_on = _based_on(added)
            told = {**label.info, **added}
            record: FrameRecord | None = label.record
            if KEY in added and label.mask is not None:
                masks = self._masks(image, label.mask)[0]
                record = record_of(label_id, told, len(masks))
                check_record(label_id, record, masks)
                told.pop(COMPARED, None)  # it is said now
            saved = self.labels.save(label_id, tag, label.mask, record, told, image=label.image, based_on=based_on)
            self._shown(saved)


def _without_ours(info: dict[str, Any]) -> dict[str, Any]:
    """What a client sent, without what only the server says of a label."""
    return {name: value for name, value in info.items() if name not in (COMPARED, LEFT_OUT, CONFIRMED)}


def _classes(info: Mapping[str, Any]) -> Any:
    """The classes that MONAI Label's client tells of a label, there or under its ``params``."""
    parameters = info.get("params")
    return info.get("label_info") or (parameters.get("label_info") if isinstance(parameters, dict) else None)


def _based_on(info: dict[str, Any]) -> int | None:
    """The version that a writer had before them, taken out of what they sent.

    Raises:
        LabelError: when it is no such number.
    """
    based_on = info.pop("based_on", None)
    if based_on is not None and (not isinstance(based_on, int) or isinstance(based_on, bool) or based_on < 0):
        raise LabelError(f"based_on is {based_on!r}; the number of a version, or 0 for none, is needed")
    return based_on
