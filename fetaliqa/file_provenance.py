"""Provenance of a file: path and state (size, times, inode), and the hash of its bytes, stored by that state."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from fetaliqa.atomic import write_text

CHUNK_BYTES = 1 << 20
REMEMBERED_BYTES = 1 << 20  # smaller files are hashed again: reading them costs as much as looking them up
# Two changes closer together than the clock of a file system tells apart leave the same times. Linux writes times
# with the resolution of a scheduler tick (at most 10 ms); FAT and some network file systems with 1 or 2 seconds.
FINE_CLOCK_NS = 20_000_000
COARSE_CLOCK_NS = 2_000_000_000
NS_PER_SECOND = 1_000_000_000

SHA256 = re.compile(r"[0-9a-f]{64}")
PLAIN, SIZED = "sha256", "signature"  # keys of a remembered hash, see ``HashStore``

BytesRead = Callable[[int], object]  # called with the bytes of each block that was read


@dataclass(frozen=True)
class FileProvenance:
    """A file and its state: differs after an edit, and when another file takes its place.

    Attributes:
        path: of the file, as given.
        size: bytes.
        modified_ns: time of the last change of content; programs can set it back.
        changed_ns: time of the last change of status; programs cannot set it back.
        inode: a file that is moved here has another one.
    """

    path: Path
    size: int
    modified_ns: int
    changed_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> FileProvenance:
        """The present state of a file.

        Raises:
            OSError: when there is no such file, or it may not be read.
        """
        status = path.stat()
        return cls(path, status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)

    @classmethod
    def settled(cls, path: Path) -> FileProvenance | None:
        """A state that any later edit changes; None where the clock of the file system is too coarse.

        Waits for at most 20 ms when the file changed just now.
        """
        provenance = cls.of(path)
        if not provenance.is_settled:
            time.sleep(FINE_CLOCK_NS / NS_PER_SECOND)
            provenance = cls.of(path)
        return provenance if provenance.is_settled else None

    @property
    def state(self) -> tuple[int, int, int, int]:
        """Size, times and inode, as records and caches store them; without the path."""
        return self.size, self.modified_ns, self.changed_ns, self.inode

    @property
    def is_settled(self) -> bool:
        """Whether an edit from now on changes the state.

        False when the file changed so recently that a second change may get the same times, or when its time lies
        in the future (the clock of a file server).
        """
        changed = max(self.modified_ns, self.changed_ns)
        clock = FINE_CLOCK_NS if changed % NS_PER_SECOND else COARSE_CLOCK_NS
        return time.time_ns() - changed > clock


def file_sha256(path: Path, *, before: bytes = b"", progress: BytesRead | None = None) -> str:
    """SHA-256 (hex) of a file's bytes.

    Args:
        path: of the file.
        before: bytes that are hashed before the file's.
        progress: called with the size in bytes of each block.
    """
    digest = hashlib.sha256(before)
    with open(path, "rb") as file:
        while block := file.read(CHUNK_BYTES):
            digest.update(block)
            if progress is not None:
                progress(len(block))
    return digest.hexdigest()


class HashStore:
    """Hashes of large files by path and state, stored on disk and shared by processes.

    One small file for each hashed file, replaced as a whole. An entry that cannot be read is computed again; an
    entry that cannot be written is skipped.

    Args:
        folder: of the entries; made at the first write. It may be emptied at any time.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def sha256(self, path: Path, *, sized: bool = False, progress: BytesRead | None = None) -> str:
        """SHA-256 (hex) of all bytes of a file; the file is read only where it may have changed.

        Args:
            path: of the file.
            sized: hash the size before the bytes, as the data fingerprints in recorded training runs do.
            progress: called with the size in bytes of each block, or of the whole file when it is not read.
        """
        provenance = FileProvenance.of(path)
        kind = SIZED if sized else PLAIN
        entry = self.folder / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()}.json"
        large = provenance.size >= REMEMBERED_BYTES
        hashes = _hashes(entry, provenance) if large else {}
        if kind in hashes:
            if progress is not None:
                progress(provenance.size)
            return hashes[kind]
        settled = provenance.is_settled  # asked before reading: an edit meanwhile must show in the state
        before = f"{provenance.size}|".encode() if sized else b""
        sha256 = file_sha256(path, before=before, progress=progress)
        if large and settled and FileProvenance.of(path) == provenance:
            with contextlib.suppress(OSError):
                write_text(entry, json.dumps({**hashes, "stamp": provenance.state, kind: sha256}))
        return sha256


def user_hashes() -> HashStore:
    """The hashes stored in the user's cache folder."""
    return HashStore(Path(platformdirs.user_cache_dir("fetaliqa")) / "file-signatures")


def _hashes(entry: Path, provenance: FileProvenance) -> dict[str, str]:
    """The hashes of an entry by kind; none when it is damaged, or of another state of the file."""
    try:
        stored = json.loads(entry.read_text(encoding="utf-8"))
        if tuple(stored["stamp"]) != provenance.state:
            return {}
        return {kind: stored[kind] for kind in (PLAIN, SIZED) if SHA256.fullmatch(stored.get(kind, ""))}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
