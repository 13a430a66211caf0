"""Allocator settings: keep freed memory in the process instead of returning it to the system after every tensor.

glibc serves large requests with fresh pages and returns them on free, so every large activation causes page
faults. Where page faults are expensive, as on virtual machines, they cost more than the arithmetic.
"""

from __future__ import annotations

import ctypes
import sys

# parameter numbers of mallopt(3)
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4
TRIM_BYTES = 2**31 - 1  # free memory at the heap's top that is kept
TOP_PAD_BYTES = 256 * 1024**2  # requested beyond what is needed, each time the heap grows


def keep_freed_memory() -> bool:
    """Tune glibc's allocator for large, short-lived tensors; False where it is not glibc."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library (musl)
        return False
    settings = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, TRIM_BYTES), (_M_TOP_PAD, TOP_PAD_BYTES))
    return all(mallopt(parameter, value) == 1 for parameter, value in settings)
