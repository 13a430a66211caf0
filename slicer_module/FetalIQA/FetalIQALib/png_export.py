"""Export of labelled frames as PNG files with a table; the folder is written completely or not at all."""

from __future__ import annotations

import csv
import os
import struct
import tempfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from FetalIQALib.client_errors import FileError, InvalidAction
from FetalIQALib.frame_annotations import FrameAnnotation
from FetalIQALib.http_client import Cancel
from FetalIQALib.measurement_cache import measured
from FetalIQALib.sweep_data import Sweep
from FetalIQALib.translation import _

COLUMNS = (
    "case",
    "frame",
    "sweep",
    "state",
    "plane",
    "ac_mm",
    "area_px",
    "quality",
    "spacing_row_mm",
    "spacing_column_mm",
    "rater",
    "time",
    "model",
    "origin",
    "clicks",
    "source_frame",
    "comment",
    "image",
    "mask",
)


def export_case(sweep: Sweep, frames: Mapping[int, FrameAnnotation], folder: Path, cancel: Cancel) -> Path:
    """Write the labelled frames of a case to a new folder in ``folder``; runs in a task's thread.

    ``frames.csv`` has one line for each annotated or empty frame (frames and sweeps counted from 0, as on the
    server), ``images`` and ``masks`` a PNG for each (masks: 0 and 255, all 0 of an empty frame).

    Returns:
        The new folder.

    Raises:
        InvalidAction: if no frame is labelled.
        FileError: if the files cannot be written; nothing is left behind.
    """
    labelled = sorted(number for number, frame in frames.items() if frame.labelled)
    if not labelled:
        raise InvalidAction(
            _("No frame of {case} is labelled; there is nothing to export.").format(case=sweep.case)
        )
    target = unused_path(folder, f"{sweep.case}-frames")
    with atomic_path(target) as temporary:
        for part in ("images", "masks"):
            (temporary / part).mkdir(parents=True)
        with open(temporary / "frames.csv", "w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, COLUMNS)
            table.writeheader()
            for number in labelled:
                if cancel.is_set():
                    raise InvalidAction(_("Canceled; nothing was exported."))
                table.writerow(_export_frame(sweep, number, frames[number], temporary))
    return target


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Context of a temporary path that is renamed to ``target`` at the end; makes the parent folder.

    Raises:
        FileError: if the files cannot be written; nothing is left behind.
    """
    folder = target.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetaliqa-", dir=str(folder)) as name:
            temporary = Path(name) / "made"
            yield temporary
            os.rename(temporary, target)
    except OSError as problem:
        raise FileError(
            _("The export cannot be written to {folder} ({reason}).").format(
                folder=folder, reason=problem.strerror
            )
        ) from problem


def _export_frame(sweep: Sweep, number: int, frame: FrameAnnotation, folder: Path) -> dict[str, object]:
    image, mask = f"images/{sweep.case}-{number:04d}.png", f"masks/{sweep.case}-{number:04d}.png"
    mask_image = np.zeros(sweep.shape, np.uint8) if frame.mask is None else frame.mask.full()
    (folder / image).write_bytes(png(sweep.stack.frames[number]))
    (folder / mask).write_bytes(png(mask_image * np.uint8(255)))
    length = measured(mask_image, sweep).circumference_mm
    quality = np.nan if sweep.assessment is None else sweep.assessment.assessed_quality(number)
    row, column = sweep.spacing_mm or ("", "")
    return {
        "case": sweep.case,
        "frame": number,
        "sweep": sweep.sweep_of(number),
        "state": frame.state,
        "plane": frame.plane or "",
        "ac_mm": "" if length is None else f"{length:.2f}",
        "area_px": int(np.count_nonzero(mask_image)),
        "quality": "" if np.isnan(quality) else f"{quality:.5f}",
        "spacing_row_mm": row,
        "spacing_column_mm": column,
        "rater": _escaped(frame.rater),
        "time": frame.time,
        "model": _escaped(f"{frame.model} {frame.version}".strip()),
        **frame.origin.fields(),
        "comment": _escaped(frame.comment),
        "image": image,
        "mask": mask,
    }


def _escaped(text: str) -> str:
    """Text that spreadsheets do not interpret as a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def unused_path(folder: Path, name: str, suffix: str = "") -> Path:
    """An unused path in a folder."""
    for number in range(1, 10000):
        path = folder / (f"{name}{suffix}" if number == 1 else f"{name}-{number}{suffix}")
        if not path.exists():
            return path
    raise FileError(_("{folder} has too many exports of this name; choose another folder.").format(folder=folder))


def png(picture: np.ndarray) -> bytes:
    """Encode a grey [H, W] or colour [H, W, 3] image, uint8, as PNG."""
    height, width = picture.shape[:2]
    colour = 2 if picture.ndim == 3 else 0
    lines = np.zeros((height, 1 + picture[0].size), np.uint8)  # each line starts with its filter type, 0: none
    lines[:, 1:] = picture.reshape(height, -1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    body = zlib.compress(lines.tobytes(), 6)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
