"""Curated frames as PNG files with a table; the folder appears complete or not at all."""

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

from FetalIQALib.decisions import Frame
from FetalIQALib.failures import FileFailure, NotPossible
from FetalIQALib.http import Cancel
from FetalIQALib.outline import measure
from FetalIQALib.sweep import Sweep
from FetalIQALib.texts import _

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
    "image",
    "mask",
)


def export_case(sweep: Sweep, frames: Mapping[int, Frame], folder: Path, cancel: Cancel) -> Path:
    """Write the decided frames of a case into a new folder within ``folder``; for a task's thread.

    ``frames.csv`` has one line for each annotated or empty frame (frames and sweeps counted from 0, as the server
    does), ``images`` and ``masks`` a PNG for each (masks: 0 and 255, all 0 where there is no abdomen).

    Returns:
        The new folder.

    Raises:
        NotPossible: when no frame is decided.
        FileFailure: when the disk does not take it; nothing is left behind then.
    """
    decided = sorted(number for number, frame in frames.items() if frame.decided)
    if not decided:
        raise NotPossible(_("No frame of {case} is decided; there is nothing to export.").format(case=sweep.case))
    target = free_name(folder, f"{sweep.case}-frames")
    with appearing(target) as made:
        for part in ("images", "masks"):
            (made / part).mkdir(parents=True)
        with open(made / "frames.csv", "w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, COLUMNS)
            table.writeheader()
            for number in decided:
                if cancel.is_set():
                    raise NotPossible(_("Given up; nothing was exported."))
                table.writerow(_exported(sweep, number, frames[number], made))
    return target


@contextmanager
def appearing(target: Path) -> Iterator[Path]:
    """A path that becomes ``target`` at the end, complete or not at all; the folder of ``target`` is made.

    Raises:
        FileFailure: when the disk does not take it; nothing is left behind then.
    """
    folder = target.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".fetaliqa-", dir=str(folder)) as name:
            made = Path(name) / "made"
            yield made
            os.rename(made, target)
    except OSError as problem:
        raise FileFailure(
            _("The export cannot be written to {folder} ({reason}).").format(
                folder=folder, reason=problem.strerror
            )
        ) from problem


def _exported(sweep: Sweep, number: int, frame: Frame, folder: Path) -> dict[str, object]:
    image, mask = f"images/{sweep.case}-{number:04d}.png", f"masks/{sweep.case}-{number:04d}.png"
    drawn = np.zeros(sweep.shape, np.uint8) if frame.mask is None else frame.mask.full()
    (folder / image).write_bytes(png(sweep.stack.frames[number]))
    (folder / mask).write_bytes(png(drawn * np.uint8(255)))
    length = measure(drawn, sweep.spacing_mm, sweep.free).circumference_mm
    quality = np.nan if sweep.assessment is None else sweep.assessment.seen_quality(number)
    row, column = sweep.spacing_mm or ("", "")
    return {
        "case": sweep.case,
        "frame": number,
        "sweep": sweep.sweep_of(number),
        "state": frame.state,
        "plane": frame.plane or "",
        "ac_mm": "" if length is None else f"{length:.2f}",
        "area_px": int(np.count_nonzero(drawn)),
        "quality": "" if np.isnan(quality) else f"{quality:.5f}",
        "spacing_row_mm": row,
        "spacing_column_mm": column,
        "rater": _plain(frame.rater),
        "time": frame.time,
        "model": _plain(f"{frame.model} {frame.version}".strip()),
        "image": image,
        "mask": mask,
    }


def _plain(text: str) -> str:
    """Text that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text


def free_name(folder: Path, name: str, suffix: str = "") -> Path:
    """A name in a folder that is not taken yet."""
    for number in range(1, 10000):
        found = folder / (f"{name}{suffix}" if number == 1 else f"{name}-{number}{suffix}")
        if not found.exists():
            return found
    raise FileFailure(_("{folder} is full of exports of this name; choose another folder.").format(folder=folder))


def png(picture: np.ndarray) -> bytes:
    """A grey [H, W] or colour [H, W, 3] picture, uint8, as a PNG file."""
    height, width = picture.shape[:2]
    colour = 2 if picture.ndim == 3 else 0
    lines = np.zeros((height, 1 + picture[0].size), np.uint8)  # each line begins with its filter, 0: none
    lines[:, 1:] = picture.reshape(height, -1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    body = zlib.compress(lines.tobytes(), 6)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
