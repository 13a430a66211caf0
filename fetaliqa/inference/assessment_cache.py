"""Cache of assessments on disk, keyed by their inputs, limited in size, and safe for several processes.

One entry is one file, written under a temporary name and renamed, so a reader sees a complete entry or none. A hit
refreshes the file's time; when the folder exceeds its limit, the least recently used entries are removed first. A
removed or damaged entry is a cache miss. If writing fails, the log says so and assessments are not cached.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fetaliqa.atomic import atomic_path, why_not_written
from fetaliqa.file_provenance import FileProvenance
from fetaliqa.sweep import Grid, Sweep, is_self_contained

logger = logging.getLogger(__name__)

DEFAULT_BYTES = 2 * 1024**3
ENTRY_SUFFIX = ".assessment"
DIGEST_BYTES = 32  # an entry is the SHA-256 of an npz archive, then the archive
# Only files with these names are removed: the folder is chosen by the user and may hold other files.
OWN_FILE = re.compile(r"[0-9a-f]{64}\.(assessment|masks\.(mha|nii\.gz|nrrd)|identity\.json)")
LEFT_OVER = re.compile(r"\.[0-9a-f]{40}\.[a-z0-9_]+(\.[a-z.]+)?|[0-9a-f]{64}\.lock")  # temporary files and locks
STALE_SECONDS = 3600  # older temporary files and locks were left by a process that ended
AGAIN_SECONDS = 3600.0  # between two warnings about failed writes


def cache_key(*parts: Any) -> str:
    """sha256 (hex) of JSON-able parts."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def pack_masks(masks: np.ndarray) -> dict[str, np.ndarray]:
    """Pack binary masks uint8 [T, H, W]: one bit per pixel, only frames with foreground."""
    used = np.flatnonzero(masks.any(axis=(1, 2)))
    return {
        "mask_shape": np.asarray(masks.shape, np.int64),
        "mask_frames": used.astype(np.int64),
        "mask_bits": np.packbits(
            masks[used].astype(bool).reshape(len(used), masks.shape[1] * masks.shape[2]), axis=1
        ),
    }


def unpack_masks(packed: Mapping[str, np.ndarray]) -> np.ndarray:
    """The inverse of :func:`pack_masks`."""
    masks = np.zeros(packed_shape(packed), np.uint8)
    for number, frame in enumerate(unpack_frames(packed)):
        if frame is not None:
            masks[number] = frame
    return masks


def packed_shape(packed: Mapping[str, np.ndarray]) -> tuple[int, int, int]:
    """(T, H, W) of packed masks."""
    count, height, width = (int(size) for size in packed["mask_shape"])
    return count, height, width


def unpack_frames(packed: Mapping[str, np.ndarray]) -> Iterator[np.ndarray | None]:
    """Iterate over packed masks in frame order: uint8 [H, W], or None for an empty one."""
    count, height, width = packed_shape(packed)
    rows = {int(frame): row for row, frame in enumerate(packed["mask_frames"])}
    bits = packed["mask_bits"]
    for frame in range(count):
        row = rows.get(frame)
        if row is None:
            yield None
        else:
            yield np.unpackbits(bits[row], count=height * width).reshape(height, width)


@dataclass(frozen=True)
class KnownContent:
    """Recorded content of a file: hash of the pixels, case id, image grid, and notes from reading it."""

    content_hash: str
    case_id: str
    grid: Grid
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, sweep: Sweep) -> KnownContent:
        """The content of a sweep that was read."""
        return cls(sweep.content_hash, sweep.case_id, sweep.grid, tuple(sweep.notes))


def used(path: Path) -> None:
    """Mark a file of the cache as recently used."""
    with contextlib.suppress(OSError):
        os.utime(path)


def _grid(written: Mapping[str, Any]) -> Grid:
    """A grid from JSON.

    Raises:
        KeyError, TypeError, ValueError: when it is not a grid.
    """
    spacing, origin, direction = (
        tuple(float(value) for value in written[name]) for name in ("spacing", "origin", "direction")
    )
    if (len(spacing), len(origin), len(direction)) != (3, 3, 9):
        raise ValueError("not a grid")
    return Grid(  # records of earlier versions lack fields and are rejected: they read some files differently
        spacing,  # type: ignore[arg-type]
        origin,  # type: ignore[arg-type]
        direction,  # type: ignore[arg-type]
        int(written["dimensions"]),
        float(written["frame_spacing"]),
        float(written["frame_origin"]),
        bool(written["sequence"]),
        int(written["exif"]),
    )


def file_identity(path: Path, sweep_count: int | None) -> str | None:
    """A key of this file, from its path, size, times and inode.

    None for what these do not describe: a folder, a header whose pixels lie elsewhere, or a file that changed so
    recently that another change may leave the same times. Take it before reading the file: a
    file replaced while being read then gets no false record.
    """
    if not path.is_file() or not is_self_contained(path):
        return None
    provenance = FileProvenance.settled(path)
    return None if provenance is None else cache_key("file", str(path.resolve()), provenance.state, sweep_count)


class AssessmentCache:
    """A folder of cached assessments.

    Args:
        directory: folder of the entries; created on first write.
        max_bytes: limit on the folder's size.
    """

    def __init__(self, directory: Path, max_bytes: int = DEFAULT_BYTES) -> None:
        self.directory = Path(directory)
        self.max_bytes = int(max_bytes)
        self._warned = -AGAIN_SECONDS  # monotonic time (s) of the last warning about a failed write

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Log write errors in the block instead of raising them."""
        try:
            yield
        except OSError as problem:
            if time.monotonic() - self._warned >= AGAIN_SECONDS:
                self._warned = time.monotonic()
                reason = why_not_written(problem, "assess")
                logger.warning("assessments are not cached in %s: %s", self.directory, reason)

    def _entry(self, key: str) -> Path:
        return self.directory / f"{key}{ENTRY_SUFFIX}"

    def get(self, key: str) -> tuple[dict[str, Any], Mapping[str, np.ndarray]] | None:
        """The JSON object and arrays (packed masks among them) of ``key``, or None without a usable entry.

        Arrays are decompressed on access.
        """
        path = self._entry(key)
        try:
            content = path.read_bytes()
        except OSError:
            return None
        digest, archive = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
        if (
            hashlib.sha256(archive).digest() != digest
        ):  # checked first: reading damaged archives fails in many ways
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)  # it will be computed again
            return None
        stored = np.load(io.BytesIO(archive), allow_pickle=False)
        record = json.loads(bytes(stored["record"]))
        used(path)
        return record, stored

    def put(
        self,
        key: str,
        record: dict[str, Any],
        masks: np.ndarray,
        arrays: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        """Store a JSON object, masks uint8 [T, H, W] and more arrays under ``key``, then :meth:`trim` the folder.

        A failed write is logged.
        """
        text = np.frombuffer(json.dumps(record, allow_nan=False).encode(), np.uint8)
        archive = io.BytesIO()
        np.savez_compressed(archive, record=text, **pack_masks(masks), **(arrays or {}))  # type: ignore[arg-type]
        with self._writing(), atomic_path(self._entry(key)) as temporary:
            temporary.write_bytes(hashlib.sha256(archive.getbuffer()).digest() + archive.getvalue())
        self.trim()

    def file_for(self, key: str, extension: str) -> Path:
        """Path of a derived file (a written mask stack) of entry ``key``."""
        return self.directory / f"{key}.masks{extension}"

    def lock_for(self, key: str) -> Path:
        """Lock file held while entry ``key`` is computed, so that no other process computes it too."""
        return self.directory / f"{key}.lock"

    def keep_file(self, target: Path, source: Path) -> None:
        """Store a copy of a derived file, see :meth:`file_for`. A failed write is logged."""
        with self._writing(), atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
        self.trim()

    def trim(self) -> None:
        """Remove the least recently used files until the folder is within its limit."""
        entries = []
        try:
            files = list(self.directory.iterdir())
        except OSError:
            return  # no folder, or not readable
        for path in files:
            with contextlib.suppress(OSError):
                status = path.stat()
                if OWN_FILE.fullmatch(path.name):
                    entries.append((status.st_mtime, status.st_size, path))
                elif LEFT_OVER.fullmatch(path.name) and time.time() - status.st_mtime > STALE_SECONDS:
                    path.unlink(missing_ok=True)
        total = sum(size for _, size, _ in entries)
        for _, size, path in sorted(entries, key=lambda entry: entry[0]):
            if total <= self.max_bytes:
                return
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            total -= size

    # -- recorded content of files: a cached 351 MB stack need not be read again to find its entry --

    def known_content(self, identity: str | None) -> KnownContent | None:
        """The recorded content of a file identity, or None."""
        if identity is None:
            return None
        path = self.directory / f"{identity}.identity.json"
        try:
            recorded = json.loads(path.read_text())
            notes = tuple(str(note) for note in recorded["notes"])
            grid = _grid(recorded["grid"])
            content = KnownContent(str(recorded["content_hash"]), str(recorded["case_id"]), grid, notes)
            used(path)
            return content
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def remember_content(self, identity: str | None, content: KnownContent) -> None:
        """Record the content of the file with this identity."""
        if identity is not None:
            with self._writing(), atomic_path(self.directory / f"{identity}.identity.json") as temporary:
                temporary.write_text(json.dumps(asdict(content)))
