"""Candidates, publishing and going back: what moves the ``current`` pointer, and the history of it.

::

    models/NAME/candidates/3/       a bundle that is not in use, with report.json
    models/NAME/3/                  a published one; never changes
    models/NAME/current             which one is in use
    models/NAME/history.jsonl       one line per candidate, publication and return, oldest first
    models/NAME/intent.json         a change that has begun; whoever comes next completes it

A change is written down first (``intent.json``), then made in steps that can each be repeated, then forgotten. So
a kill at any moment leaves the old model in use, or the new one, and the history says which. Readers need no lock.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import EllipsisType
from typing import Any

from filelock import FileLock, Timeout

from fetaliqa.atomic import atomic_directory, why_not_written, write_json, write_text
from fetaliqa.errors import BundleError, NotFoundError, StorageError, StoreConflict, StoreMoved
from fetaliqa.model.bundle import Bundle
from fetaliqa.model.bundle_card import read_card
from fetaliqa.model.bundle_names import CARD_FILE, valid_name
from fetaliqa.model.user_folders import models_folder
from fetaliqa.registry.model_store import (
    CANDIDATES,
    CURRENT_FILE,
    RESERVED_NAMES,
    current_version,
    published_versions,
)
from fetaliqa.registry.refused_candidates import Judged, Override, forced_line, refusal, short_figures

HISTORY, INTENT, LOCK, REPORT = "history.jsonl", "intent.json", ".lock", "report.json"
RESERVED = (HISTORY, INTENT, CURRENT_FILE, CANDIDATES)  # names that no version may have
ACTIONS = ("candidate", "publish", "rollback")
LOCK_SECONDS = 60.0
LEADING_NUMBER = re.compile(r"[0-9]+")


# -- reading ----------------------------------------------------------------------------------------


def candidate_folder(name: str, version: str) -> Path:
    """Where a candidate lies."""
    return models_folder() / name / CANDIDATES / version


def candidates(name: str) -> list[str]:
    """Versions that were made and are not published, ascending."""
    folder = models_folder() / name / CANDIDATES
    if not valid_name(name) or not folder.is_dir():
        return []
    found = [child.name for child in folder.iterdir() if (child / CARD_FILE).is_file() and valid_name(child.name)]
    return sorted(found, key=lambda version: (_number(version), version))


def history(name: str) -> list[dict[str, Any]]:
    """What was done with the versions of a model, the first thing first.

    Each line has ``time``, ``action`` (candidate, publish, rollback), ``version`` (None: the default model again),
    ``replaced`` (the version that was in use), ``figures`` and ``reason``; a publication against the gate also has
    ``forced`` (true) and ``by`` (who). A line that cannot be read is left out.

    Raises:
        NotFoundError: for a name that nothing was ever made or published of.
    """
    _check_known(name)
    if (models_folder() / name / INTENT).is_file():
        with contextlib.suppress(OSError, StoreConflict), changing(name):
            pass  # completes what was begun; a read-only store shows what is there
    return _lines(name)


def _lines(name: str) -> list[dict[str, Any]]:
    try:
        text = (models_folder() / name / HISTORY).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    found = []
    for line in text.splitlines():
        with contextlib.suppress(ValueError):
            value = json.loads(line)
            if isinstance(value, dict):
                found.append(value)
    return found


# -- changing ---------------------------------------------------------------------------------------


def add_candidate(directory: Path, name: str, origin: str, report: dict[str, Any] | None = None) -> str:
    """Copy a trained bundle into the store as a candidate of the next version; made again, it is the same one.

    Args:
        directory: a complete bundle; its name and version are replaced.
        name: of the model.
        origin: what it came from, such as the fingerprint of the trained bundle: a second call with the same one
            returns the version of the first.
        report: what is known of it already; see :func:`keep_report`.

    Returns:
        The version: one above all that there are or were.

    Raises:
        BundleError: when the bundle is damaged or the name is reserved.
        StoreConflict: when another process holds the store.
    """
    if not valid_name(name) or name in RESERVED_NAMES:
        raise BundleError(f"{name!r} cannot name a published model; use letters, digits, '.', '_' and '-'")
    source = Bundle.open(directory)
    source.check_files()
    with changing(name):
        for version in (*candidates(name), *published_versions(name)):
            if report_of(name, version).get("origin") == origin:
                return version
        version = _next_version(name)
        with atomic_directory(candidate_folder(name, version)) as temporary:
            for file in sorted(source.card.files):
                shutil.copyfile(source.directory / file, temporary / file)
                _fsync(temporary / file)
            card = replace(source.card, name=name, version=version)
            write_json(temporary / CARD_FILE, card.to_json())
            write_json(temporary / REPORT, {**(report or {}), "origin": origin})
            Bundle.open(temporary).check_files()
    return version


def keep_report(name: str, version: str, report: dict[str, Any]) -> None:
    """Put a report beside a candidate's bundle; it stays there when the candidate is published."""
    with changing(name):
        folder = candidate_folder(name, version)
        if folder.is_dir():
            write_json(folder / REPORT, {**report_of(name, version), **report})


def record_candidate(name: str, version: str, figures: Any = None, reason: str = "") -> None:
    """Write into the history that a candidate was made and is kept; said twice, it is there once."""
    with changing(name):
        _append(name, _line("candidate", version, current_version(name), figures, reason))


def publish(
    name: str,
    version: str,
    *,
    figures: Any = None,
    reason: str = "",
    override: Override | None = None,
    instead_of: str | EllipsisType | None = ...,
) -> bool:
    """Use a candidate, or a version published before, from now on.

    Args:
        name: of the model.
        version: of it.
        figures, reason: for the history; without figures, those of the candidate's own report.
        override: publish it though the gate refused it.
        instead_of: the version that has to be in use now, None for none; without it, whatever is.

    Returns:
        False when it was in use already.

    Raises:
        NotFoundError: when there is no such version.
        GateRefused: when the gate refused it, and there is no override.
        BundleError: when its files are damaged.
        StoreMoved: when another version than ``instead_of`` is in use; nothing was changed.
        StoreConflict: when another process holds the store.
        StorageError: when the disk does not take it.
    """
    _check_known(name)
    with changing(name):
        now = current_version(name)
        if instead_of is not ... and now not in (instead_of, version):
            raise StoreMoved(f"{name}: {now or 'no version'} is in use, not {instead_of or 'none'} as before")
        return _move(name, version, "publish", figures, reason, override)


def rollback(name: str, *, reason: str = "") -> str | None:
    """Go back to what was in use before the current version was published.

    Returns:
        The version in use now; None: none, so that the default model is served again.

    Raises:
        NotFoundError: for an unknown name.
        StoreConflict: when nothing is published, or nothing is known that was before.
        BundleError: when the earlier version is damaged.
    """
    _check_known(name)
    with changing(name):
        now = current_version(name)
        if now is None:
            raise StoreConflict(f"{name}: no version is published, so there is nothing to go back from")
        line = next((one for one in reversed(_lines(name)) if _published(one, now)), None)
        if line is None:
            raise StoreConflict(
                f"{name}: the history does not say what was in use before {now}; publish another version instead"
            )
        before = line.get("replaced")
        _move(name, before, "rollback", None, reason or f"back from {now}")
        return before


def _published(line: dict[str, Any], version: str) -> bool:
    return line.get("action") == "publish" and line.get("version") == version


def was_published(name: str, version: str) -> bool:
    """Whether a version was ever in use by its publication, whatever is now."""
    with changing(name):
        return any(_published(line, version) for line in _lines(name))


def record_current(name: str, version: str, override: Override | None = None) -> None:
    """Make a published version current and write it into the history; ``set_current`` of the store calls it."""
    with changing(name):
        _move(name, version, "publish", None, "", override)


def check_not_refused(bundle: Bundle, override: Override | None = None) -> None:
    """Check a bundle that comes from outside of the store: a copy of a refused candidate is refused as well.

    Raises:
        GateRefused: when the gate refused a candidate of its name with the same weights, and there is no override.
    """
    name = bundle.card.name
    refused = refusal(_judged(name), bundle.card.files)
    if refused is not None:
        forced_line(name, refused, override)


def _judged(name: str) -> Iterator[Judged]:
    """The versions of a model that the gate has judged; a damaged one stands in nobody's way."""
    for version in (*published_versions(name), *candidates(name)):
        gate = report_of(name, version).get("gate")
        if isinstance(gate, dict):
            with contextlib.suppress(BundleError):
                yield Judged(version, read_card(_place(name, version)).files, gate)


def _move(
    name: str, version: str | None, action: str, figures: Any, reason: str, override: Override | None = None
) -> bool:
    now, files = current_version(name), {}
    if version is not None:
        bundle = Bundle.open(_place(name, version))
        bundle.check_files()
        files = bundle.card.files
    if version == now:
        return False
    intent = _line(action, version, now, figures, reason)
    if action == "publish" and version is not None:
        judged = list(_judged(name))
        own = [one for one in judged if one.version == version]
        if own and figures is None:
            intent["figures"] = short_figures(own[0].gate)
        refused = refusal(judged, files, version)
        if refused is not None:
            intent |= forced_line(name, refused, override)
    write_json(models_folder() / name / INTENT, intent)
    _complete(name, intent)
    return True


def _place(name: str, version: str) -> Path:
    """The folder of a version, published or not."""
    if version in published_versions(name):
        return models_folder() / name / version
    if version in candidates(name):
        return candidate_folder(name, version)
    known = [*published_versions(name), *(f"{one} (candidate)" for one in candidates(name))]
    raise NotFoundError(f"{name} has no version {str(version)[:80]!r}; there are: {', '.join(known) or 'none'}")


def _complete(name: str, intent: dict[str, Any]) -> None:
    """Make a change that was written down; each step can be repeated after a kill."""
    folder, version = models_folder() / name, intent["version"]
    if version is None:
        (folder / CURRENT_FILE).unlink(missing_ok=True)
    else:
        if not (folder / version).is_dir():
            os.rename(candidate_folder(name, version), folder / version)
        write_text(folder / CURRENT_FILE, version + "\n")
    _append(name, intent)
    (folder / INTENT).unlink()


@contextlib.contextmanager
def changing(name: str) -> Iterator[None]:
    """The store of one model, locked; a change that a killed process began is completed first."""
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
            f"{name}: the disk does not take a change of the model store: {why_not_written(problem, 'try')}"
        ) from None


def _resume(name: str) -> None:
    folder = models_folder() / name
    for left in [*folder.glob(".*"), *(folder / CANDIDATES).glob(".*")]:
        if left.name != LOCK and left.is_dir():
            shutil.rmtree(left, ignore_errors=True)  # of a copy that was killed
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
        _place(name, version)
    _complete(name, intent)


def _append(name: str, line: dict[str, Any]) -> None:
    """Add a line, whole or not at all; one that is there already is not added again."""
    lines = _lines(name)
    same = ("action", "version") if line["action"] == "candidate" else ("time", "action", "version")
    if any(all(one.get(key) == line[key] for key in same) for one in lines):
        return
    text = "".join(json.dumps(one, allow_nan=False) + "\n" for one in [*lines, line])
    write_text(models_folder() / name / HISTORY, text)


def _line(action: str, version: str | None, replaced: str | None, figures: Any, reason: str) -> dict[str, Any]:
    return {
        "time": datetime.now(UTC).isoformat(timespec="microseconds"),
        "action": action,
        "version": version,
        "replaced": replaced,
        "figures": figures,
        "reason": reason,
    }


def report_of(name: str, version: str) -> dict[str, Any]:
    """What lies beside a version's bundle; empty when nothing does."""
    for folder in (models_folder() / name / version, candidate_folder(name, version)):
        with contextlib.suppress(OSError, ValueError):
            found = json.loads((folder / REPORT).read_text(encoding="utf-8"))
            if isinstance(found, dict):
                return found
    return {}


def _next_version(name: str) -> str:
    told = [one.get("version") or "" for one in _lines(name)]
    return str(1 + max((_number(one) for one in [*published_versions(name), *candidates(name), *told]), default=0))


def _number(version: str) -> int:
    found = LEADING_NUMBER.match(version)
    return int(found.group()) if found else 0


def _check_known(name: str) -> None:
    if not valid_name(name) or not (models_folder() / name).is_dir():
        raise NotFoundError(
            f"no model {name[:80]!r} in the store; nothing of that name was ever made or published"
        )


def _fsync(file: Path) -> None:
    with open(file, "rb") as written:
        os.fsync(written.fileno())
