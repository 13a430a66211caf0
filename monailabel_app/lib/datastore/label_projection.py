"""Label files and index entries for MONAI Label's clients, derived from the versions of the labels.

A label is saved as a version of ``fetaliqa.labels.LabelStore``. ``labels/TAG/ID.ext`` and the index, which MONAI
Label's clients read, are derived from the versions, and rebuilt after a crash or a change by another program. A
label file that another program wrote is adopted as a version; no file is removed or replaced whose content is in
no version.
"""

from __future__ import annotations

import logging
import shutil
from datetime import datetime
from typing import Any

from monailabel.datastore.local import DataModel
from monailabel.interfaces.datastore import DefaultLabelTag

from fetaliqa.atomic import atomic_path
from fetaliqa.errors import FetalIQAError, LabelError
from fetaliqa.file_provenance import file_sha256
from fetaliqa.labels import LabelStore, LabelVersion
from monailabel_app.lib.datastore.image_index import ImageIndex
from monailabel_app.lib.datastore.label_info import plain, record_of, without_record
from monailabel_app.lib.files.uploaded_files import LABEL_SUFFIXES, suffix_of
from monailabel_app.lib.http.ids import check_id

logger = logging.getLogger(__name__)
PROPOSALS = DefaultLabelTag.ORIGINAL.value


class LabelProjection:
    """Keeps the index and ``labels/`` in line with the versions of the labels.

    Args:
        index: of the folder.
        versions: of the labels.
    """

    def __init__(self, index: ImageIndex, versions: LabelStore) -> None:
        self._index, self._versions = index, versions

    def update_all(self) -> None:
        """Bring all labels up to date. The index is locked."""
        if self._index.read_only:
            return
        updated = [
            self._update(image_id, tag)
            for image_id in self._versions.cases()
            if self._index.entry(image_id) is not None
            for tag in self._versions.known_tags(image_id)
        ]
        if any(updated):
            self._write_index()

    def update(self, image_id: str, tag: str) -> None:
        """Bring one label up to date, whose versions a command on the server's machine may have changed."""
        if self._index.read_only or self._index.entry(image_id) is None:
            return
        label = self._index.label(image_id, tag)
        if self._versions.latest(image_id, tag) != (label.info.get("version", 0) if label is not None else 0):
            with self._index.locked():
                if self._index.entry(image_id) is not None and self._update(image_id, tag):
                    self._write_index()

    def _update(self, image_id: str, tag: str) -> bool:
        """Derive one label from its versions; True when the index has to be written.

        The index is locked. A problem is logged, and the update tried again the next time.
        """
        latest, label = self._versions.latest(image_id, tag), self._index.label(image_id, tag)
        if not latest or (label is not None and label.info.get("version") == latest):
            return False
        try:
            self.adopt(image_id, tag)
            version = self._versions.version(image_id, tag, self._versions.latest(image_id, tag))
            if version.removed and label is None:
                return False
            logger.warning("label %s of %s: restored from version %d", tag, image_id, version.version)
            self.write_label(version)
        except (FetalIQAError, OSError) as problem:
            logger.error("label %s of %s cannot be shown yet: %s", tag, image_id, problem)
            return False
        return True

    def write_label(self, version: LabelVersion) -> None:
        """Write the mask file and the index entry of a version; the caller writes the index.

        Raises:
            OSError: when the file cannot be written.
        """
        labels = self._index.labels(version.case)
        previous, file = labels.get(version.tag), None
        if version.mask is not None and not version.removed:
            suffix = str(suffix_of(version.mask.name, LABEL_SUFFIXES))
            file = self._index.label_file(version.case, version.tag, suffix)
            with atomic_path(file) as temporary:
                shutil.copyfile(version.mask, temporary)
            saved = int(datetime.fromisoformat(version.saved).timestamp())
            info = {**without_record(version.info), "ts": saved, "name": file.name, "version": version.version}
            labels[version.tag] = DataModel(info=info, ext=suffix)
        else:
            labels.pop(version.tag, None)
        if previous is not None:
            outdated = self._index.label_file(version.case, version.tag, previous.ext)
            if outdated != file:
                outdated.unlink(missing_ok=True)

    def publish(self, version: LabelVersion) -> None:
        """Write a saved version for clients; where that fails the version stands, and it is done later."""
        try:
            self.write_label(version)
        except OSError as problem:
            logger.error("label %s of %s is saved, but not shown yet: %s", version.tag, version.case, problem)
        self._write_index()

    def _write_index(self) -> None:
        try:
            self._index.write()
        except OSError as problem:
            self._index.mark_outdated()
            logger.error("labels are saved, but not shown yet: the index cannot be written: %s", problem)

    def adopt(self, image_id: str, tag: str) -> None:
        """Save a label file that is in no version, such as another program's, as the next version."""
        label = self._index.label(image_id, tag)
        if tag == PROPOSALS or label is None:
            return
        file = self._index.label_file(image_id, tag, label.ext)
        if not file.is_file() or file_sha256(file) in self._mask_hashes(image_id, tag):
            return
        try:
            info = plain(label.info)
            record = record_of(image_id, info)
        except LabelError as problem:
            logger.warning("label %s of %s is kept without its record: %s", tag, image_id, problem)
            info, record = {}, None
        logger.warning("label %s of %s was written by another program; it becomes a version", tag, image_id)
        self._versions.save(image_id, tag, file, record, info)

    def _mask_hashes(self, image_id: str, tag: str) -> set[str | None]:
        hashes = set()
        for number in range(1, self._versions.latest(image_id, tag) + 1):
            try:
                hashes.add(self._versions.version(image_id, tag, number).mask_sha256)
            except FetalIQAError as problem:
                logger.error("%s", problem)
        return hashes


def tag_of(tag: Any) -> str:
    """A label's tag, which MONAI Label may pass as an enumeration, as a checked string."""
    return check_id("tag", getattr(tag, "value", tag))
