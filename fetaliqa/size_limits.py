"""Limits on the decompressed size of a file, checked from its header before memory is allocated.

A few MB of gzip, PNG or JPEG can decompress to many GB; the size of the file or request gives no bound.
"""

from __future__ import annotations

import contextlib
import math
import os
from pathlib import Path

from fetaliqa.errors import OptionError, SweepError

MAX_UNPACKED_VARIABLE = "FETALIQA_MAX_UNPACKED_MB"
MEBIBYTE = 1024**2
SHARE_OF_MEMORY = 0.5  # default limit, as a share of this machine's memory: leaves room to process the frames
LEAST_BYTES = 1 << 30  # an ACOUSLIC-AI case of 840 frames has 0.33 GiB
_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)  # cgroup versions 2 and 1: memory limit of a container

_set_bytes: int | None = None


class UnpackedTooLarge(SweepError):
    """The decompressed size of a file exceeds the limit."""

    http_status = 413


def memory_bytes() -> int:
    """Memory (bytes) available to this process: the machine's, or its container's limit if lower."""
    try:
        size = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):  # not available on this system
        size = 8 << 30
    for path in _CGROUP_LIMITS:
        with contextlib.suppress(OSError, ValueError):  # absent, or "max"
            size = min(size, int(path.read_text()))
    return size


def limit_unpacked(size: int | None) -> None:
    """Set the limit of this process in bytes; None to use the environment variable, else a share of memory."""
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
    """Check that a file's decompressed size is within the limit.

    Uncompressed files always pass: their size in memory is their size on disk.

    Args:
        name: the file, for the message.
        unpacked: size of its pixels in bytes, from its header.
        stored: its size on disk in bytes.

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
