"""Assessments on disk, keyed by what they depend on, bounded in size, safe with several processes.

One entry is one file, written under a temporary name and renamed, so a reader sees a whole entry or
none. A hit refreshes the file's access time; when the folder outgrows its bound, the entries longest
unused go first. A file that was evicted or damaged is simply a miss.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from fetaliqa.atomic import atomic_path

DEFAULT_BYTES = 2 * 1024**3
ENTRY_SUFFIX = ".assessment.npz"
STALE_SECONDS = 3600  # a temporary file older than this was left by a process that died


def cache_key(*parts: Any) -> str:
    """sha256 (hex) of JSON-able parts."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def pack_masks(masks: np.ndarray) -> dict[str, np.ndarray]:
    """Binary masks uint8 [T, H, W] as the frames that have any foreground, one bit per pixel."""
    used = np.flatnonzero(masks.any(axis=(1, 2)))
    return {
        "mask_shape": np.asarray(masks.shape, np.int64),
        "mask_frames": used.astype(np.int64),
        "mask_bits": np.packbits(
            masks[used].astype(bool).reshape(len(used), masks.shape[1] * masks.shape[2]), axis=1
        ),
    }


def unpack_masks(packed: Any) -> np.ndarray:
    """The inverse of :func:`pack_masks`."""
    frames, height, width = (int(size) for size in packed["mask_shape"])
    masks = np.zeros((frames, height, width), np.uint8)
    used = packed["mask_frames"]
    if len(used):
        bits = np.unpackbits(packed["mask_bits"], axis=1, count=height * width)
        masks[used] = bits.reshape(len(used), height, width)
    return masks


class AssessmentCache:
    """A folder of cached assessments.

    Args:
        directory: where entries live; made on first write.
        max_bytes: bound on the folder's size.
    """

    def __init__(self, directory: Path, max_bytes: int = DEFAULT_BYTES) -> None:
        self.directory = Path(directory)
        self.max_bytes = int(max_bytes)

    def _entry(self, key: str) -> Path:
        return self.directory / f"{key}{ENTRY_SUFFIX}"

    def get(self, key: str) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
        """The stored JSON object and packed masks of ``key``, or None when there is no usable entry."""
        path = self._entry(key)
        try:
            with np.load(path, allow_pickle=False) as stored:
                record = json.loads(bytes(stored["record"]))
                packed = {name: stored[name] for name in ("mask_shape", "mask_frames", "mask_bits")}
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            path.unlink(missing_ok=True)  # damaged: drop it, it will be computed again
            return None
        with contextlib.suppress(OSError):
            os.utime(path)
        return record, packed

    def put(self, key: str, record: dict[str, Any], masks: np.ndarray) -> None:
        """Store a JSON object and masks uint8 [T, H, W] under ``key``, then keep the folder in bounds."""
        text = np.frombuffer(json.dumps(record, allow_nan=False).encode(), np.uint8)
        with atomic_path(self._entry(key)) as temporary, open(temporary, "wb") as stream:
            np.savez_compressed(stream, record=text, **pack_masks(masks))
        self.trim()

    def file_for(self, key: str, extension: str) -> Path:
        """Where a derived file (a written mask stack) of entry ``key`` belongs."""
        return self.directory / f"{key}.masks{extension}"

    def trim(self) -> None:
        """Remove the longest unused files until the folder is within its bound."""
        entries = []
        for path in self.directory.iterdir():
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                if path.name.startswith("."):
                    if time.time() - status.st_mtime > STALE_SECONDS:
                        path.unlink(missing_ok=True)
                    continue
                entries.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries, key=lambda entry: entry[0]):
            if total <= self.max_bytes:
                return
            path.unlink(missing_ok=True)
            total -= size

    # -- which file on disk has which content: spares reading a 351 MB stack to know that it is cached --

    def identity(self, path: Path, sweep_count: int | None) -> str | None:
        """A key of this very file (path, size, times, inode); None for a folder, whose times say little.

        Take it before reading the file: a file replaced while being read then gets no false record.
        """
        if not path.is_file():
            return None
        status = path.stat()
        times = (status.st_mtime_ns, status.st_ctime_ns)
        return cache_key("file", str(path.resolve()), status.st_size, times, status.st_ino, sweep_count)

    def known_content(self, identity: str | None) -> tuple[str, str] | None:
        """The (content hash, case id) recorded for a file identity, or None."""
        if identity is None:
            return None
        try:
            recorded = json.loads((self.directory / f"{identity}.identity.json").read_text())
            return str(recorded["content_hash"]), str(recorded["case_id"])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def remember_content(self, identity: str | None, content_hash: str, case_id: str) -> None:
        """Record what the file of this identity holds."""
        if identity is not None:
            with atomic_path(self.directory / f"{identity}.identity.json") as temporary:
                temporary.write_text(json.dumps({"content_hash": content_hash, "case_id": case_id}))
