"""The index of a studies folder: which files are offered, and one way to change it.

MONAI Label's LocalDatastore rewrites the index in place, in worker processes from a copy that may be old, and so
loses what others saved meanwhile. Here each change re-reads the index under one lock of all processes, and
replaces it whole.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock
from monailabel.datastore.local import LocalDatastore, LocalDatastoreModel

from fetaliqa.atomic import write_text
from fetaliqa.case_names import printable
from fetaliqa.file_hash import Stamp, file_stamp
from monailabel_app.lib.offered import OfferedFiles, split_name
from monailabel_app.lib.received import suffix_of, sweep_suffixes
from monailabel_app.lib.refusal import Refused

logger = logging.getLogger(__name__)

CLOSE_SECONDS = 5.0  # that closing waits for the folder's observer


class LockedIndex(LocalDatastore):
    """A folder of sweeps with its index.

    Args:
        studies: the folder.
        images: folder of the images in it.
        auto_reload: follow changes of the folder.
        read_only: never write the index.
    """

    def __init__(self, studies: str, images: str, *, auto_reload: bool, read_only: bool) -> None:
        self._guard = threading.RLock()  # endpoints run in threads, and the folder's observer in one of its own
        # one lock object, so that whoever holds it may take it again
        self._file_lock = FileLock(Path(studies) / ".lock", thread_local=False)
        self._seen: Stamp | None = None  # the index as it was last read or written
        self._read_only = read_only
        self._offered, self._reported = OfferedFiles(), set[str]()
        extensions = [f"*{suffix}" for suffix in sweep_suffixes()]
        super().__init__(
            studies, images_dir=images, extensions=extensions, auto_reload=auto_reload, read_only=read_only
        )
        if not read_only:
            with self._locked():  # so nobody is writing: these are of killed writers
                for left in Path(studies).glob(f".{Path(self._datastore_config_path).name}.*"):
                    left.unlink(missing_ok=True)
        if auto_reload:
            self._handler.on_moved = self._on_moved  # files that arrive by rename, the index included
            # MONAI Label's patterns hold the folder's own name, where brackets are a pattern too, and know
            # suffixes in lower case only; _concerns decides instead
            self._handler._patterns = ["*", "**"]

    def close(self) -> None:
        """Follow changes of the folder no more."""
        observer = getattr(self, "_observer", None)  # none where it is not followed, or could not be
        if observer is not None and observer.is_alive():
            observer.stop()
            observer.join(CLOSE_SECONDS)

    # -- what is found in the folder --------------------------------------------------------------

    def _to_id(self, file: str) -> tuple[str, str]:
        return split_name(file)

    def _list_files(self, path: str, patterns: Any) -> dict[str, str]:
        if Path(path) != Path(self._datastore.image_path()):
            labels = (child.name for child in Path(path).iterdir() if not child.name.startswith("."))
            return {name: name for name in sorted(labels) if suffix_of(name, sweep_suffixes()) is not None}
        listed = self._offered.find(Path(path), self._known_suffix)
        for name, reason in self._offered.left_out.items():
            if name not in self._reported:
                self._reported.add(name)
                logger.warning("%s is not offered: %s", name, reason)
        self._reported &= set(self._offered.left_out)
        return {name: name for name in listed}

    def _known_suffix(self, case: str) -> str | None:
        entry = self._datastore.objects.get(case)
        return None if entry is None else entry.image.ext

    def not_offered(self) -> list[dict[str, str]]:
        """Files of the folder that are no images here, with the reason in words."""
        with self._guard:
            return self._offered.to_json()

    # what the folder's observer calls: its thread must outlive every error

    def _concerns(self, path: Any) -> bool:
        """Whether a change there may change what is offered, or which labels lie in the folder."""
        changed = Path(os.path.abspath(os.fsdecode(path)))
        if changed.name.startswith(".") or changed.suffix in (".json", ".lock"):
            return False  # the server's own records, and files that are being written
        images, labels = map(os.path.abspath, (self._datastore.image_path(), self._datastore.label_path(None)))
        return images == str(changed.parent) or labels == str(changed.parent.parent)

    def _on_moved(self, event: Any) -> None:
        with _logged():
            if event.dest_path == self._datastore_config_path:
                self._init_from_datastore_file()
            elif self._concerns(event.src_path) or self._concerns(event.dest_path):
                self.refresh()

    def _on_any_event(self, event: Any) -> None:
        with _logged():
            if self._concerns(event.src_path):
                super()._on_any_event(event)

    def _on_modify_event(self, event: Any) -> None:
        with _logged():
            if printable(Path(event.src_path).name) in self._offered.left_out:  # it was empty when it appeared
                self.refresh()
            super()._on_modify_event(event)

    # -- the index: read again before each change, under one lock of all processes ------------------

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """The index as it is on disk now, and nobody else's to change until the block ends."""
        try:
            with self._guard, self._file_lock:
                self._reload()
                yield
        except OSError as problem:
            raise Refused(
                507,
                f"the studies folder does not take it: {problem.strerror or problem}; check disk and permissions",
            ) from problem

    def _reload(self) -> None:
        index = Path(self._datastore_config_path)
        seen = _signature(index)
        if seen is None or seen == self._seen:
            return
        try:
            found = LocalDatastoreModel.model_validate_json(index.read_bytes())
        except ValueError as error:
            self._set_aside(index, seen, error)
            return
        self._datastore = found
        self._datastore.base_path = self._datastore_path
        self._seen = seen
        self._index_was_read()

    def _set_aside(self, index: Path, seen: Stamp, error: ValueError) -> None:
        """Go on without an index that nobody can read: it follows from the files and can be made again."""
        if not self._read_only:
            aside = index.with_name(f"{index.name}.damaged-{time.strftime('%Y%m%dT%H%M%S')}")
            index.replace(aside)
            logger.error("%s cannot be read (%s); kept as %s and made again", index, error, aside.name)
        else:
            logger.error("%s cannot be read (%s)", index, error)
            self._seen = seen

    def _index_was_read(self) -> None:
        """Called after another's index was read, the lock held."""

    def refresh(self) -> None:
        with self._locked():
            super().refresh()

    def _init_from_datastore_file(self, throw_exception: bool = False) -> None:
        with self._locked():
            pass

    def _update_datastore_file(self, lock: bool = True) -> None:
        if self._read_only:
            return
        with self._guard, self._file_lock:
            index = Path(self._datastore_config_path)
            content = self._datastore.model_dump(exclude={"base_path"})
            write_text(index, json.dumps(content, default=str))  # indented, 300 cases take seconds
            self._seen = _signature(index)


@contextlib.contextmanager
def _logged() -> Iterator[None]:
    try:
        yield
    except Exception:
        logger.exception("a change of the studies folder could not be followed; the next one will be")


def _signature(path: Path) -> Stamp | None:
    """What tells one writing of the index from the next."""
    try:
        return file_stamp(path.stat())
    except FileNotFoundError:
        return None
