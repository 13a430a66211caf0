"""Changes of the model store that survive a kill: one at a time, written down first, and recorded in the history.

::

    models/NAME/history.jsonl       one line per candidate, publication and rollback, the oldest first
    models/NAME/intent.json         a change that has begun; the next process completes it

A change is written down (``intent.json``), carried out in steps that can each be repeated, and its record removed.
A kill at any moment leaves the old model in use, or the new one, and the history says which. Readers need no lock.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from filelock import FileLock, Timeout

from fetaliqa.atomic import why_not_written, write_json, write_text
from fetaliqa.errors import BundleError, StorageError, StoreConflict
from fetaliqa.model.user_folders import models_folder
from fetaliqa.registry.model_store import CANDIDATES, CURRENT_FILE, candidate_folder, version_folder

HISTORY, INTENT, LOCK = "history.jsonl", "intent.json", ".lock"
LOCK_SECONDS = 60.0


@contextlib.contextmanager
def changing(name: str) -> Iterator[None]:
    """Hold the lock on the store of one model; a change that a killed process began is completed first.

    Raises:
        StoreConflict: when another process holds the lock for a minute.
        StorageError: when the disk does not accept a change.
        BundleError: when the record of an unfinished change is damaged.
    """
    folder = models_folder() / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / LOCK, timeout=LOCK_SECONDS):
            _resume(name)
            yield
    except Timeout:
        raise StoreConflict(
            f"{name}: another process has been changing the model store for a minute; try again"
        ) from None
    except FileExistsError:
        raise
    except OSError as problem:
        raise StorageError(
            f"{name}: the model store cannot be changed: {why_not_written(problem, 'try')}"
        ) from None


def _resume(name: str) -> None:
    folder = models_folder() / name
    for unfinished in [*folder.glob(".*"), *(folder / CANDIDATES).glob(".*")]:
        if unfinished.name != LOCK and unfinished.is_dir():
            shutil.rmtree(unfinished, ignore_errors=True)  # a copy by a process that died
    try:
        intent = json.loads((folder / INTENT).read_text(encoding="utf-8"))
        version = intent["version"]
    except FileNotFoundError:
        return
    except (ValueError, KeyError, TypeError):
        raise BundleError(
            f"{folder / INTENT} is damaged; remove it, and check `fetaliqa models history`"
        ) from None
    if version is not None:
        version_folder(name, version)
    _complete(name, intent)


def make_change(name: str, intent: dict[str, Any]) -> None:
    """Write a change of the version in use down, and carry it out; the caller holds the lock.

    Args:
        name: of the model.
        intent: its line of the history; ``version`` is used from now on, None for none.
    """
    write_json(models_folder() / name / INTENT, intent)
    _complete(name, intent)


def _complete(name: str, intent: dict[str, Any]) -> None:
    """Carry out a change that was written down; each step can be repeated after a kill."""
    folder, version = models_folder() / name, intent["version"]
    if version is None:
        (folder / CURRENT_FILE).unlink(missing_ok=True)
    else:
        if not (folder / version).is_dir():
            os.rename(candidate_folder(name, version), folder / version)
        write_text(folder / CURRENT_FILE, version + "\n")
    append_line(name, intent)
    (folder / INTENT).unlink()


def append_line(name: str, line: dict[str, Any]) -> None:
    """Add a line to the history, completely or not at all, unless it is there already."""
    lines = history_lines(name)
    same = ("action", "version") if line["action"] == "candidate" else ("time", "action", "version")
    if any(all(one.get(key) == line[key] for key in same) for one in lines):
        return
    text = "".join(json.dumps(one, allow_nan=False) + "\n" for one in [*lines, line])
    write_text(models_folder() / name / HISTORY, text)


def history_line(
    action: str, version: str | None, replaced: str | None, figures: Any, reason: str
) -> dict[str, Any]:
    """A line of the history, at the present time."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="microseconds"),
        "action": action,
        "version": version,
        "replaced": replaced,
        "figures": figures,
        "reason": reason,
    }


def history_lines(name: str) -> list[dict[str, Any]]:
    """The lines of the history as they are stored, the oldest first; one that cannot be read is left out."""
    try:
        text = (models_folder() / name / HISTORY).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    lines = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict):
                lines.append(value)
    return lines
