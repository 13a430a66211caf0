"""Paths of the files of retraining in a folder of studies.

::

    STUDIES/retraining/split.json          training and validation cases; none changes its part
    STUDIES/retraining/replay.json         the replayed data set, once named
    STUDIES/retraining/read.json           labels known to be readable
    STUDIES/retraining/frames/             prepared frames and features, made again when missing
    STUDIES/retraining/runs/3/             a run: run.json, recipe.json, trial-0/ (docs/training.md), and
        retraining.json progress.json gate.json report.json
"""

from __future__ import annotations

from pathlib import Path

FOLDER = "retraining"
ASKED, PROGRESS, GATE, REPORT = "retraining.json", "progress.json", "gate.json", "report.json"


def retraining_folder(studies: Path) -> Path:
    """Everything of retraining in a folder of studies."""
    return Path(studies) / FOLDER


def split_file(studies: Path) -> Path:
    """The recorded split."""
    return retraining_folder(studies) / "split.json"


def replay_file(studies: Path) -> Path:
    """Which data set is replayed."""
    return retraining_folder(studies) / "replay.json"


def read_file(studies: Path) -> Path:
    """Which labels could be read, by what they held."""
    return retraining_folder(studies) / "read.json"


def prepared_folder(studies: Path) -> Path:
    """Prepared frames and features."""
    return retraining_folder(studies) / "frames"


def run_folder(studies: Path, number: int) -> Path:
    """One run."""
    return retraining_folder(studies) / "runs" / str(number)


def run_numbers(studies: Path) -> list[int]:
    """Numbers of all runs, ascending, incomplete ones included."""
    folder = retraining_folder(studies) / "runs"
    names = [child.name for child in folder.iterdir() if child.is_dir()] if folder.is_dir() else []
    return sorted(int(name) for name in names if name.isdigit())


def lock_file(studies: Path) -> Path:
    """Locked by the process that trains."""
    return retraining_folder(studies) / ".lock"


def last_run(studies: Path) -> int | None:
    """The last started run; None without one."""
    started = [number for number in run_numbers(studies) if (run_folder(studies, number) / ASKED).is_file()]
    return started[-1] if started else None


def unfinished_run(studies: Path) -> int | None:
    """The last run, when it has no report yet; else None."""
    number = last_run(studies)
    return None if number is None or (run_folder(studies, number) / REPORT).is_file() else number
