"""The studies folder, guarded: safe ids, real sweeps as images, real masks as labels, whole files only.

MONAI Label's LocalDatastore writes wherever an id or tag leads, stores any bytes, and rewrites its index in
place. Everything a client can reach passes through this class, on our front and on the plain server alike.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore

from fetaliqa.atomic import atomic_path, write_text
from fetaliqa.inference.cases import ACOUSLIC_IMAGES
from fetaliqa.sweep import read_masks, read_sweep
from monailabel_app.lib.ids import check_id, is_id
from monailabel_app.lib.received import LABEL_SUFFIXES, check_self_contained, suffix_of, sweep_suffixes
from monailabel_app.lib.refusal import Refused, as_refusal

logger = logging.getLogger(__name__)


class GuardedDatastore(LocalDatastore):
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
        self._guard = threading.RLock()  # endpoints run in threads, and the folder's observer in one of its own
        self._max_file_bytes = max_file_bytes
        self._read_only = read_only
        self._ignored: set[str] = set()
        images = str(ACOUSLIC_IMAGES) if (Path(studies) / ACOUSLIC_IMAGES).is_dir() else "."
        extensions = [f"*{suffix}" for suffix in sweep_suffixes()]
        super().__init__(
            studies, images_dir=images, extensions=extensions, auto_reload=auto_reload, read_only=read_only
        )
        if auto_reload:
            self._handler.on_moved = self._on_moved  # files that arrive by rename, the index included

    # -- what is found in the folder --------------------------------------------------------------

    def _to_id(self, file: str) -> tuple[str, str]:
        suffix = suffix_of(file, sweep_suffixes()) or Path(file).suffix
        return (file[: -len(suffix)], file[-len(suffix) :]) if suffix else (file, "")

    def _list_files(self, path: str, patterns: Any) -> dict[str, str]:
        listed: dict[str, str] = {}
        ids: dict[str, str] = {}
        for name in sorted(child.name for child in Path(path).iterdir()):
            if name.startswith(".") or suffix_of(name, sweep_suffixes()) is None:
                continue
            image_id = self._to_id(name)[0]
            if not is_id(image_id):
                self._not_offered(name, "rename it to letters, digits, dot, underscore, hyphen")
            elif ids.setdefault(image_id, name) != name:
                self._not_offered(name, f"{ids[image_id]} has the same id; rename one of them")
            else:
                listed[name] = name
        return listed

    def _not_offered(self, name: str, why: str) -> None:
        if name not in self._ignored:
            self._ignored.add(name)
            logger.warning("%s is not offered: %s", name, why)

    def _on_moved(self, event: Any) -> None:
        if event.dest_path == self._datastore_config_path:
            with self._guard:
                self._init_from_datastore_file()
        else:
            self.refresh()

    def refresh(self) -> None:
        with self._guard:
            super().refresh()

    def _init_from_datastore_file(self, throw_exception: bool = False) -> None:
        with self._guard:
            super()._init_from_datastore_file(throw_exception)

    def _update_datastore_file(self, lock: bool = True) -> None:
        if lock:
            with self._guard, FileLock(self._lock_file):
                self._update_datastore_file(lock=False)
            return
        if self._read_only:
            return
        index = Path(self._datastore_config_path)
        write_text(index, json.dumps(self._datastore.model_dump(exclude={"base_path"}), indent=2, default=str))
        self._config_ts = index.stat().st_mtime

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
                locked.enter_context(self._guard)
                locked.enter_context(FileLock(self._lock_file))
                if image_id in self._datastore.objects:
                    raise Refused(409, f"image {image_id}: there is one of this id already; delete it first")
            info = {**(image_info or {}), "ts": int(time.time()), "name": name}
            self._datastore.objects[image_id] = ImageLabelModel(image=DataModel(info=info, ext=extension.lower()))
            self._update_datastore_file(lock=False)
        return image_id

    def save_label(
        self, image_id: str, label_filename: str, label_tag: str, label_info: dict[str, Any] | None
    ) -> str:
        """Store a mask stack on the image's own grid under a tag, replacing an earlier one of that tag.

        Raises:
            Refused: 400 for a bad id or tag or a file that is no mask on the grid, 404 for an unknown image,
                413 when too large.
        """
        tag = check_id("tag", getattr(label_tag, "value", label_tag))
        image = self.image_path(image_id)
        received = Path(label_filename)
        extension = suffix_of(received.name, LABEL_SUFFIXES)
        if extension is None:
            raise Refused(400, f"label of {image_id}: the suffix must be one of {', '.join(LABEL_SUFFIXES)}")
        self._check_writable(received)
        check_self_contained(received)
        with as_refusal():
            read_masks(received, read_sweep(image))
        name = self._filename(image_id, extension)
        folder = Path(self._datastore.label_path(tag))
        with self._guard, FileLock(self._lock_file):
            entry = self._datastore.objects.get(image_id)
            if entry is None:
                raise Refused(404, f"image {image_id}: it was removed meanwhile")
            with atomic_path(folder / name) as temporary:
                shutil.copyfile(received, temporary)
            previous = entry.labels.get(tag)
            info = {**(label_info or {}), "ts": int(time.time()), "name": name}
            entry.labels[tag] = DataModel(info=info, ext=extension)
            self._update_datastore_file(lock=False)
            if previous is not None and previous.ext != extension:
                (folder / self._filename(image_id, previous.ext)).unlink(missing_ok=True)
        return image_id

    def remove_image(self, image_id: str) -> None:
        self._check_not_read_only()
        self.image_path(image_id)
        with self._guard:
            super().remove_image(image_id)
            self.refresh()

    def remove_label(self, label_id: str, label_tag: str) -> None:
        self._check_not_read_only()
        if not self.has_label(label_id, label_tag):
            raise Refused(404, f"image {label_id} has no label with tag {label_tag!r}")
        with self._guard:
            super().remove_label(label_id, label_tag)
            self.refresh()

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        self._check_not_read_only()
        self.image_path(image_id)
        with self._guard:
            super().update_image_info(image_id, info)

    def update_label_info(self, label_id: str, label_tag: str, info: dict[str, Any]) -> None:
        self._check_not_read_only()
        if not self.has_label(label_id, label_tag):
            raise Refused(404, f"image {label_id} has no label with tag {label_tag!r}")
        with self._guard:
            super().update_label_info(label_id, label_tag, info)
