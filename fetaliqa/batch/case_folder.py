"""A case's folder of results: written to a temporary folder, and moved into place when it is complete.

A folder with a marker holds the complete results of one run. A process that dies leaves a folder in
``OUT/.unfinished`` that the next run on that machine removes.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fetaliqa.atomic import atomic_path, sync_directory, write_json
from fetaliqa.batch.batch_job import CaseWriter
from fetaliqa.batch.done_marker import MARKER_FILE, Marker
from fetaliqa.case_names import UNFINISHED
from fetaliqa.inference.case_result import AssessmentResult
from fetaliqa.pictures.contact_sheet import contact_sheet
from fetaliqa.sweep import MASK_SUFFIXES

FRAME_COLUMNS = (
    "index",
    "sweep",
    "padding",
    "quality",
    "positive",
    "expected_dice",
    "distance",
    "unlike_training_data",
    "interpolated",
    "guessed_by",
    "rank",
    "foreground_fraction",
    "area_px",
    "area_mm2",
    "circumference_mm",
    "circumference_low_mm",
    "circumference_high_mm",
    "bpd_mm",
    "ofd_mm",
    "circumference_absent",
    "length_mm",
    "length_absent",
    "line_x1",
    "line_y1",
    "line_x2",
    "line_y2",
    "warning",
    "fit_residual",
    "fitted_share",
    "cls_probability",
)
ASSESSMENT_FILE = "assessment.json"
OWN_FILES = (
    ASSESSMENT_FILE,
    "frames.csv",
    "contact_sheet.png",
    MARKER_FILE,
    *(f"masks{suffix}" for suffix in MASK_SUFFIXES),
)
STALE_SECONDS = 24 * 3600  # another machine's unfinished folder of this age belongs to a process that died


def write_case(
    target: Path, path: Path, result: AssessmentResult, marker: Marker, also: CaseWriter | None = None
) -> str | None:
    """Write a case's results: masks, assessment.json, frames.csv, contact_sheet.png and the marker.

    A new folder appears complete. In an existing one the marker is removed first and written last; each file
    between them is replaced as a whole. Files of an earlier run that this one does not write are removed, other
    files stay.

    Args:
        target: the folder; its parent must exist.
        path: the case, a file or a folder of frames.
        result: to be written.
        marker: its ``files`` are filled in here.
        also: writes more files.

    Returns:
        None, or a sentence on what ``also`` could not write.

    Raises:
        FetalIQAError: when ``also`` cannot write what was asked for; nothing is written.
        OSError: when the disk does not take it.
    """
    with _unfinished(target.parent) as folder:
        _write_results(folder, result, marker.mask_format)
        note = None if also is None else also.write(folder, path, result)
        sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
        write_json(folder / MARKER_FILE, replace(marker, files=sizes).as_dict())
        try:
            os.rename(folder, target)
        except OSError as problem:
            if problem.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            _replace_in(target, folder, () if also is None else also.files)
            sync_directory(target)
        sync_directory(target.parent)
    return note


def _write_results(folder: Path, result: AssessmentResult, mask_format: str) -> None:
    record = result.assessment
    if record["model"]["task"] == "segmentation":
        result.write_masks(folder / f"masks{mask_format}")
    write_json(folder / ASSESSMENT_FILE, record)
    ranks = {frame: rank for rank, frame in enumerate(record["ranking"], start=1)}
    rows = [_frame_row(frame) | {"rank": ranks.get(frame["index"])} for frame in record["frames"]]
    write_csv(folder / "frames.csv", FRAME_COLUMNS, rows)
    contact_sheet(folder / "contact_sheet.png", frames=result.sweep.frames, masks=result.masks, assessment=record)


def _frame_row(frame: dict[str, Any]) -> dict[str, Any]:
    """A frame's fields, with the ends of its interval and of its line as columns of their own."""
    low, high = frame.get("circumference_interval_mm") or (None, None)
    ends = {f"line_{name}": value for name, value in (frame.get("line") or {}).items()}
    return frame | {"circumference_low_mm": low, "circumference_high_mm": high} | ends


def _replace_in(target: Path, written: Path, more: Iterable[str]) -> None:
    (target / MARKER_FILE).unlink(missing_ok=True)
    for name in (*OWN_FILES, *more):
        if name != MARKER_FILE and not (written / name).exists():
            (target / name).unlink(missing_ok=True)
    for path in sorted(written.iterdir(), key=lambda path: path.name == MARKER_FILE):
        os.replace(path, target / path.name)


@contextlib.contextmanager
def _unfinished(out: Path) -> Iterator[Path]:
    """A new folder on the disk of ``out``, which is removed when it is still there at the end."""
    parent = out / UNFINISHED
    while True:
        with contextlib.suppress(FileExistsError):
            parent.mkdir()
        # another process that has finished may remove the folder between these two lines
        with contextlib.suppress(FileNotFoundError):
            folder = Path(tempfile.mkdtemp(prefix=f"{_machine()}-{os.getpid()}-", dir=parent))
            break
    try:
        folder.chmod(parent.stat().st_mode & 0o777)  # mkdtemp's 0700 would hide results from other users
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            parent.rmdir()


def _machine() -> str:
    """Where this process' id is valid: the machine, and its PID namespace."""
    space = ""
    with contextlib.suppress(OSError):
        space = "".join(filter(str.isdecimal, os.readlink("/proc/self/ns/pid")))
    return f"{platform.node().replace('-', '_')}-{space}"


def remove_unfinished(out: Path) -> None:
    """Remove the unfinished folders in ``out`` of processes that died."""
    parent = out / UNFINISHED
    for folder in parent.glob("*-*-*-*"):
        machine, _, number = folder.name.rpartition("-")[0].rpartition("-")
        with contextlib.suppress(OSError):
            old = time.time() - folder.stat().st_mtime > STALE_SECONDS
            if old or (machine == _machine() and not _alive(int(number))):
                shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        parent.rmdir()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[dict[str, Any]]) -> None:
    """Write a table (UTF-8, with a header) that appears complete or not at all."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
