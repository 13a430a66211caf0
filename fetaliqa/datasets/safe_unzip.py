"""Safe, atomic extraction of a downloaded data set archive (.zip)."""

from __future__ import annotations

import shutil
import stat
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path, PurePosixPath

from fetaliqa.atomic import atomic_directory
from fetaliqa.datasets.acouslic_layout import CIRCUMFERENCES

READ_BYTES = 1 << 20
LITTER = ("__MACOSX", ".DS_Store")  # system files in archives


def unpack(archive: Path, folder: Path, progress: Callable[[int, int | None], None] | None = None) -> None:
    """Unpack an archive in the ACOUSLIC-AI layout, whose root may be one folder deeper, to ``folder``.

    All names are checked before the first byte is written. Files are written to a temporary folder, which is
    renamed to ``folder`` when all of them are complete with the right CRC-32.

    Args:
        archive: a .zip file.
        folder: folder to create; may exist if empty.
        progress: called with bytes written and in total.

    Raises:
        ValueError: when the archive is not a .zip, damaged, encrypted, too large for the disk, in another layout,
            or has a link or a name outside of the folder.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            files = _checked(opened)
            total = sum(info.file_size for info in files.values())
            folder.parent.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(folder.parent).free
            if total > free:
                raise ValueError(
                    f"unpacked it has {total / 1e9:.1f} GB, but the disk has {free / 1e9:.1f} GB free; make room"
                )
            if folder.is_dir():
                folder.rmdir()  # fails unless empty
            with atomic_directory(folder) as temporary:
                _write(opened, files, temporary, total, progress)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as problem:
        raise ValueError(f"the archive is damaged ({problem}); remove it and download it again") from None


def _write(
    opened: zipfile.ZipFile,
    files: dict[PurePosixPath, zipfile.ZipInfo],
    target: Path,
    total: int,
    progress: Callable[[int, int | None], None] | None,
) -> None:
    done = 0
    for place, info in files.items():
        path = target / place
        path.parent.mkdir(parents=True, exist_ok=True)
        with opened.open(info) as source, open(path, "xb") as file:  # raises BadZipFile on a wrong CRC-32
            while block := source.read(READ_BYTES):
                file.write(block)
                done += len(block)
                if progress:
                    progress(done, total)


def _checked(opened: zipfile.ZipFile) -> dict[PurePosixPath, zipfile.ZipInfo]:
    """Path of each file below the data set's root."""
    files: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for info in opened.infolist():
        place = _place(info)
        if info.is_dir() or any(part in LITTER for part in place.parts):
            continue
        if place in files:
            raise ValueError(f"{info.filename!r} occurs twice in it; download it again")
        files[place] = info
    tables = [place for place in files if place.parts[-2:] == CIRCUMFERENCES.parts]
    if len(tables) != 1 or len(tables[0].parts) > 3:
        raise ValueError(f"no {CIRCUMFERENCES.as_posix()} in it; is it the ACOUSLIC-AI training set?")
    root = tables[0].parents[1]
    outside = [place for place in files if not place.is_relative_to(root)]
    if outside:
        raise ValueError(f"{outside[0]} is outside of its folder {root}; unpack it by hand")
    return {place.relative_to(root): info for place, info in files.items()}


def _place(info: zipfile.ZipInfo) -> PurePosixPath:
    """The path of a member, checked to stay inside of the target folder."""
    name = info.filename
    place = PurePosixPath(name)
    if place.is_absolute() or ".." in place.parts or "\\" in name or ":" in name or not place.parts:
        raise ValueError(f"{name!r} is outside of the target folder; do not use this archive")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise ValueError(f"{name!r} is a link or device; do not use this archive")
    if info.flag_bits & 1:
        raise ValueError(f"{name!r} is encrypted; unpack it by hand")
    return place
