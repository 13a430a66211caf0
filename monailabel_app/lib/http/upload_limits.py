"""Limits for uploads of images: total size, rate, and free disk space, which is reserved for labels."""

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

from monailabel_app.lib.files.uploaded_files import TEMPORARY_PREFIX
from monailabel_app.lib.http.refusal import Refused

MINUTE = 60.0  # s
COUNTED_SECONDS = 10.0  # for which the measured size of the folders is reused; later uploads are added
CHECK_BYTES = 8 * 1024**2  # of an upload between two checks of the disk
SMALL_BYTES = 1024**2  # a smaller inference request is a form, not a file
MANY_CLIENTS = 10_000  # addresses stored before those older than a minute are dropped
_GIBIBYTE = 1024**3
# stored; stored until it expires; deleted after the response
UploadPurpose = Literal["image", "session", "answer"]


@dataclass(frozen=True)
class Folders:
    """Folders of uploads.

    Attributes:
        images: of the studies.
        sessions: of upload sessions; None where they are turned off.
        temporary: of requests while they are received.
    """

    images: Path
    sessions: Path | None
    temporary: Path


class UploadLimits:
    """Admits or refuses uploads of images. Labels are not limited here, only by the disk.

    Args:
        folders: of uploads; called once the app is loaded.
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
        self._counted = (-math.inf, 0)  # time and bytes of the last measurement
        self._since = 0  # bytes received since then
        self._coming = 0  # bytes of uploads in progress, which lie in unnamed temporary files

    def admit(self, client: str, size: int, purpose: UploadPurpose = "image") -> None:
        """Admit an upload.

        Args:
            client: IP address.
            size: declared bytes, or 0.
            purpose: of the upload.

        Raises:
            Refused: 429 for too many in a minute, 507 when it does not fit.
        """
        self._check_rate(client)
        self.check(size, purpose)

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

    def check(self, size: int = 0, purpose: UploadPurpose = "image") -> None:
        """Refuse ``size`` more bytes that do not fit; a full disk refuses only uploads that would be stored on it.

        Raises:
            Refused: 507.
        """
        folders = self._folders()
        used = self._used_bytes(folders)
        if used + size > self._max:
            used = self._used_bytes(folders, measure=True)  # some may just have been removed
        if used + size > self._max:
            raise Refused(
                507,
                f"images, sessions and temporary files take {used / _GIBIBYTE:.2f} GiB, and would take more than "
                f"{self._max / _GIBIBYTE:g} GiB with this upload; remove some, or raise --conf max_studies_gb",
            )
        # the body is stored while it is received, a copy while it is checked, and then the file at its destination
        target = {"image": folders.images, "session": folders.sessions, "answer": None}[purpose]
        names = {"image": "studies", "session": "upload sessions", "answer": ""}
        needed: dict[int, tuple[Path, str, int]] = {}
        for folder, name, copies in ((folders.temporary, "temporary files", 2), (target, names[purpose], 1)):
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
        """Count received bytes."""
        with self._lock:
            self._coming += size

    def end(self, size: int) -> None:
        """End an upload of which ``size`` bytes were received."""
        with self._lock:
            self._coming -= size
            self._since += size

    def _used_bytes(self, folders: Folders, measure: bool = False) -> int:
        """Bytes in use; ``measure`` measures them again even if they were measured just now."""
        with self._lock:
            counted, size = self._counted
            if not measure and time.monotonic() - counted < COUNTED_SECONDS:
                return size + self._since + self._coming
            self._since = 0
        # labels lie in folders beside the images, which are files
        size = sum(_size(path) for path in _children(folders.images) if path.is_file())
        size += 0 if folders.sessions is None else _size(folders.sessions)
        size += sum(_size(path) for path in folders.temporary.glob(f"{TEMPORARY_PREFIX}*"))
        with self._lock:
            self._counted = time.monotonic(), size
            return size + self._since + self._coming


def upload_purpose(method: str, path: str, size: int | None) -> UploadPurpose | None:
    """The purpose of the image that a request uploads; None for other requests.

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
    """The innermost existing parent of a folder that this user may access, and its device number."""
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
