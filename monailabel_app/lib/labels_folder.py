"""Labels of a studies folder: versions first, and from them what MONAI Label's clients see.

A label is saved as a version of ``fetaliqa.labels.LabelStore``. ``labels/TAG/ID.ext`` and the index, which MONAI
Label's clients read, follow from that, and are made again when a kill or another program left them behind. A label
that another program put there is adopted as a version; no file is removed or replaced that is in no version.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from monailabel.datastore.local import DataModel
from monailabel.interfaces.datastore import DefaultLabelTag

from fetaliqa.atomic import atomic_path
from fetaliqa.errors import FetalIQAError, LabelError
from fetaliqa.labels import FrameRecord, LabelStore, LabelVersion
from fetaliqa.labels.record import KEY
from fetaliqa.labels.store import FOLDER, pixels_sha256
from fetaliqa.sweep import read_masks, read_sweep
from monailabel_app.lib.ids import check_id
from monailabel_app.lib.index import LockedIndex
from monailabel_app.lib.label_info import check_record, plain, record_of, without_record
from monailabel_app.lib.received import LABEL_SUFFIXES, check_self_contained, suffix_of
from monailabel_app.lib.refusal import Refused, as_refusal

logger = logging.getLogger(__name__)
PROPOSALS = DefaultLabelTag.ORIGINAL.value


class LabelsFolder(LockedIndex):
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
        self.labels = LabelStore(Path(studies) / FOLDER)
        super().__init__(studies, images, auto_reload=auto_reload, read_only=read_only)
        if not read_only:
            self.refresh()  # what a killed server saved and did not show

    def refresh(self) -> None:
        with self._locked():
            super().refresh()
            self._follow_all()

    def _index_was_read(self) -> None:
        self._follow_all()

    # -- what clients see follows from the versions -------------------------------------------------

    def _follow_all(self) -> None:
        if self._read_only:
            return
        followed = [
            self._follow(image_id, tag)
            for image_id in self.labels.cases()
            if image_id in self._datastore.objects
            for tag in self.labels.known_tags(image_id)
        ]
        if any(followed):
            self._write_shown()

    def _follow(self, image_id: str, tag: str) -> bool:
        """Make index and mask file of one label say what its versions say; True when the index has to be written.

        The lock is held. What cannot be done now is logged, and tried again the next time.
        """
        latest, label = self.labels.latest(image_id, tag), self._datastore.objects[image_id].labels.get(tag)
        if not latest or (label is not None and label.info.get("version") == latest):
            return False
        try:
            self._adopt(image_id, tag)
            version = self.labels.version(image_id, tag, self.labels.latest(image_id, tag))
            if version.removed and label is None:
                return False
            logger.warning("label %s of %s: made again from version %d", tag, image_id, version.version)
            self._show(version)
        except (FetalIQAError, OSError) as problem:
            logger.error("label %s of %s cannot be shown yet: %s", tag, image_id, problem)
            return False
        return True

    def _show(self, version: LabelVersion) -> None:
        """Put a version where MONAI Label's clients look; the caller writes the index."""
        labels = self._datastore.objects[version.case].labels
        folder = Path(self._datastore.label_path(version.tag))
        previous, name = labels.get(version.tag), None
        if version.mask is not None and not version.removed:
            extension = str(suffix_of(version.mask.name, LABEL_SUFFIXES))
            name = self._filename(version.case, extension)
            with atomic_path(folder / name) as temporary:
                shutil.copyfile(version.mask, temporary)
            saved = int(datetime.fromisoformat(version.saved).timestamp())
            info = {**without_record(version.info), "ts": saved, "name": name, "version": version.version}
            labels[version.tag] = DataModel(info=info, ext=extension)
        else:
            labels.pop(version.tag, None)
        if previous is not None and self._filename(version.case, previous.ext) != name:
            (folder / self._filename(version.case, previous.ext)).unlink(missing_ok=True)

    def _shown(self, version: LabelVersion) -> None:
        """Show a version that is saved; where that fails it is done later, and the version stands."""
        try:
            self._show(version)
        except OSError as problem:
            logger.error("label %s of %s is saved, but not shown yet: %s", version.tag, version.case, problem)
        self._write_shown()

    def _write_shown(self) -> None:
        try:
            self._update_datastore_file()
        except OSError as problem:
            self._seen = None  # the index on disk is behind
            logger.error("labels are saved, but not shown yet: the index cannot be written: %s", problem)

    def _adopt(self, image_id: str, tag: str) -> None:
        """Make a label that is in no version the next one: of before there were versions, or another program's."""
        label = self._datastore.objects[image_id].labels.get(tag)
        if tag == PROPOSALS or label is None:
            return
        file = Path(self._datastore.label_path(tag)) / self._filename(image_id, label.ext)
        if not file.is_file():
            return
        known = {version.mask_sha256 for version in self._readable(image_id, tag)}
        if hashlib.sha256(file.read_bytes()).hexdigest() in known:
            return
        try:
            info = plain(label.info)
            record = record_of(image_id, info)
        except LabelError as problem:
            logger.warning("label %s of %s is kept without its record: %s", tag, image_id, problem)
            info, record = {}, None
        logger.warning("label %s of %s was put there by another program; it becomes a version", tag, image_id)
        self.labels.save(image_id, tag, file, record, info)

    def _readable(self, image_id: str, tag: str) -> list[LabelVersion]:
        found = []
        for number in range(1, self.labels.latest(image_id, tag) + 1):
            try:
                found.append(self.labels.version(image_id, tag, number))
            except FetalIQAError as problem:
                logger.error("%s", problem)
        return found

    # -- reading ------------------------------------------------------------------------------------

    def image_path(self, image_id: str) -> Path:
        """Path of an image file.

        Raises:
            Refused: 400 for an id outside the grammar, 404 for one that is not here.
        """
        uri = self.get_image_uri(check_id("image", image_id))
        if not uri or not Path(uri).exists():
            raise Refused(404, f"there is no image {image_id!r} here; GET /datastore/?output=all lists them")
        return Path(uri)

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        """What the index says of a label, with its frame record."""
        label_id, tag = check_id("label", label_id), _tag(label_tag)
        with self._guard:
            self._catch_up(label_id, tag)
            info = dict(super().get_label_info(label_id, tag))
        version = self._version_of(label_id, tag, info)
        if version is not None and version.record is not None:
            info[KEY] = version.record.to_json()
        return info

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        with self._guard:
            self._catch_up(check_id("label", label_id), _tag(label_tag))
            return super().get_label_uri(label_id, _tag(label_tag))

    def has_label(self, label_id: str, label_tag: str) -> bool:
        """True when the index holds this label."""
        return bool(self.get_label_uri(label_id, label_tag))

    def current_label(self, image_id: str, tag: str) -> tuple[Path, int]:
        """The mask file of a label and its version (0: a proposal), which belong together whoever saves meanwhile.

        Raises:
            Refused: 404 when there is none.
        """
        uri, tag = self.get_label_uri(image_id, tag), _tag(tag)
        with as_refusal():
            version = self.labels.current(image_id, tag) if uri else None
        if version is not None and version.mask is not None:
            return version.mask, version.version
        if not uri or not Path(uri).is_file():
            raise Refused(404, f"image {image_id!r} has no label with tag {tag!r}")
        return Path(uri), 0

    def _catch_up(self, image_id: str, tag: str) -> None:
        """Follow the versions of one label, which a command on the server's machine may have changed."""
        if self._read_only or image_id not in self._datastore.objects:
            return
        label = self._datastore.objects[image_id].labels.get(tag)
        if self.labels.latest(image_id, tag) != (label.info.get("version", 0) if label is not None else 0):
            with self._locked():
                if image_id in self._datastore.objects and self._follow(image_id, tag):
                    self._write_shown()

    def _version_of(self, image_id: str, tag: str, info: dict[str, Any]) -> LabelVersion | None:
        try:
            return self.labels.version(image_id, tag, info["version"]) if info.get("version") else None
        except FetalIQAError as problem:
            logger.error("%s", problem)
            return None

    # -- writing ------------------------------------------------------------------------------------

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
                image, 409 when the label was changed since the version that it is based on, 413 when too large,
                507 when the disk does not take it.
        """
        self.save_version(image_id, label_filename, label_tag, label_info)
        return image_id

    def save_version(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any] | None
    ) -> LabelVersion:
        """As ``save_label``; returns the version.

        A model's proposal (tag ``original``) is no annotation: only the newest is kept, as version 0.
        """
        tag = _tag(label_tag)
        received = Path(label_filename)
        if suffix_of(received.name, LABEL_SUFFIXES) is None:
            raise Refused(400, f"label of {image_id}: the suffix must be one of {', '.join(LABEL_SUFFIXES)}")
        self._check_writable(received)
        check_self_contained(received)
        image = self.image_path(image_id)
        seen = image.stat()
        with as_refusal():
            info = plain(label_info or {})
            based_on = _based_on(info)
            masks, pixels = self._masks(image, received)
            record = record_of(image_id, info, len(masks))
            check_record(image_id, record, masks)
        with self._locked(), as_refusal():
            self._check_same(image_id, image, seen)
            if tag == PROPOSALS:
                now = datetime.now(UTC).isoformat(timespec="seconds")
                version = LabelVersion(image_id, tag, 0, now, received, None, record, info)
                self._show(version)
                self._update_datastore_file()
                return version
            self._adopt(image_id, tag)
            version = self.labels.save(image_id, tag, received, record, info, image=pixels, based_on=based_on)
            self._shown(version)
        return version

    def _masks(self, image: Path, file: Path) -> tuple[np.ndarray, str]:
        """Masks on the grid of an image, and which pixels that image has."""
        sweep = read_sweep(image)
        return read_masks(file, sweep), pixels_sha256(sweep.frames)

    def _check_same(self, image_id: str, image: Path, seen: os.stat_result) -> None:
        """Refuse to label an image that was replaced since it was read."""
        there = image_id in self._datastore.objects and image.exists()
        if not there or _identity(image.stat()) != _identity(seen):
            raise Refused(404, f"image {image_id}: it was removed or replaced meanwhile; load it again")

    def restore_label(self, image_id: str, label_tag: str, version: int, info: dict[str, Any]) -> LabelVersion:
        """Make an earlier version of a label the label again, as a new version.

        Raises:
            Refused: 404 when there is no such image or version, 400 when that version removed the label or is of
                another image.
        """
        return self._renewed(image_id, _tag(label_tag), version, None, info)

    def pick_label(
        self, image_id: str, label_tag: str, version: int, final: str, info: dict[str, Any]
    ) -> LabelVersion:
        """Make one rater's version the label of tag ``final``, and accept it.

        Raises:
            Refused: as ``restore_label``.
        """
        return self._renewed(image_id, _tag(label_tag), version, _tag(final), info)

    def _renewed(
        self, image_id: str, tag: str, version: int, final: str | None, info: dict[str, Any]
    ) -> LabelVersion:
        self._check_not_read_only()
        image = self.image_path(image_id)
        seen = image.stat()
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
            return self.labels.review(image_id, _tag(label_tag), version, state, reviewer, comment)

    def remove_label(self, label_id: str, label_tag: str, info: dict[str, Any] | None = None) -> None:
        """End a label; its versions stay.

        Raises:
            Refused: 404 when there is none.
        """
        self._check_not_read_only()
        tag = _tag(label_tag)
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
        tag = _tag(label_tag)
        if not self.has_label(label_id, tag):
            raise Refused(404, f"image {label_id} has no label with tag {tag!r}")
        image = self.image_path(label_id)
        with self._locked(), as_refusal():
            self._adopt(label_id, tag)
            added = plain(info)
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
            saved = self.labels.save(label_id, tag, label.mask, record, told, image=label.image, based_on=based_on)
            self._shown(saved)


def _identity(found: os.stat_result) -> tuple[int, int, int]:
    return found.st_ino, found.st_size, found.st_mtime_ns


def _tag(tag: Any) -> str:
    return check_id("tag", getattr(tag, "value", tag))


def _based_on(info: dict[str, Any]) -> int | None:
    """The version that a writer had before them, taken out of what they sent.

    Raises:
        LabelError: when it is no such number.
    """
    based_on = info.pop("based_on", None)
    if based_on is not None and (not isinstance(based_on, int) or isinstance(based_on, bool) or based_on < 0):
        raise LabelError(f"based_on is {based_on!r}; the number of a version, or 0 for none, is needed")
    return based_on
