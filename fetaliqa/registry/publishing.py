"""Candidates, publishing and rollback: what changes the version of a model that is in use."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import EllipsisType
from typing import Any

from fetaliqa.atomic import atomic_directory, write_json
from fetaliqa.errors import BundleError, NotFoundError, StoreConflict, StoreMoved
from fetaliqa.model.bundle import Bundle
from fetaliqa.model.bundle_card import read_card
from fetaliqa.model.bundle_names import CARD_FILE, STUDENT_FOLDER, valid_name
from fetaliqa.model.interval_file import INTERVAL_FILE
from fetaliqa.model.user_folders import models_folder
from fetaliqa.registry.model_store import (
    CANDIDATES,
    CURRENT_FILE,
    REPORT,
    RESERVED_NAMES,
    candidate_folder,
    candidates,
    current_version,
    leading_number,
    published_versions,
    report_of,
    version_folder,
)
from fetaliqa.registry.refused_candidates import Judged, Override, forced_line, refusal, short_figures
from fetaliqa.registry.store_changes import (
    HISTORY,
    INTENT,
    append_line,
    changing,
    history_line,
    history_lines,
    make_change,
)

RESERVED = (HISTORY, INTENT, CURRENT_FILE, CANDIDATES)  # names that no version may have


def history(name: str) -> list[dict[str, Any]]:
    """The history of a model: its candidates, publications and rollbacks, the oldest first.

    Each line has ``time``, ``action`` (candidate, publish, rollback), ``version`` (None: the default model again),
    ``replaced`` (the version that was in use), ``figures`` and ``reason``; a publication against the gate also has
    ``forced`` (true) and ``by`` (who). A line that cannot be read is left out.

    Raises:
        NotFoundError: when the store never held a model of this name.
    """
    _check_known(name)
    if (models_folder() / name / INTENT).is_file():
        with contextlib.suppress(OSError, StoreConflict), changing(name):
            pass  # completes an unfinished change; of a read-only store the lines are shown as they are
    return history_lines(name)


def add_candidate(directory: Path, name: str, origin: str, report: dict[str, Any] | None = None) -> str:
    """Copy a trained bundle into the store as a candidate with the next version number.

    Args:
        directory: a complete bundle; its name and version are replaced.
        name: of the model.
        origin: identifies the source, for example by the trained bundle's fingerprint; a second call with the same
            origin adds nothing and returns the version of the first.
        report: its first entries; see :func:`keep_report`.

    Returns:
        The version: above all present and earlier ones.

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
    """Add entries to the report beside a candidate's bundle; it stays there when the candidate is published."""
    with changing(name):
        folder = candidate_folder(name, version)
        if folder.is_dir():
            write_json(folder / REPORT, {**report_of(name, version), **report})


def record_candidate(name: str, version: str, figures: Any = None, reason: str = "") -> None:
    """Record a candidate in the history, once however often it is called."""
    with changing(name):
        append_line(name, history_line("candidate", version, current_version(name), figures, reason))


def publish(
    name: str,
    version: str,
    *,
    figures: Any = None,
    reason: str = "",
    override: Override | None = None,
    instead_of: str | EllipsisType | None = ...,
) -> bool:
    """Make a candidate, or an earlier published version, the version in use.

    Args:
        name: of the model.
        version: to be used.
        figures, reason: for the history; figures default to those of the candidate's report.
        override: publish it although the gate refused it.
        instead_of: the version expected to be in use now, None for none; by default it is not checked.

    Returns:
        False when it was in use already.

    Raises:
        NotFoundError: when there is no such version.
        GateRefused: when the gate refused it, and there is no override.
        BundleError: when its files are damaged.
        StoreMoved: when another version than ``instead_of`` is in use; nothing was changed.
        StoreConflict: when another process holds the store.
        StorageError: when the disk does not accept the change.
    """
    _check_known(name)
    with changing(name):
        now = current_version(name)
        if instead_of is not ... and now not in (instead_of, version):
            raise StoreMoved(f"{name}: {now or 'no version'} is in use, not {instead_of or 'none'} as before")
        return _move(name, version, "publish", figures, reason, override)


def publish_bundle(
    directory: str | Path, *, make_current: bool = True, override: Override | None = None
) -> Bundle:
    """Copy a bundle into the store under its card's name and version.

    Args:
        directory: a complete bundle; its hashes are checked first.
        make_current: make it the version in use.
        override: publish it although the gate refused a candidate with the same weights.

    Raises:
        GateRefused: when the gate refused it, and there is no override.
        BundleError: when the bundle is damaged, its name is that of one that ships, or the version is published
            already.
    """
    source = Bundle.open(directory)
    source.check_files()
    name, version = source.card.name, source.card.version
    for given, reserved, what in ((name, RESERVED_NAMES, "name"), (version, RESERVED, "version")):
        if given in reserved:
            raise BundleError(
                f"a model cannot have the {what} {given!r}: {', '.join(map(repr, reserved))} are reserved; "
                f"choose another {what}"
            )

    _check_not_refused(source, override)
    if version in candidates(name):
        raise BundleError(
            f"{name}@{version} is a candidate's version: publish the candidate by that name, or raise the version"
        )
    target = models_folder() / name / version
    try:
        with changing(name), atomic_directory(target) as temporary:
            for file in (CARD_FILE, *sorted(source.card.files)):
                shutil.copyfile(source.directory / file, temporary / file)
            if (source.directory / INTERVAL_FILE).is_file():
                shutil.copyfile(source.directory / INTERVAL_FILE, temporary / INTERVAL_FILE)
            if (source.directory / STUDENT_FOLDER).is_dir():
                shutil.copytree(source.directory / STUDENT_FOLDER, temporary / STUDENT_FOLDER)
            published = Bundle.open(temporary)
            published.check_files()
    except FileExistsError:
        raise BundleError(f"{name}@{version} is published already and never changes; raise the version") from None
    if make_current:
        set_current(name, version, override=override)
    return Bundle.open(target)


def set_current(name: str, version: str, *, override: Override | None = None) -> None:
    """Make a published version the version in use; names resolved after this call mean it.

    Raises:
        NotFoundError: when it is not published.
    """
    if not valid_name(name) or version not in published_versions(name):
        raise NotFoundError(f"no published bundle {name}@{version} to make current")
    with changing(name):
        _move(name, version, "publish", None, "", override)


def rollback(name: str, *, reason: str = "") -> str | None:
    """Return to the version that was in use before the current one was published.

    Returns:
        The version in use now; None when there is none, so that the default model is served.

    Raises:
        NotFoundError: for an unknown name.
        StoreConflict: when no version is published, or the history does not hold the earlier one.
        BundleError: when the earlier version is damaged.
    """
    _check_known(name)
    with changing(name):
        now = current_version(name)
        if now is None:
            raise StoreConflict(f"{name}: no version is published, so there is nothing to roll back")
        line = next((one for one in reversed(history_lines(name)) if _published(one, now)), None)
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
    """Whether a version was ever published."""
    with changing(name):
        return any(_published(line, version) for line in history_lines(name))


def _check_not_refused(bundle: Bundle, override: Override | None = None) -> None:
    """Check a bundle from outside the store: a copy of a refused candidate is refused too.

    Raises:
        GateRefused: when the gate refused a candidate of its name with the same weights, and there is no override.
    """
    name = bundle.card.name
    refused = refusal(_judged(name), bundle.card.files)
    if refused is not None:
        forced_line(name, refused, override)


def _judged(name: str) -> Iterator[Judged]:
    """The versions of a model that the gate has judged, except damaged ones."""
    for version in (*published_versions(name), *candidates(name)):
        gate = report_of(name, version).get("gate")
        if isinstance(gate, dict):
            with contextlib.suppress(BundleError):
                yield Judged(version, read_card(version_folder(name, version)).files, gate)


def _move(
    name: str, version: str | None, action: str, figures: Any, reason: str, override: Override | None = None
) -> bool:
    now, files = current_version(name), {}
    if version is not None:
        bundle = Bundle.open(version_folder(name, version))
        bundle.check_files()
        files = bundle.card.files
    if version == now:
        return False
    intent = history_line(action, version, now, figures, reason)
    if action == "publish" and version is not None:
        judged = list(_judged(name))
        own = [one for one in judged if one.version == version]
        if own and figures is None:
            intent["figures"] = short_figures(own[0].gate)
        refused = refusal(judged, files, version)
        if refused is not None:
            intent |= forced_line(name, refused, override)
    make_change(name, intent)
    return True


def _next_version(name: str) -> str:
    recorded = [line.get("version") or "" for line in history_lines(name)]
    versions = [*published_versions(name), *candidates(name), *recorded]
    return str(1 + max(map(leading_number, versions), default=0))


def _check_known(name: str) -> None:
    if not valid_name(name) or not (models_folder() / name).is_dir():
        raise NotFoundError(f"no model {name[:80]!r} in the store; check the name with `fetaliqa models list`")


def _fsync(file: Path) -> None:
    with open(file, "rb") as written:
        os.fsync(written.fileno())
