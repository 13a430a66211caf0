"""Done markers: the input, model and options that the results in a case's folder were computed from.

A marker is the last file of a complete folder. An input is the same when its path is, and the size, times and
inode of its files are; where these differ (it was copied, for example), when its bytes have the same hash.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fetaliqa.batch.batch_job import Case, ScoreJob
from fetaliqa.errors import SweepError
from fetaliqa.file_provenance import FileProvenance, user_hashes
from fetaliqa.sweep import files_of

MARKER_FILE = "done.json"
MARKER_SCHEMA = 1


def input_state(path: Path) -> dict[str, Any]:
    """Provenance of an input, as the marker stores it.

    Args:
        path: absolute, of a sweep file or a folder of frames.

    Returns:
        ``path``, and ``files``: ``[name, size, modified_ns, changed_ns, inode]`` of each file; none when they
        cannot be read, which reading the input will explain.
    """
    try:
        files = [FileProvenance.of(file) for file in files_of(path)]
    except (SweepError, OSError):
        files = []
    return {"path": str(path), "files": [[file.path.name, *file.state] for file in files]}


def age_of(case: Case) -> dict[str, Any] | None:
    """The age given for a case, as the marker stores it."""
    return None if case.age is None else {"days": case.age.days, "source": case.age.source}


def input_sha256(path: Path, state: dict[str, Any]) -> str:
    """Hash (hex) of the names and bytes of an input's files; empty when it cannot be read, or is in another state.

    Args:
        path: of the input.
        state: see :func:`input_state`; checked after reading.
    """
    hashes = user_hashes()
    try:
        files = [[file.name, hashes.sha256(file)] for file in files_of(path)]
    except (SweepError, OSError):
        return ""
    if input_state(path) != state:
        return ""
    return files[0][1] if len(files) == 1 else hashlib.sha256(json.dumps(files).encode()).hexdigest()


@dataclass(frozen=True)
class Marker:
    """A done marker.

    Attributes:
        input: state of the input before it was read, see :func:`input_state`.
        sha256: of the input's bytes; empty, which matches no input, when it changed while it was scored.
        made_with: see :class:`ScoreJob`.
        mask_format: see :class:`ScoreJob`.
        files: size in bytes of the folder's other files, by name.
        summary: the case's row of summary.csv.
        run: name of the run that wrote it.
        age: that was given for the case: its days and source, or None. (Markers of earlier versions lack it.)
        also: name of the job's ``also``, or None. (Markers of earlier versions lack it.)
    """

    input: dict[str, Any]
    sha256: str
    made_with: dict[str, Any]
    mask_format: str
    files: dict[str, int]
    summary: dict[str, Any]
    run: str
    age: dict[str, Any] | None = None
    also: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {"schema": MARKER_SCHEMA, **asdict(self)}


def read_marker(folder: Path) -> Marker | None:
    """The marker of a case's folder; None when there is none, or it is damaged.

    Raises:
        OSError: when it may not be read.
    """
    try:
        stored = json.loads((folder / MARKER_FILE).read_text(encoding="utf-8"))
        if stored.pop("schema") != MARKER_SCHEMA:
            return None
        marker = Marker(**stored)
        _names_and_sizes(marker.input)
        return marker
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, TypeError, AttributeError):
        return None


def is_done(job: ScoreJob, case: Case) -> bool:
    """Whether a case's folder holds what this job would write into it.

    Raises:
        OSError: when the marker may not be read.
    """
    if job.out is None:
        return False
    folder = job.out / case.name
    marker = read_marker(folder)
    if marker is None or not (job.resume or marker.run == job.run):
        return False
    if (marker.made_with, marker.mask_format, marker.age) != (job.made_with, job.mask_format, age_of(case)):
        return False
    if job.also is not None and marker.also != job.also.name:
        return False
    if any(_size(folder / name) != size for name, size in marker.files.items()):
        return False
    state = input_state(case.path)
    if not state["files"] or _names_and_sizes(state) != _names_and_sizes(marker.input):
        return False
    return state == marker.input or input_sha256(case.path, state) == (marker.sha256 or None)


def _names_and_sizes(state: dict[str, Any]) -> list[list[Any]]:
    """Of an input's files; where they differ, so do the bytes."""
    return [file[:2] for file in state["files"]]


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None
