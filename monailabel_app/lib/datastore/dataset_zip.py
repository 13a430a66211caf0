"""A ZIP of images with their labels."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from monailabel_app.lib.datastore.image_downloads import Downloads, complete_copy
from monailabel_app.lib.files.scratch import scratch
from monailabel_app.lib.http.refusal import as_refusal


def write_dataset_zip(pairs: Iterable[Mapping[str, str]], index: str, downloads: Downloads) -> Path:
    """A temporary ZIP, in which each image is a self-contained file; the caller discards it.

    Args:
        pairs: paths of ``image`` and ``label``.
        index: JSON text, written as ``metadata.json``.
        downloads: how images are sent to clients.

    Raises:
        Refused: 400 when an image cannot be read.
        OSError: when the file cannot be written.
    """
    target = scratch.file(".zip")
    try:
        with zipfile.ZipFile(target, "w") as archive:
            for pair in pairs:
                _add_image(archive, Path(pair["image"]), downloads)
                archive.write(pair["label"], f"label/{Path(pair['label']).name}")
            archive.writestr("metadata.json", index)
    except BaseException:
        scratch.discard(target)
        raise
    return target


def _add_image(archive: zipfile.ZipFile, path: Path, downloads: Downloads) -> None:
    download = downloads.info(path)
    if download.copy is None:
        archive.write(path, f"image/{path.name}")
        return
    with as_refusal():
        copy = complete_copy(path, download.copy)
    try:
        archive.write(copy, f"image/{download.name(path)}")
    finally:
        scratch.discard(copy)
