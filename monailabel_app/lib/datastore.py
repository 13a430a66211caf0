"""The studies folder, guarded: safe ids, real sweeps as images, real masks as labels, whole files only.

MONAI Label's LocalDatastore writes wherever an id or tag leads, and stores any bytes. Everything a client can
reach passes through this class, on our front and on the plain server alike.

A label is saved as a version of ``fetaliqa.labels.LabelStore`` first. ``labels/TAG/ID.ext`` and the index, which
MONAI Label's clients read, follow from that, and are made again when a kill or another program left them behind.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from monailabel.datastore.local import DataModel, ImageLabelModel
from monailabel.interfaces.datastore import DefaultLabelTag

from fetaliqa.atomic import atomic_path
from fetaliqa.errors import LabelError
from fetaliqa.inference.cases import ACOUSLIC_IMAGES
from fetaliqa.labels import LabelStore, LabelVersion
from fetaliqa.labels.store import FOLDER
from fetaliqa.sweep import read_masks, read_sweep
from monailabel_app.lib.ids import check_id
from monailabel_app.lib.index import LockedIndex
from monailabel_app.lib.label_info import check_record, plain, record_of
from monailabel_app.lib.received import LABEL_SUFFIXES, check_self_contained, suffix_of, sweep_suffixes
from monailabel_app.lib.refusal import Refused, as_refusal

logger = logging.getLogger(__name__)
PROPOSALS = DefaultLabelTag.ORIGINAL.value


class GuardedDatastore(LockedIndex):
    """A folder of sweeps, or the root of a data set in the ACOUSLIC-AI layout.

    Of an ACOUSLIC-AI root, ``images/stacked_fetal_ultrasound`` holds the images; the index and ``labels/``
    are kept in the root, beside ``images/``.

    Args:
        studies: the folder.
        max_file_bytes: largest file stored on a client's behalf.
        auto_reload: follow changes of the folder.
        read_only: refuse to change anything (worker processes).
    """

    def __init__(
        self, studies: str, *, max_file_bytes: int, auto_reload: bool = True, read_only: bool = False
    ) -> None:
        self._max_file_bytes = max_file_bytes
        self.labels = LabelStore(Path(studies) / FOLDER)
        images = str(ACOUSLIC_IMAGES) if (Path(studies) / ACOUSLIC_IMAGES).is_dir() else "."
        super().__init__(studies, images, auto_reload=auto_reload, read_only=read_only)
        if not read_only:
            self.refresh()  # what a killed server saved and did not show

    def refresh(self) -> None:
        with self._locked():
            super().refresh()
            self._follow_versions()

    def _index_was_read(self) -> None:
        self._follow_versions()

    # -- labels as MONAI Label's clients see them follow from the versions --------------------------

    def _follow_versions(self) -> None:
        """Make index and mask files say what the versions say, where they were left behind."""
        if self._read_only:
            return
        changed = False
        for image_id in self.labels.cases():
            entry = self._datastore.objects.get(image_id)
            for tag in self.labels.known_tags(image_id) if entry is not None else ():
                latest, label = self.labels.latest(image_id, tag), entry.labels.get(tag)  # type: ignore[union-attr]
                if (label.info.get("version") if label is not None else None) == latest:
                    continue
                try:
                    version = self.labels.version(image_id, tag, latest)
                except LabelError as problem:
                    logger.error("%s", problem)
                    continue
                if version.removed and label is None:
                    continue
                logger.warning("label %s of %s: made again from version %d", tag, image_id, latest)
                self._show(version)
                changed = True
        if changed:
            self._update_datastore_file()

    def _show(self, version: LabelVersion) -> None:
        """Put a version where MONAI Label's clients look; the caller writes the index."""
        entry = self._datastore.objects[version.case]
        folder = Path(self._datastore.label_path(version.tag))
        previous = entry.labels.pop(version.tag, None)
        name = None
        if version.mask is not None and not version.removed:
            extension = str(suffix_of(version.mask.name, LABEL_SUFFIXES))
            name = self._filename(version.case, extension)
            with atomic_path(folder / name) as temporary:
                shutil.copyfile(version.mask, temporary)
            saved = int(datetime.fromisoformat(version.saved).timestamp())
            info = {**version.info, "ts": saved, "name": name, "version": version.version}
            entry.labels[version.tag] = DataModel(info=info, ext=extension)
        if previous is not None and self._filename(version.case, previous.ext) != name:
            (folder / self._filename(version.case, previous.ext)).unlink(missing_ok=True)

    def _adopt(self, image_id: str, tag: str) -> None:
        """Make a label of before there were versions the first one, so that it is not lost by the next."""
        label = self._datastore.objects[image_id].labels.get(tag)
        if tag == PROPOSALS or label is None or self.labels.latest(image_id, tag):
            return
        file = Path(self._datastore.label_path(tag)) / self._filename(image_id, label.ext)
        if file.is_file():
            with as_refusal():
                self.labels.save(image_id, tag, file, record_of(image_id, label.info), plain(label.info))

    # -- reading: ids checked, and never in the middle of a refresh ---------------------------------

    def get_image_uri(self, image_id: str) -> str:
        with self._guard:
            return super().get_image_uri(check_id("image", image_id))

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        with self._guard:
            return super().get_image_info(check_id("image", image_id))

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        with self._guard:
            return super().get_label_uri(check_id("label", label_id), check_id("tag", label_tag))

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        with self._guard:
            return super().get_label_info(check_id("label", label_id), check_id("tag", label_tag))

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        with self._guard:
            return super().get_labels_by_image_id(check_id("image", image_id))

    def list_images(self) -> list[str]:
        with self._guard:
            return super().list_images()

    def get_labeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        with self._guard:
            return super().get_labeled_images(label_tag, labels)

    def get_unlabeled_images(self, label_tag: str | None = None, labels: list[str] | None = None) -> list[str]:
        with self._guard:
            return super().get_unlabeled_images(label_tag, labels)

    def datalist(self, full_path: bool = True) -> list[dict[str, Any]]:
        with self._guard:
            return super().datalist(full_path)

    def status(self) -> dict[str, Any]:
        with self._guard:
            return super().status()

    def json(self) -> Any:
        with self._guard:
            return super().json()

    def has_label(self, label_id: str, label_tag: str) -> bool:
        """True when the index holds this label."""
        return bool(self.get_label_uri(label_id, label_tag))

    def image_path(self, image_id: str) -> Path:
        """Path of an image file.

        Raises:
            Refused: 400 for an id outside the grammar, 404 for one that is not here.
        """
        uri = self.get_image_uri(image_id)
        if not uri or not Path(uri).exists():
            raise Refused(404, f"there is no image {image_id!r} here; GET /datastore/?output=all lists them")
        return Path(uri)

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

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Store a sweep under a new id.

        Raises:
            Refused: 400 for a bad id or a file that is not a sweep, 409 when the id is taken, 413 when too large.
        """
        received = Path(image_filename)
        stem, extension = self._to_id(received.name)
        image_id = check_id("image", image_id or stem)
        if suffix_of(received.name, sweep_suffixes()) is None:
            raise Refused(400, f"image {image_id}: the suffix must be one of {', '.join(sweep_suffixes())}")
        self._check_writable(received)
        check_self_contained(received)
        with as_refusal():
            read_sweep(received)
        name = self._filename(image_id, extension.lower())
        with contextlib.ExitStack() as locked:
            with atomic_path(Path(self._datastore.image_path()) / name) as temporary:
                # gigabytes are copied and flushed before the lock is taken: others need not wait for them
                shutil.copyfile(received, temporary)
                with open(temporary, "rb") as written:
                    os.fsync(written.fileno())
                locked.enter_context(self._locked())
                if image_id in self._datastore.objects:
                    raise Refused(409, f"image {image_id}: there is one of this id already; delete it first")
            info = {**(image_info or {}), "ts": int(time.time()), "name": name}
            self._datastore.objects[image_id] = ImageLabelModel(image=DataModel(info=info, ext=extension.lower()))
            self._update_datastore_file(lock=False)
        return image_id

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
                image, 409 when the label was changed since the version that it is based on, 413 when too large.
        """
        self.save_version(image_id, label_filename, label_tag, label_info)
        return image_id

    def save_version(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any] | None
    ) -> LabelVersion:
        """As ``save_label``; returns the version.

        A model's proposal (tag ``original``) is no annotation: only the newest is kept, as version 0.
        """
        tag = check_id("tag", getattr(label_tag, "value", label_tag))
        image = self.image_path(image_id)
        received = Path(label_filename)
        extension = suffix_of(received.name, LABEL_SUFFIXES)
        if extension is None:
            raise Refused(400, f"label of {image_id}: the suffix must be one of {', '.join(LABEL_SUFFIXES)}")
        self._check_writable(received)
        check_self_contained(received)
        info = plain(label_info or {})
        based_on = info.pop("based_on", None)
        if based_on is not None and (not isinstance(based_on, int) or isinstance(based_on, bool) or based_on < 0):
            raise Refused(400, f"based_on is {based_on!r}; the number of a version, or 0 for none, is needed")
        with as_refusal():
            masks = read_masks(received, read_sweep(image))
            record = record_of(image_id, info, len(masks))
            check_record(image_id, record, masks)
        with self._locked():
            if image_id not in self._datastore.objects:
                raise Refused(404, f"image {image_id}: it was removed meanwhile")
            if tag == PROPOSALS:
                now = datetime.now(UTC).isoformat(timespec="seconds")
                version = LabelVersion(image_id, tag, 0, now, received, None, record, info)
                self._show(version)
                self._update_datastore_file()
                return version
            self._adopt(image_id, tag)
            with as_refusal():
                version = self.labels.save(image_id, tag, received, record, info, based_on=based_on)
            self._shown(version)
        return version

    def _shown(self, version: LabelVersion) -> None:
        """Show a version that is saved; where that fails it is done later, and the version stands."""
        try:
            self._show(version)
            self._update_datastore_file()
        except OSError as problem:
            self._seen = None  # the index on disk is behind
            logger.error(
                "version %d of label %s of %s is saved, but not shown yet: %s",
                version.version,
                version.tag,
                version.case,
                problem,
            )

    def restore_label(self, image_id: str, tag: str, version: int, info: dict[str, Any]) -> LabelVersion:
        """Make an earlier version of a label the label again, as a new version.

        Raises:
            Refused: 404 when there is no such image or version, 400 when that version removed the label.
        """
        self._check_not_read_only()
        self.image_path(image_id)
        with self._locked(), as_refusal():
            restored = self.labels.restore(image_id, check_id("tag", tag), version, plain(info))
            self._shown(restored)
        return restored

    def remove_image(self, image_id: str) -> None:
        self._check_not_read_only()
        self.image_path(image_id)
        with self._locked():
            super().remove_image(image_id)
            self.refresh()

    def remove_label(self, label_id: str, label_tag: str) -> None:
        self._check_not_read_only()
        if not self.has_label(label_id, label_tag):
            raise Refused(404, f"image {label_id} has no label with tag {label_tag!r}")
        with self._locked(), as_refusal():
            self._adopt(label_id, label_tag)
            if self.labels.current(label_id, label_tag) is None:  # its file was taken away by hand
                super().remove_label(label_id, label_tag)
                self.refresh()
            else:
                self._shown(self.labels.remove(label_id, label_tag))

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        self._check_not_read_only()
        self.image_path(image_id)
        with self._locked():
            super().update_image_info(image_id, info)

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        self._check_not_read_only()
        if not self.has_label(label_id, label_tag):
            raise Refused(404, f"image {label_id} has no label with tag {label_tag!r}")
        with self._locked(), as_refusal():
            self._adopt(label_id, label_tag)
            label = self.labels.current(label_id, label_tag)
            if label is None:
                super().update_label_info(label_id, label_tag, info)
                return
            told = {**label.info, **plain(info)}
            record = record_of(label_id, told)
            self._shown(self.labels.save(label_id, label_tag, label.mask, record, told))
