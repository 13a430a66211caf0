"""What MONAI Label's clients see of the labels of a studies folder follows from their versions.

A label is saved as a version of ``fetaliqa.labels.LabelStore``. ``labels/TAG/ID.ext`` and the index, which MONAI
Label's clients read, follow from that, and are made again when a kill or another program left them behind. A label
that another program put there is adopted as a version; no file is removed or replaced that is in no version.
"""

from __future__ import annotations

import logging
import shutil
from datetime import datetime
from pathlib import Path
from typing import Any

from monailabel.datastore.local import DataModel
from monailabel.interfaces.datastore import DefaultLabelTag

from fetaliqa.atomic import atomic_path
from fetaliqa.errors import FetalIQAError, LabelError
from fetaliqa.file_hash import file_sha256
from fetaliqa.labels import LabelStore, LabelVersion
from fetaliqa.labels.frame_record import KEY
from fetaliqa.labels.label_store import FOLDER
from monailabel_app.lib.ids import check_id
from monailabel_app.lib.index import LockedIndex
from monailabel_app.lib.label_info import plain, record_of, without_record
from monailabel_app.lib.offered import spelled_otherwise
from monailabel_app.lib.received import LABEL_SUFFIXES, suffix_of
from monailabel_app.lib.refusal import Refused, as_refusal

logger = logging.getLogger(__name__)
PROPOSALS = DefaultLabelTag.ORIGINAL.value


class ShownLabels(LockedIndex):
    """A folder of sweeps whose index and mask files say what the versions of its labels say.

    Args:
        studies: the folder.
        images: folder of the images in it.
        auto_reload, read_only: see ``LockedIndex``.
    """

    def __init__(self, studies: str, images: str, *, auto_reload: bool, read_only: bool) -> None:
        self.labels = LabelStore(Path(studies) / FOLDER)
        super().__init__(studies, images, auto_reload=auto_reload, read_only=read_only)
        if not read_only:
            with self._locked():
                self._follow_all()  # what a killed server saved and did not show

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
        if file_sha256(file) in known:
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
            other = spelled_otherwise(image_id, self.list_images())
            hint = "" if other is None else f" (but one whose name is {other!a}, in another form of Unicode)"
            raise Refused(404, f"there is no image {image_id!r} here{hint}; GET /datastore/?output=all lists them")
        return Path(uri)

    def get_label_info(self, label_id: str, label_tag: str) -> dict[str, Any]:
        """What the index says of a label, with its frame record."""
        label_id, tag = check_id("label", label_id), tag_of(label_tag)
        with self._guard:
            self._catch_up(label_id, tag)
            info = dict(super().get_label_info(label_id, tag))
        version = self._version_of(label_id, tag, info)
        if version is not None and version.record is not None:
            info[KEY] = version.record.to_json()
        return info

    def get_label_uri(self, label_id: str, label_tag: str) -> str:
        with self._guard:
            self._catch_up(check_id("label", label_id), tag_of(label_tag))
            return super().get_label_uri(label_id, tag_of(label_tag))

    def has_label(self, label_id: str, label_tag: str) -> bool:
        """True when the index holds this label."""
        return bool(self.get_label_uri(label_id, label_tag))

    def current_label(self, image_id: str, tag: str) -> tuple[Path, int]:
        """The mask file of a label and its version (0: a proposal), which belong together whoever saves meanwhile.

        Raises:
            Refused: 404 when there is none.
        """
        uri, tag = self.get_label_uri(image_id, tag), tag_of(tag)
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


def tag_of(tag: Any) -> str:
    """A label's tag, which MONAI Label hands over as an enumeration too."""
    return check_id("tag", getattr(tag, "value", tag))
