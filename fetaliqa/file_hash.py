"""The content hash of a file, and which file it is: so that it need not be read again to know its hash."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
from collections.abc import Callable
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

SIGNATURE = re.compile(r"[0-9a-f]{64}")

Stamp = tuple[int, int, int, int]
BytesRead = Callable[[int], object]  # called with the bytes of each block that was read


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


def file_stamp(status: os.stat_result) -> Stamp:
    """What tells a file from what it was before an edit, and from another one that took its place.

    Returns:
        Size in bytes, times of change of content and of status in ns, and inode. A program may set the first time
        back, but not the second; a file that is moved here has another inode.
    """
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def is_settled(status: os.stat_result) -> bool:
    """Whether an edit of the file from now on changes its stamp.

    It does not where the file was changed so recently that a second change may get the same times. A time that
    lies in the future (the clock of a file server) tells nothing either.
    """
    changed = max(status.st_mtime_ns, status.st_ctime_ns)
    clock = FINE_CLOCK_NS if changed % NS_PER_SECOND else COARSE_CLOCK_NS
    return time.time_ns() - changed > clock


def settled_stamp(path: Path) -> Stamp | None:
    """The stamp of a file, which any edit from now on changes; None where that cannot be had.

    For a file that changed just now this waits, 20 ms at most; where the clock is too coarse there is none.
    """
    status = path.stat()
    if not is_settled(status):
        time.sleep(FINE_CLOCK_NS / NS_PER_SECOND)
        status = path.stat()
    return file_stamp(status) if is_settled(status) else None


class SignatureStore:
    """Signatures of files by path and stamp, kept on disk for the processes to come.

    One small file for each hashed file, replaced as a whole, so that any number of processes may share the folder.
    What cannot be read there is computed, what cannot be written is not kept: the answer is the same, only later.

    Args:
        folder: where they are kept; made at the first write. Anybody may empty it at any time.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    def signature(self, path: Path, progress: BytesRead | None = None) -> str:
        """SHA-256 (hex) over a file's size and all its bytes, which are read where the file may have changed.

        Args:
            path: of the file.
            progress: called with the size in bytes of each block, or of the whole file when it is not read.
        """
        before = path.stat()
        stamp = file_stamp(before)
        entry = self.folder / f"{hashlib.sha256(os.fsencode(path.resolve())).hexdigest()}.json"
        large = before.st_size >= REMEMBERED_BYTES
        if large and (known := _known(entry, stamp)) is not None:
            if progress is not None:
                progress(before.st_size)
            return known
        settled = is_settled(before)  # asked before reading: an edit meanwhile must show in the stamp
        found = file_sha256(path, before=f"{before.st_size}|".encode(), progress=progress)
        if large and settled and file_stamp(path.stat()) == stamp:
            with contextlib.suppress(OSError):
                write_text(entry, json.dumps({"stamp": stamp, "signature": found}))
        return found


def user_signatures() -> SignatureStore:
    """The signatures kept in the user's cache folder."""
    return SignatureStore(Path(platformdirs.user_cache_dir("fetaliqa")) / "file-signatures")


def _known(entry: Path, stamp: Stamp) -> str | None:
    try:
        told = json.loads(entry.read_text(encoding="utf-8"))
        found = told["signature"]
        return found if tuple(told["stamp"]) == stamp and SIGNATURE.fullmatch(found) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
