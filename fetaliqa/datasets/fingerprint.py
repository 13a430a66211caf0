"""A hash of a data set's files that does not read gigabytes each time it is asked for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

WHOLE_BYTES = 16 << 20  # files up to this size are hashed whole
END_BYTES = 64 << 10  # of larger files this much of the beginning and of the end


def file_signature(path: Path) -> str:
    """SHA-256 (hex) over a file's size and content; of a file over 16 MiB, its first and last 64 KiB.

    The last bytes of a compressed .mha are zlib's Adler-32 checksum of all pixels, so a changed pixel is noticed
    there too. In a large file that is not compressed, a change in its middle that keeps its size is not.
    Neither name nor time of the file count.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(f"{size}|".encode())
    with open(path, "rb") as file:
        if size <= WHOLE_BYTES:
            while block := file.read(1 << 20):
                digest.update(block)
        else:
            digest.update(file.read(END_BYTES))
            file.seek(size - END_BYTES)
            digest.update(file.read(END_BYTES))
    return digest.hexdigest()


def files_signature(root: Path, paths: Iterable[Path]) -> str:
    """SHA-256 (hex) over the places below ``root`` and the signatures of files; of a folder, the files in it.

    A header that names another file for its pixels (.mhd, .nhdr) counts with all files of its stem beside it.
    """
    digest = hashlib.sha256()
    for file in sorted({file for path in paths for file in _files(path)}):
        place = file.relative_to(root) if file.is_relative_to(root) else file
        digest.update(f"{place.as_posix()}|{file_signature(file)}\n".encode())
    return digest.hexdigest()


def _files(path: Path) -> list[Path]:
    if path.is_dir():
        return [child for child in path.iterdir() if child.is_file() and not child.name.startswith(".")]
    if path.suffix.lower() in (".mhd", ".nhdr"):
        return [child for child in path.parent.iterdir() if child.is_file() and child.stem == path.stem]
    return [path] if path.is_file() else []
