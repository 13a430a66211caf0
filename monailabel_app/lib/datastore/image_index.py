"""The index of a studies folder: which files are offered as images, and one way to change the index file.

MONAI Label's LocalDatastore rewrites its index in place, and worker processes do so from a copy that may be
outdated, so that concurrent changes are lost. Here every change first re-reads the index under a lock shared by
all processes, and replaces the file atomically.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.datastore.local import DataModel, ImageLabelModel, LocalDatastore, LocalDatastoreModel

from fetaliqa.active.frame_profiles import source_of
from fetaliqa.atomic import write_text
from fetaliqa.case_names import printable
from fetaliqa.file_provenance import FileProvenance
from monailabel_app.lib.datastore.image_files import ImageFiles, spelled_otherwise, split_name
from monailabel_app.lib.files.uploaded_files import suffix_of, sweep_suffixes
from monailabel_app.lib.http.ids import check_id
from monailabel_app.lib.http.refusal import Refused

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 5.0  # that closing waits for the folder's observer


class ImageIndex(LocalDatastore):
    """The images of a folder and the labels that MONAI Label's clients see, as MONAI Label's index file has them.

    Args:
        studies: folder that holds the index and ``labels/``.
        images: folder of the images in it.
        auto_reload: follow changes of the folder.
        read_only: never write the index.

    Attributes:
        guard: lock of this process; the index does not change while it is held.
        follow: called with both locks held, after a refresh and after another process's index was read.
    """

    def __init__(self, studies: str, images: str, *, auto_reload: bool, read_only: bool) -> None:
        self.guard = threading.RLock()  # endpoints run in threads, and the folder's observer in one of its own
        # one lock object, so that whoever holds it may take it again
        self._file_lock = FileLock(Path(studies) / ".lock", thread_local=False)
        self.follow: Callable[[], None] = lambda: None
        self._stamp: FileProvenance | None = None  # of the index file as it was last read or written
        self.read_only = read_only
        self._files, self._logged_names = ImageFiles(), set[str]()
        extensions = [f"*{suffix}" for suffix in sweep_suffixes()]
        super().__init__(
            studies, images_dir=images, extensions=extensions, auto_reload=auto_reload, read_only=read_only
        )
        if not read_only:
            with self.locked():  # nobody else is writing: temporary files are left by killed processes
                for leftover in Path(studies).glob(f".{Path(self._datastore_config_path).name}.*"):
                    leftover.unlink(missing_ok=True)
        if auto_reload:
            self._handler.on_moved = self._on_moved  # files that arrive by rename, the index included
            # MONAI Label's patterns contain the folder's own name, in which brackets would be a pattern, and match
            # suffixes in lower case only; _is_relevant decides instead
            self._handler._patterns = ["*", "**"]

    def close(self) -> None:
        """Stop following changes of the folder."""
        observer = getattr(self, "_observer", None)  # none where it is not followed, or could not be
        if observer is not None and observer.is_alive():
            observer.stop()
            observer.join(CLOSE_SECONDS)

    # -- entries and their files ------------------------------------------------------------------

    def check_not_read_only(self) -> None:
        """Raise Refused (403) where the folder was opened for reading only."""
        if self.read_only:
            raise Refused(403, "the studies folder is open for reading only in this process")

    def entry(self, image_id: str) -> ImageLabelModel | None:
        """The record of an image and its labels."""
        return self._datastore.objects.get(image_id)

    def labels(self, image_id: str) -> dict[str, DataModel]:
        """The records of an image's labels by tag; empty for an unknown image."""
        entry = self.entry(image_id)
        return {} if entry is None else entry.labels

    def label(self, image_id: str, tag: str) -> DataModel | None:
        """The record of a label."""
        return self._datastore.label(image_id, tag)

    def add_entry(self, image_id: str, suffix: str, info: dict[str, Any]) -> None:
        """Add an image whose file is in place, and write the index. Both locks are held."""
        self._datastore.objects[image_id] = ImageLabelModel(image=DataModel(info=info, ext=suffix))
        self.write()

    def images_folder(self) -> Path:
        """The folder of the images."""
        return Path(self._datastore.image_path())

    def label_file(self, image_id: str, tag: str, suffix: str) -> Path:
        """Where the mask file of a label lies for MONAI Label's clients."""
        return Path(self._datastore.label_path(tag)) / f"{image_id}{suffix}"

    def get_image_uri(self, image_id: str) -> str:
        with self.guard:
            entry = self.entry(check_id("image", image_id))
            folder = os.path.abspath(self._datastore.image_path())
            # a symbolic link is not resolved: its own name says what the image is called, and of which format it
            # is
            return "" if entry is None else os.path.join(folder, self._filename(image_id, entry.image.ext))

    def image_path(self, image_id: str) -> Path:
        """Path of an image file.

        Raises:
            Refused: 400 for an id outside the grammar, 404 for an unknown one.
        """
        uri = self.get_image_uri(image_id)
        if not uri or not Path(uri).exists():
            other = spelled_otherwise(image_id, self.list_images())
            hint = "" if other is None else f" (but one whose name is {other!a}, in another form of Unicode)"
            raise Refused(404, f"there is no image {image_id!r} here{hint}; GET /datastore/?output=all lists them")
        return Path(uri)

    def sources(self) -> dict[str, str]:
        """Identity of each image file, see ``fetaliqa.active.frame_profiles.source_of``; without missing files."""
        with self.guard:
            files = {
                image_id: self.images_folder() / self._filename(image_id, entry.image.ext)
                for image_id, entry in self._datastore.objects.items()
            }
        sources = {}
        for image_id, file in files.items():
            with contextlib.suppress(OSError):
                sources[image_id] = source_of(file)
        return sources

    def to_json_text(self) -> str:
        """The whole index as JSON text."""
        with self.guard:
            return self._datastore.model_dump_json(exclude={"base_path"})

    # -- files of the folder ----------------------------------------------------------------------

    def _to_id(self, file: str) -> tuple[str, str]:
        return split_name(file)

    def _list_files(self, path: str, patterns: Any) -> dict[str, str]:
        if Path(path) != self.images_folder():
            labels = (child.name for child in Path(path).iterdir() if not child.name.startswith("."))
            return {name: name for name in sorted(labels) if suffix_of(name, sweep_suffixes()) is not None}
        names = self._files.scan(Path(path), self._indexed_suffix)
        for name, reason in self._files.rejected.items():
            if name not in self._logged_names:
                self._logged_names.add(name)
                logger.warning("%s is not offered: %s", name, reason)
        self._logged_names &= set(self._files.rejected)
        return {name: name for name in names}

    def _indexed_suffix(self, case: str) -> str | None:
        entry = self.entry(case)
        return None if entry is None else entry.image.ext

    def not_offered(self) -> list[dict[str, str]]:
        """Files of the folder that are not offered as images, each with a sentence."""
        with self.guard:
            return self._files.to_json()

    # -- what the folder's observer calls: its thread must survive every error --------------------

    def _is_relevant(self, path: Any) -> bool:
        """Whether a change there may change the images, or the label files."""
        changed = Path(os.path.abspath(os.fsdecode(path)))
        if changed.name.startswith(".") or changed.suffix in (".json", ".lock"):
            return False  # the server's own records, and files that are being written
        images, labels = map(os.path.abspath, (self._datastore.image_path(), self._datastore.label_path(None)))
        return images == str(changed.parent) or labels == str(changed.parent.parent)

    def _on_moved(self, event: Any) -> None:
        with _logged():
            if event.dest_path == self._datastore_config_path:
                self._init_from_datastore_file()
            elif self._is_relevant(event.src_path) or self._is_relevant(event.dest_path):
                self.refresh()

    def _on_any_event(self, event: Any) -> None:
        with _logged():
            if self._is_relevant(event.src_path):
                super()._on_any_event(event)

    def _on_modify_event(self, event: Any) -> None:
        with _logged():
            if printable(Path(event.src_path).name) in self._files.rejected:  # it was empty when it appeared
                self.refresh()
            super()._on_modify_event(event)

    # -- reading and writing the index file -------------------------------------------------------

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold both locks, with the index as it is on the disk.

        Raises:
            Refused: 507 when the change cannot be written made in the block.
        """
        try:
            with self.guard, self._file_lock:
                self._reload()
                yield
        except OSError as problem:
            raise Refused(
                507,
                f"the studies folder cannot be written: {problem.strerror or problem}; check disk and permissions",
            ) from problem

    def _reload(self) -> None:
        file = Path(self._datastore_config_path)
        stamp = _stamp_of(file)
        if stamp is None or stamp == self._stamp:
            return
        try:
            content = LocalDatastoreModel.model_validate_json(file.read_bytes())
        except ValueError as error:
            self._discard_damaged(file, stamp, error)
            return
        self._datastore = content
        self._datastore.base_path = self._datastore_path
        self._stamp = stamp
        self.follow()

    def _discard_damaged(self, file: Path, stamp: FileProvenance, error: ValueError) -> None:
        """Continue without a damaged index: it is rebuilt from the files."""
        if self.read_only:
            logger.error("%s cannot be read (%s)", file, error)
            self._stamp = stamp
        else:
            backup = file.with_name(f"{file.name}.damaged-{time.strftime('%Y%m%dT%H%M%S')}")
            file.replace(backup)
            logger.error("%s cannot be read (%s); renamed to %s and rebuilt", file, error, backup.name)

    def refresh(self) -> None:
        with self.locked():
            super().refresh()
            self.follow()

    def write(self) -> None:
        """Write the index file, which other processes then read."""
        self._update_datastore_file()

    def mark_outdated(self) -> None:
        """Have the index file read again before the next change, because writing it failed."""
        self._stamp = None

    def _init_from_datastore_file(self, throw_exception: bool = False) -> None:
        with self.locked():
            pass

    def _update_datastore_file(self, lock: bool = True) -> None:
        if self.read_only:
            return
        with self.guard, self._file_lock:
            file = Path(self._datastore_config_path)
            content = self._datastore.model_dump(exclude={"base_path"})
            write_text(file, json.dumps(content, default=str))  # not indented: 300 cases would take seconds
            self._stamp = _stamp_of(file)


@contextlib.contextmanager
def _logged() -> Iterator[None]:
    try:
        yield
    except Exception:
        logger.exception("a change of the studies folder could not be followed; the next one will be")


def _stamp_of(path: Path) -> FileProvenance | None:
    """What distinguishes one writing of the index from the next."""
    try:
        return FileProvenance.of(path)
    except FileNotFoundError:
        return None
