"""Done marks: of what input, by what model and with which options the results in a case's folder were made.

A mark is the last file of a complete folder. An input is the same when it lies at the same path and has the same
size, times and inode; where these differ (it was copied, say), when its bytes have the same hash.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fetaliqa.batch.batch_job import Case, ScoreJob
from fetaliqa.errors import SweepError
from fetaliqa.file_hash import file_sha256, file_stamp
from fetaliqa.sweep import files_of

MARK_FILE = "done.json"
MARK_SCHEMA = 1


@dataclass(frozen=True)
class InputState:
    """An input as the disk describes it.

    Attributes:
        path: absolute.
        files: name and stamp (see ``file_stamp``: size in bytes first) of each of its files.
    """

    path: str
    files: list[list[Any]]

    @classmethod
    def of(cls, path: Path) -> InputState:
        """The present state; without files when it cannot be looked at, which reading it will explain."""
        try:
            states = [(file, file.stat()) for file in files_of(path)]
        except (SweepError, OSError):
            states = []
        return cls(str(path), [[file.name, *file_stamp(state)] for file, state in states])

    def may_equal(self, other: InputState) -> bool:
        """Whether names and sizes are the same, so that the bytes may be."""
        return [file[:2] for file in self.files] == [file[:2] for file in other.files]


def input_sha256(path: Path) -> str:
    """Hash (hex) of the names and bytes of an input's files.

    Raises:
        SweepError: when a header names pixels that are missing.
        OSError: when there is no such path, or it may not be read.
    """
    files = files_of(path)
    if len(files) == 1:
        return file_sha256(files[0])
    return hashlib.sha256(json.dumps([[file.name, file_sha256(file)] for file in files]).encode()).hexdigest()


@dataclass(frozen=True)
class Mark:
    """A done mark.

    Attributes:
        input: state of the input when it was read.
        sha256: of the input's bytes; empty, which equals none, when it changed while it was scored.
        made_with: see :class:`ScoreJob`.
        mask_format: see :class:`ScoreJob`.
        files: size in bytes by name of the folder's other files.
        summary: the case's row of summary.csv.
        run: which run made it.
    """

    input: InputState
    sha256: str
    made_with: dict[str, Any]
    mask_format: str
    files: dict[str, int]
    summary: dict[str, Any]
    run: str

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"schema": MARK_SCHEMA, **asdict(self)}


def read_mark(folder: Path) -> Mark | None:
    """The mark of a case's folder; None where there is none that can be used."""
    try:
        said = json.loads((folder / MARK_FILE).read_text(encoding="utf-8"))
        if said.pop("schema") != MARK_SCHEMA:
            return None
        said["input"] = InputState(**said["input"])
        return Mark(**said)
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, AttributeError):
        return None


def is_done(job: ScoreJob, case: Case) -> bool:
    """Whether a case's folder holds what this job would write into it.

    Raises:
        OSError: when the mark may not be read.
    """
    if job.out is None:
        return False
    folder = job.out / case.name
    mark = read_mark(folder)
    if mark is None or not (job.resume or mark.run == job.run):
        return False
    if (mark.made_with, mark.mask_format) != (job.made_with, job.mask_format):
        return False
    if any(_size(folder / name) != size for name, size in mark.files.items()):
        return False
    found = InputState.of(case.path)
    if not found.files or not found.may_equal(mark.input):
        return False
    return found == mark.input or known_sha256(case.path, found) == (mark.sha256 or None)


def known_sha256(path: Path, state: InputState) -> str:
    """Hash of an input that is in this state; empty when it changed while it was read, or cannot be read."""
    try:
        sha256 = input_sha256(path)
    except (SweepError, OSError):
        return ""
    return sha256 if InputState.of(path) == state else ""


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
