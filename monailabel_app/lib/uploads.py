"""What clients may leave on the disk: how much, how fast, and never the last of it, which is for labels."""

from __future__ import annotations

import contextlib
import ipaddress
import math
import os
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from monailabel_app.lib.received import TEMPORARY_PREFIX
from monailabel_app.lib.refusal import Refused

MINUTE = 60.0  # s
COUNTED_SECONDS = 10.0  # a count of the folders is good for; what was let in since is added to it
LOOK_BYTES = 8 * 1024**2  # of an upload between two looks at the disk
SMALL_BYTES = 1024**2  # a request for an inference up to here is a form, not a file
MANY_CLIENTS = 10_000  # addresses remembered before those of the last minute alone are kept
_GIBIBYTE = 1024**3
Kept = Literal["image", "session", "answer"]  # until somebody removes it, for a while, until the answer is sent


@dataclass(frozen=True)
class Folders:
    """Where uploads go.

    Attributes:
        images: of the studies.
        sessions: of upload sessions; None where they are turned off.
        temporary: where requests are kept while they are read.
    """

    images: Path
    sessions: Path | None
    temporary: Path


class UploadLimits:
    """Lets uploads of images in, or not. Labels do not pass here: only a full disk keeps them out.

    Args:
        folders: where they go, once the app is there.
        max_bytes: images, sessions and temporary files together.
        min_free_bytes: kept free on each disk.
        per_minute: uploads of one client; an IPv6 client is its network of 64 bits.
    """

    def __init__(
        self, folders: Callable[[], Folders], max_bytes: int, min_free_bytes: int, per_minute: int
    ) -> None:
        self._folders, self._max, self._min_free, self._per_minute = folders, max_bytes, min_free_bytes, per_minute
        self._lock = threading.Lock()
        self._recent: dict[str, deque[float]] = {}
        self._counted = (-math.inf, 0)  # when, and how much was there
        self._since = 0  # bytes that came since then
        self._coming = 0  # bytes of uploads that are not over: no name leads to where they are kept

    def admit(self, client: str, size: int, kept: Kept = "image") -> None:
        """Let an upload begin.

        Args:
            client: its address.
            size: bytes as declared, 0 where they are not.
            kept: what becomes of it.

        Raises:
            Refused: 429 for too many in a minute, 507 when it does not fit.
        """
        self._check_rate(client)
        self.check(size, kept)

    def _check_rate(self, client: str) -> None:
        now = time.monotonic()
        with self._lock:
            if len(self._recent) > MANY_CLIENTS:
                self._recent = {key: times for key, times in self._recent.items() if now - times[-1] < MINUTE}
            times = self._recent.setdefault(_network(client), deque())
            while times and now - times[0] >= MINUTE:
                times.popleft()
            if len(times) >= self._per_minute:
                wait = math.ceil(MINUTE - (now - times[0]))
                raise Refused(
                    429,
                    f"more than {self._per_minute} uploads in a minute; continue in {wait} s (uploads_per_minute)",
                    {"Retry-After": str(wait)},
                )
            times.append(now)

    def check(self, size: int = 0, kept: Kept = "image") -> None:
        """Refuse ``size`` more bytes where they do not fit; a full disk refuses only what would be kept on it.

        Raises:
            Refused: 507.
        """
        folders = self._folders()
        there = self._there(folders)
        if there + size > self._max:
            there = self._there(folders, again=True)  # somebody may just have removed some
        if there + size > self._max:
            raise Refused(
                507,
                f"images, sessions and temporary files take {there / _GIBIBYTE:.2f} GiB, and would take more than "
                f"{self._max / _GIBIBYTE:g} GiB with this upload; remove some, or raise --conf max_studies_gb",
            )
        # a body is kept while it is read, its file beside it while it is checked, and then where it belongs
        target = {"image": folders.images, "session": folders.sessions, "answer": None}[kept]
        names = {"image": "studies", "session": "upload sessions", "answer": ""}
        needed: dict[int, tuple[Path, str, int]] = {}
        for folder, name, copies in ((folders.temporary, "temporary files", 2), (target, names[kept], 1)):
            if folder is not None:
                existing, disk = _existing(folder)
                needed[disk] = existing, name, needed.get(disk, (existing, name, 0))[2] + copies * size
        for existing, name, more in needed.values():
            free = shutil.disk_usage(existing).free
            if free - more < self._min_free:
                raise Refused(
                    507,
                    f"{free / _GIBIBYTE:.2f} GiB are left on the disk of the {name}, and "
                    f"{self._min_free / _GIBIBYTE:g} of each disk are kept free (--conf min_free_gb), so this "
                    "upload does not fit; make room",
                )

    def add(self, size: int) -> None:
        """Count bytes as they come."""
        with self._lock:
            self._coming += size

    def end(self, size: int) -> None:
        """End an upload of which ``size`` bytes came."""
        with self._lock:
            self._coming -= size
            self._since += size

    def _there(self, folders: Folders, again: bool = False) -> int:
        """Bytes that are there; ``again`` counts them whenever they were counted last."""
        with self._lock:
            counted, size = self._counted
            if not again and time.monotonic() - counted < COUNTED_SECONDS:
                return size + self._since + self._coming
            self._since = 0
        # labels lie in folders beside the images, which are files
        size = sum(_size(path) for path in _children(folders.images) if path.is_file())
        size += 0 if folders.sessions is None else _size(folders.sessions)
        size += sum(_size(path) for path in folders.temporary.glob(f"{TEMPORARY_PREFIX}*"))
        with self._lock:
            self._counted = time.monotonic(), size
            return size + self._since + self._coming


def kept_upload(method: str, path: str, size: int | None) -> Kept | None:
    """What becomes of the image that a request brings; None for requests that bring none.

    Args:
        method: of the request.
        path: of the request.
        size: declared bytes of its body, or None.
    """
    if method == "PUT":
        if path.rstrip("/").endswith("/session"):
            return "session"
        return "image" if path.rstrip("/").endswith(("/datastore", "/datastore/image")) else None
    brings = method == "POST" and "/infer/" in path and (size is None or size > SMALL_BYTES)
    return "answer" if brings else None


def _existing(folder: Path) -> tuple[Path, int]:
    """The innermost folder on the way to one that is there and that this user may know of, and its disk."""
    for path in (folder, *folder.parents):
        with contextlib.suppress(OSError):
            return path, os.stat(path).st_dev
    raise Refused(507, "the folder of the upload cannot be reached; check its disk and permissions")


def _network(client: str) -> str:
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return client
    return client if address.version == 4 else str(ipaddress.ip_network((address, 64), strict=False))


def _children(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder; what goes meanwhile counts nothing."""
    total = 0
    try:
        if not path.is_dir():
            return path.stat().st_size
    except OSError:
        return 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.stat(os.path.join(folder, name)).st_size
            except OSError:
                continue
    return total
