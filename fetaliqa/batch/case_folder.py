"""A case's folder of results: written aside, and in its place when it is complete.

Who finds a mark in a folder finds everything of one run in it. A process that dies leaves a folder in
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
from fetaliqa.batch.done_marker import MARK_FILE, Mark
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
    "circumference_absent",
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
    MARK_FILE,
    *(f"masks{suffix}" for suffix in MASK_SUFFIXES),
)
STALE_SECONDS = 24 * 3600  # another machine's unfinished folder of this age was left by a process that died


def write_case(target: Path, result: AssessmentResult, mark: Mark) -> None:
    """Write a case's results: masks, assessment.json, frames.csv, contact_sheet.png and the mark.

    A folder that is new appears complete. In one that exists, the mark goes first and comes back last; between
    them each file is replaced as a whole. Files of an earlier run that this one does not write are removed, files
    of others stay.

    Args:
        target: the folder; its parent must exist.
        result: what to write.
        mark: its ``files`` are filled in here.

    Raises:
        OSError: when the disk does not take it.
    """
    with _unfinished(target.parent) as folder:
        _write_results(folder, result, mark.mask_format)
        sizes = {path.name: path.stat().st_size for path in sorted(folder.iterdir())}
        write_json(folder / MARK_FILE, replace(mark, files=sizes).as_dict())
        try:
            os.rename(folder, target)
        except OSError as problem:
            if problem.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            _replace_in(target, folder)
            sync_directory(target)
        sync_directory(target.parent)


def _write_results(folder: Path, result: AssessmentResult, mask_format: str) -> None:
    record = result.assessment
    if record["model"]["task"] == "segmentation":
        result.write_masks(folder / f"masks{mask_format}")
    write_json(folder / ASSESSMENT_FILE, record)
    ranks = {frame: rank for rank, frame in enumerate(record["ranking"], start=1)}
    rows = [frame | {"rank": ranks.get(frame["index"])} for frame in record["frames"]]
    write_csv(folder / "frames.csv", FRAME_COLUMNS, rows)
    contact_sheet(folder / "contact_sheet.png", frames=result.sweep.frames, masks=result.masks, assessment=record)


def _replace_in(target: Path, written: Path) -> None:
    (target / MARK_FILE).unlink(missing_ok=True)
    for name in OWN_FILES:
        if name != MARK_FILE and not (written / name).exists():
            (target / name).unlink(missing_ok=True)
    for path in sorted(written.iterdir(), key=lambda path: path.name == MARK_FILE):
        os.replace(path, target / path.name)


@contextlib.contextmanager
def _unfinished(out: Path) -> Iterator[Path]:
    """A new folder on the disk of ``out``, which is removed when it is still there at the end."""
    place = out / UNFINISHED
    while True:
        with contextlib.suppress(FileExistsError):
            place.mkdir()
        # another process that is through may remove the place between these two lines
        with contextlib.suppress(FileNotFoundError):
            folder = Path(tempfile.mkdtemp(prefix=f"{_machine()}-{os.getpid()}-", dir=place))
            break
    try:
        folder.chmod(place.stat().st_mode & 0o777)  # mkdtemp's 0700 would hide results from other users
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            place.rmdir()


def _machine() -> str:
    """Name of what this process' number is one in: the machine, and its name space where there are several."""
    space = ""
    with contextlib.suppress(OSError):
        space = "".join(filter(str.isdecimal, os.readlink("/proc/self/ns/pid")))
    return f"{platform.node().replace('-', '_')}-{space}"


def remove_unfinished(out: Path) -> None:
    """Remove what processes that died have left in ``out``."""
    place = out / UNFINISHED
    for folder in place.glob("*-*-*-*"):
        machine, _, number = folder.name.rpartition("-")[0].rpartition("-")
        with contextlib.suppress(OSError):
            old = time.time() - folder.stat().st_mtime > STALE_SECONDS
            if old or (machine == _machine() and not _alive(int(number))):
                shutil.rmtree(folder, ignore_errors=True)
    with contextlib.suppress(OSError):
        place.rmdir()


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
