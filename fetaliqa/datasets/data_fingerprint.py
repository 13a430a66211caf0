"""A hash of a data set's files: of every byte, read again only where a file may have changed."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterable
from pathlib import Path

from fetaliqa.errors import SweepError
from fetaliqa.file_provenance import user_hashes
from fetaliqa.sweep import DETACHED_SUFFIXES, files_of

SHOW_AFTER_SECONDS = 2.0  # hashing that takes less shows no progress bar


def files_signature(root: Path, paths: Iterable[Path]) -> str:
    """SHA-256 (hex) over paths below ``root``, sizes and all bytes of files; of a folder, the files in it.

    Times of files do not count. A file whose hash is remembered (``fetaliqa.file_provenance``) is not read again.
    A header that names another file for its pixels (.mhd, .nhdr) counts with that file, and with all files of its
    stem beside it. Hashing that takes long shows a bar on a terminal.
    """
    from tqdm import tqdm

    digest, hashes = hashlib.sha256(), user_hashes()
    files = sorted({file for path in paths for file in _files(path)})
    with tqdm(
        desc="hashing files",
        total=sum(file.stat().st_size for file in files),
        unit="B",
        unit_scale=True,
        disable=None,
        delay=SHOW_AFTER_SECONDS,
        leave=False,
        file=sys.stderr,
    ) as bar:
        for file in files:
            name = file.relative_to(root) if file.is_relative_to(root) else file
            sha256 = hashes.sha256(file, sized=True, progress=bar.update)
            digest.update(f"{name.as_posix()}|{sha256}\n".encode())
    return digest.hexdigest()


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return [child for child in path.iterdir() if child.is_file() and not child.name.startswith(".")]
    if path.suffix.lower() in DETACHED_SUFFIXES:
        beside = [child for child in path.parent.iterdir() if child.is_file() and child.stem == path.stem]
        return [*beside, *_named(path)]
    return _named(path)


def _named(path: Path) -> list[Path]:
    """The file and the one that its header names for its pixels; a header that cannot be read names none."""
    try:
        return [file for file in files_of(path) if file.is_file()]
    except (SweepError, OSError):
        return [path] if path.is_file() else []
