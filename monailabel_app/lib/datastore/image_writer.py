"""Changes of images: each is checked, and stored completely or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

from fetaliqa.atomic import atomic_path
from fetaliqa.case_names import canonical
from fetaliqa.labels import LabelStore
from fetaliqa.sweep import is_sweep_path, read_sweep
from fetaliqa.sweep.folder_contents import is_system_file
from monailabel_app.lib.datastore.image_files import split_name
from monailabel_app.lib.datastore.image_index import ImageIndex
from monailabel_app.lib.datastore.label_info import plain
from monailabel_app.lib.files.uploaded_files import check_self_contained, suffix_of, sweep_suffixes
from monailabel_app.lib.http.ids import check_id
from monailabel_app.lib.http.refusal import Refused, as_refusal

PARTIAL_UPLOAD = re.compile(r"\..+\.[a-z0-9_]{8}(\.[^.]+)?")  # what ``atomic_path`` writes into
PARTIAL_SECONDS = 86400.0  # an upload that another server receives looks the same, and is done by then


class ImageWriter:
    """Adds and removes images.

    All methods raise Refused: 403 where the folder is open for reading only, 507 when a
        change.

    Args:
        index: of the folder.
        versions: of the labels.
        max_file_bytes: largest file stored on a client's behalf.
    """

    def __init__(self, index: ImageIndex, versions: LabelStore, max_file_bytes: int) -> None:
        self._index, self._versions, self._max_file_bytes = index, versions, max_file_bytes

    def check_storable(self, file: Path) -> None:
        """Refuse a file that is too large (413), or that takes its pixels from another one (400)."""
        self._index.check_not_read_only()
        if file.stat().st_size > self._max_file_bytes:
            raise Refused(
                413,
                f"{file.name}: larger than the limit of {self._max_file_bytes // 1024**2} MiB; see max_upload_mb",
            )
        check_self_contained(file)

    def add(self, image_id: str, file: Path, info: dict[str, Any]) -> str:
        """Store a sweep under a new id; returns the id.

        Args:
            image_id: of the image; empty: the file's name without its suffix.
            file: to copy.
            info: recorded about the image.

        Raises:
            Refused: 400 for a bad id or a file that is not a sweep, 409 when the id is taken, 413 when too large.
        """
        stem, suffix = split_name(file.name)
        image_id = check_id("image", image_id or stem)
        if not suffix and is_sweep_path(file):
            suffix = ".dcm"  # a DICOM file as scanners and archives name it
        if not suffix:
            raise Refused(400, f"image {image_id}: the suffix must be one of {', '.join(sweep_suffixes())}")
        self.check_storable(file)
        with as_refusal():
            info = plain(info)
            read_sweep(file)
        name = f"{image_id}{suffix.lower()}"
        if is_system_file(name):
            raise Refused(400, f"image {image_id}: {name} is the name of another kind of file; rename it")
        with contextlib.ExitStack() as locked:
            with atomic_path(self._index.images_folder() / name) as temporary:
                # gigabytes are copied and flushed before the lock is taken, so that others need not wait for them
                shutil.copyfile(file, temporary)
                with open(temporary, "rb") as written:
                    os.fsync(written.fileno())
                locked.enter_context(self._index.locked())
                taken = {split_name(child.name)[0] for child in self._index.images_folder().iterdir()}
                if canonical(image_id) in map(canonical, {*taken, *self._index.list_images()}):
                    raise Refused(
                        409,
                        f"image {image_id}: this id is in use already; delete that image, or choose another id",
                    )
            self._index.add_entry(image_id, suffix.lower(), {**info, "ts": int(time.time()), "name": name})
        return image_id

    def remove(self, image_id: str) -> None:
        """Remove an image; its labels are archived in ``label-versions/.retired``.

        Raises:
            Refused: 404 when there is none.
        """
        self._index.check_not_read_only()
        self._index.image_path(image_id)
        with self._index.locked(), as_refusal():
            self._versions.retire(image_id)  # otherwise an image of the same id would inherit them
            labels = self._index.labels(image_id)
            for tag, label in labels.items():
                self._index.label_file(image_id, tag, label.ext).unlink(missing_ok=True)
            labels.clear()
            self._index.remove_image(image_id)
            self._index.refresh()

    def update_info(self, image_id: str, info: dict[str, Any]) -> None:
        """Add to what is recorded about an image.

        Raises:
            Refused: 404 when there is none, 400 for info that cannot be stored.
        """
        self._index.check_not_read_only()
        self._index.image_path(image_id)
        with self._index.locked(), as_refusal():
            self._index.update_image_info(image_id, plain(info))

    def remove_partial_uploads(self) -> None:
        """Remove incomplete files that killed servers left."""
        for leftover in self._index.images_folder().glob(".*"):
            suffix = suffix_of(leftover.name, sweep_suffixes())
            if suffix is None or not PARTIAL_UPLOAD.fullmatch(leftover.name[: -len(suffix)]):
                continue
            with contextlib.suppress(OSError):
                if leftover.is_file() and time.time() - leftover.stat().st_mtime > PARTIAL_SECONDS:
                    leftover.unlink()
