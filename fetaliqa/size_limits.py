"""How large a packed file may become in memory: checked by its header, before anything is allocated.

A few MB of gzip, PNG or JPEG can stand for many GB. The size of the request or file says nothing about that.
"""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

from fetaliqa.errors import OptionError, SweepError

MAX_UNPACKED_VARIABLE = "FETALIQA_MAX_UNPACKED_MB"
MEBIBYTE = 1024**2
SHARE_OF_MEMORY = 0.5  # of this machine's, where nothing else is set: the frames, and room to work on them
LEAST_BYTES = 1 << 30  # an ACOUSLIC-AI case of 840 frames has 0.33 GiB
_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)  # versions 2 and 1: what a container may use

_set_bytes: int | None = None


class UnpackedTooLarge(SweepError):
    """A file would become larger in memory than is allowed."""

    http_status = 413


def memory_bytes() -> int:
    """Memory that this process may use: the machine's, or its container's when that is less."""
    try:
        found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not on this system
        found = 8 << 30
    for path in _CGROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # absent, or "max"
            found = min(found, int(path.read_text()))
    return found


def limit_unpacked(size: int | None) -> None:
    """Set the limit of this process in bytes; None: by the environment, else by the memory."""
    global _set_bytes
    _set_bytes = size


def max_unpacked_bytes() -> int:
    """The limit in force.

    Raises:
        OptionError: when the environment variable is not a positive number.
    """
    if _set_bytes is not None:
        return _set_bytes
    text = os.environ.get(MAX_UNPACKED_VARIABLE, "").strip()
    if not text:
        return max(LEAST_BYTES, int(memory_bytes() * SHARE_OF_MEMORY))
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value <= 0:
        raise OptionError(f"{MAX_UNPACKED_VARIABLE}={text}: a size in MiB is needed, a number larger than 0")
    return int(value * MEBIBYTE)


def check_unpacked_size(name: str, unpacked: int, stored: int) -> None:
    """Refuse a file that would become too large in memory.

    What lies in the file uncompressed is as large as its header says, and passes: it has been stored or sent.

    Args:
        name: the file, for the message.
        unpacked: bytes of its pixels by its header.
        stored: bytes of it on disk.

    Raises:
        UnpackedTooLarge: naming file, size and setting.
    """
    limit = max_unpacked_bytes()
    if unpacked > max(limit, stored):
        raise UnpackedTooLarge(
            f"{name}: its {stored / MEBIBYTE:,.1f} MiB unpack to {unpacked / MEBIBYTE:,.0f} MiB by its header, "
            f"more than the limit of {limit / MEBIBYTE:,.0f} MiB; split the sweep, or raise "
            f"{MAX_UNPACKED_VARIABLE} (of a server: --conf max_unpacked_mb)"
        )
