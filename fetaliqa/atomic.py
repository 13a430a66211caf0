"""Atomic writing of files and directories: they appear complete or not at all."""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Read once, while the process has one thread: the only way to read it changes it for a moment.
_UMASK = os.umask(0)
os.umask(_UMASK)

MAX_PREFIX_BYTES = 40  # of a temporary name; with its random part it stays within the 255 bytes of file systems
MAX_SUFFIX_BYTES = 12  # .assessment has 11; longer text after a dot is not treated as a suffix


def sync_directory(directory: Path) -> None:
    """Flush a directory to disk, so that files renamed into it survive a power failure."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _prefix(target: Path) -> str:
    """Prefix of a temporary name beside ``target``; limited in bytes, not characters."""
    return f".{os.fsencode(target.name)[:MAX_PREFIX_BYTES].decode(errors='ignore')}."


def _suffix(target: Path) -> str:
    """The suffixes of ``target`` (``.nii.gz``), from which writers infer the format."""
    suffixes = itertools.takewhile(
        lambda part: len(os.fsencode(part)) <= MAX_SUFFIX_BYTES, target.suffixes[:-3:-1]
    )
    return "".join(reversed(list(suffixes)))


@contextlib.contextmanager
def _told_of(target: Path) -> Iterator[None]:
    """An error in making a temporary file names the target, not a random name."""
    try:
        yield
    except FileExistsError:  # of the folder's own path
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(target.parent)) from None
    except OSError as problem:
        problem.filename = str(target)
        raise


@contextlib.contextmanager
def atomic_path(target: Path, mode: int = 0o666 & ~_UMASK) -> Iterator[Path]:
    """Yield a temporary path beside ``target`` (same suffixes) that replaces it on success.

    On an exception the temporary file is removed and ``target`` is left as it was.

    Args:
        target: the file.
        mode: its permissions, by default those of a new file.
    """
    target = Path(target)
    with _told_of(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_prefix(target), suffix=_suffix(target), dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        os.chmod(temporary, mode)  # mkstemp's 0600 would hide results from other users
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        os.replace(temporary, target)
        sync_directory(target.parent)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(target: Path) -> Iterator[Path]:
    """Yield a temporary directory that becomes ``target`` on success; ``target`` must not exist.

    Raises:
        FileExistsError: when ``target`` exists already.
    """
    target = Path(target)
    if target.exists():
        raise FileExistsError(str(target))
    with _told_of(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=_prefix(target), dir=target.parent))
    try:
        yield temporary
        os.chmod(temporary, 0o777 & ~_UMASK)
        os.rename(temporary, target)
        sync_directory(target.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(target: Path, text: str) -> None:
    """Write ``text`` (UTF-8) to ``target`` atomically."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(target: Path, value: Any) -> None:
    """Write ``value`` as indented JSON to ``target`` atomically; NaN is refused."""
    write_text(target, json.dumps(value, indent=2, allow_nan=False) + "\n")


def why_not_written(problem: OSError, verb: str = "save") -> str:
    """Why writing failed, and what to do, as the second half of a sentence."""
    if problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"the disk is full; make room and {verb} again"
    if problem.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"the folder is read-only for this process; change its permissions and {verb} again"
    return f"{problem.strerror or problem}; {verb} again"
