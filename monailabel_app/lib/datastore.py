"""The studies folder, guarded: safe ids, real sweeps as images, real masks as labels, whole files only.

MONAI Label's LocalDatastore writes wherever an id or tag leads, and stores any bytes. Everything a client can
reach passes through this class, on our front and on the plain server alike.

Labels: ``labels_folder``; the index: ``index``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import time
import zipfile
from pathlib import Path
from typing import Any

from monailabel.datastore.local import DataModel, ImageLabelModel

from fetaliqa.active.frame_profiles import source_of
from fetaliqa.atomic import atomic_path
from fetaliqa.case_names import canonical
from fetaliqa.sweep import is_sweep_path, read_sweep
from fetaliqa.sweep.case_paths import images_below
from fetaliqa.sweep.folder_contents import is_system_file
from monailabel_app.lib.downloads import Downloads, complete_copy
from monailabel_app.lib.ids import check_id
from monailabel_app.lib.label_info import plain
from monailabel_app.lib.labels_folder import LabelsFolder
from monailabel_app.lib.received import check_self_contained, suffix_of, sweep_suffixes
from monailabel_app.lib.refusal import Refused, as_refusal
from monailabel_app.lib.scratch import scratch

logger = logging.getLogger(__name__)


HALF_UPLOAD = re.compile(r"\..+\.[a-z0-9_]{8}(\.[^.]+)?")  # what ``atomic_path`` writes into
HALF_SECONDS = 86400.0  # an upload that another server receives looks the same, and is done by then


class GuardedDatastore(LabelsFolder):
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
        self.downloads = Downloads()
        images = str(images_below(Path(studies)))
        super().__init__(
            studies, str(images), max_file_bytes=max_file_bytes, auto_reload=auto_reload, read_only=read_only
        )
        if not read_only:
            _remove_halves(Path(studies) / images)

    # -- reading: ids checked, and never in the middle of a refresh ---------------------------------

    def get_image_uri(self, image_id: str) -> str:
        check_id("image", image_id)
        with self._guard:
            entry = self._datastore.objects.get(image_id)
            folder = os.path.abspath(self._datastore.image_path())
            # not where a link leads to: its name says what the file is called, and of which kind it is
            return "" if entry is None else os.path.join(folder, self._filename(image_id, entry.image.ext))

    def get_image_info(self, image_id: str) -> dict[str, Any]:
        """What the index says of an image, and the ``grid`` and ``name`` of what is sent of it."""
        with self._guard:
            info = dict(super().get_image_info(check_id("image", image_id)))
            path = Path(self.get_image_uri(image_id))
        if path.is_file():
            described = self.downloads.described(path)
            # clients save the image under this name, and go by its suffix; no folder of the server is named
            info["name"] = described.name(path)
            if "path" in info:
                info["path"] = info["name"]
            if described.grid is not None:
                info["grid"] = described.grid
        return info

    def images_folder(self) -> Path:
        """The folder of the images."""
        return Path(self._datastore.image_path())

    def get_labels_by_image_id(self, image_id: str) -> dict[str, str]:
        with self._guard:
            return super().get_labels_by_image_id(check_id("image", image_id))

    def list_images(self) -> list[str]:
        with self._guard:
            return super().list_images()

    def sources(self) -> dict[str, str]:
        """The file of each image, see ``fetaliqa.active.frame_profiles.source_of``; without missing files."""
        with self._guard:
            folder = Path(self._datastore.image_path())
            files = {
                image_id: folder / self._filename(image_id, entry.image.ext)
                for image_id, entry in self._datastore.objects.items()
            }
        found = {}
        for image_id, file in files.items():
            with contextlib.suppress(OSError):
                found[image_id] = source_of(file)
        return found

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
            return {**super().status(), "not_offered": self.not_offered()}

    def json(self) -> Any:
        with self._guard:
            return super().json()

    def get_dataset_archive(self, limit_cases: int | None) -> str:
        """A temporary ZIP of finally labelled images with their labels, each a file that can be opened by itself.

        Raises:
            Refused: 400 when an image cannot be read.
            OSError: when the disk does not take it.
        """
        pairs = self.datalist()[:limit_cases]
        with self._guard:
            index = self._datastore.model_dump_json(exclude={"base_path"})
        target = scratch.file(".zip")
        try:
            with zipfile.ZipFile(target, "w") as archive:
                for pair in pairs:
                    self._archive_image(archive, Path(pair["image"]))
                    archive.write(pair["label"], f"label/{Path(pair['label']).name}")
                archive.writestr("metadata.json", index)
        except BaseException:
            scratch.discard(target)
            raise
        return str(target)

    def _archive_image(self, archive: zipfile.ZipFile, path: Path) -> None:
        described = self.downloads.described(path)
        if described.copy is None:
            archive.write(path, f"image/{path.name}")
            return
        with as_refusal():
            copy = complete_copy(path, described.copy)
        try:
            archive.write(copy, f"image/{described.name(path)}")
        finally:
            scratch.discard(copy)

    # -- writing ------------------------------------------------------------------------------------

    def add_image(self, image_id: str, image_filename: str, image_info: dict[str, Any]) -> str:
        """Store a sweep under a new id.

        Raises:
            Refused: 400 for a bad id or a file that is not a sweep, 409 when the id is taken, 413 when too large.
        """
        received = Path(image_filename)
        stem, extension = self._to_id(received.name)
        image_id = check_id("image", image_id or stem)
        if not extension and is_sweep_path(received):
            extension = ".dcm"  # a DICOM file as scanners and archives call it
        if not extension:
            raise Refused(400, f"image {image_id}: the suffix must be one of {', '.join(sweep_suffixes())}")
        self._check_writable(received)
        check_self_contained(received)
        with as_refusal():
            told = plain(image_info or {})
            read_sweep(received)
        name = self._filename(image_id, extension.lower())
        if is_system_file(name):
            raise Refused(400, f"image {image_id}: {name} is the name of another kind of file; rename it")
        with contextlib.ExitStack() as locked:
            with atomic_path(Path(self._datastore.image_path()) / name) as temporary:
                # gigabytes are copied and flushed before the lock is taken: others need not wait for them
                shutil.copyfile(received, temporary)
                with open(temporary, "rb") as written:
                    os.fsync(written.fileno())
                locked.enter_context(self._locked())
                there = {self._to_id(child.name)[0] for child in Path(self._datastore.image_path()).iterdir()}
                there = {canonical(case) for case in (*there, *self._datastore.objects)}
                if canonical(image_id) in there:
                    raise Refused(409, f"image {image_id}: there is one of this id already; delete it first")
            info = {**told, "ts": int(time.time()), "name": name}
            self._datastore.objects[image_id] = ImageLabelModel(image=DataModel(info=info, ext=extension.lower()))
            self._update_datastore_file(lock=False)
        return image_id

    def remove_image(self, image_id: str) -> None:
        self._check_not_read_only()
        self.image_path(image_id)
        with self._locked(), as_refusal():
            self.labels.retire(image_id)  # else an image of the same id would inherit them
            labels = self._datastore.objects[image_id].labels
            for tag, label in labels.items():
                file = Path(self._datastore.label_path(tag)) / self._filename(image_id, label.ext)
                file.unlink(missing_ok=True)
            labels.clear()
            super().remove_image(image_id)
            self.refresh()

    def update_image_info(self, image_id: str, info: dict[str, Any]) -> None:
        self._check_not_read_only()
        self.image_path(image_id)
        with self._locked(), as_refusal():
            super().update_image_info(image_id, plain(info))


def _remove_halves(images: Path) -> None:
    """Remove what killed servers left half-written."""
    for left in images.glob(".*"):
        suffix = suffix_of(left.name, sweep_suffixes())
        if suffix is None or not HALF_UPLOAD.fullmatch(left.name[: -len(suffix)]):
            continue
        with contextlib.suppress(OSError):
            if left.is_file() and time.time() - left.stat().st_mtime > HALF_SECONDS:
                left.unlink()
