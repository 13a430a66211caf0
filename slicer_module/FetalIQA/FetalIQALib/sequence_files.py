"""Files of 3D Slicer's sequences (``.seq.nrrd``)."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from FetalIQALib.client_errors import FileError, RequestCanceled
from FetalIQALib.frame_masks import Mask
from FetalIQALib.http_client import Cancel
from FetalIQALib.png_export import atomic_path, unused_path
from FetalIQALib.sweep_data import Sweep
from FetalIQALib.translation import _

TYPES = {"uint8": "uchar", "int16": "short", "uint16": "ushort", "float32": "float"}  # of NRRD


def write_sequence(path: Path, frames: np.ndarray, spacing_mm: tuple[float, float] | None) -> None:
    """Write frames as a sequence that both 3D Slicer and the server read.

    Args:
        path: of the file, ``.seq.nrrd``.
        frames: [T, H, W]; uint8, int16, uint16 or float32.
        spacing_mm: of rows and columns. None: unknown, which the file says with spacings without a unit; 3D Slicer
            shows such frames with 1 mm.

    Raises:
        FileError: if the file cannot be written.
    """
    count, rows, columns = frames.shape
    header = [
        "NRRD0004",
        f"type: {TYPES[frames.dtype.name]}",
        "dimension: 4",
        f"sizes: {columns} {rows} 1 {count}",
        "kinds: domain domain domain list",
        "encoding: gzip",
        *(["endian: little"] if frames.dtype.itemsize > 1 else []),
    ]
    if spacing_mm is None:
        header.append("spacings: 1 1 1 nan")
    else:
        row, column = spacing_mm
        header += [
            "space: left-posterior-superior",
            f"space directions: ({column!r},0,0) (0,{row!r},0) (0,0,1) none",
            "space origin: (0,0,0)",
        ]
    pixels = np.ascontiguousarray(frames.astype(frames.dtype.newbyteorder("<"), copy=False))
    packer = zlib.compressobj(6, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    try:
        with open(path, "wb") as file:
            file.write("\n".join([*header, "", ""]).encode("ascii"))
            for frame in pixels:
                file.write(packer.compress(frame.tobytes()))
            file.write(packer.flush())
    except OSError as problem:
        raise FileError(
            _("The sequence cannot be written to {path} ({reason}).").format(path=path, reason=problem.strerror)
        ) from problem


def export_sequence(sweep: Sweep, masks: Mapping[int, Mask], folder: Path, cancel: Cancel) -> Path:
    """Write frames and masks of a case as two sequences to a new folder in ``folder``; runs in a task's thread.

    Returns:
        The new folder.

    Raises:
        FileError: if the files cannot be written; nothing is left behind.
    """
    target = unused_path(folder, f"{sweep.case}-sequence")
    stack = np.zeros((sweep.count, *sweep.shape), np.uint8)
    for number, mask in masks.items():
        mask.paint(stack[number])
    with atomic_path(target) as temporary:
        temporary.mkdir()
        for name, pixels in ((sweep.case, sweep.stack.frames), (f"{sweep.case}-masks", stack)):
            if cancel.is_set():
                raise RequestCanceled(_("Canceled; nothing was saved."))
            write_sequence(temporary / f"{name}.seq.nrrd", pixels, sweep.spacing_mm)
    return target
