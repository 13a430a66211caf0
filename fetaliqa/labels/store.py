"""Every version of every label, on disk, where nobody's stale copy of an index can reach them.

::

    FOLDER/CASE/TAG/000001/label.json  mask.nii.gz      one version, complete or not there, never changed
    FOLDER/CASE/TAG/000002/...
    FOLDER/CASE/TAG/reviews/000001.json                 what a reviewer said of it

A tag is one line of labels of a case: one rater's, or the final one. The highest version is the label. Saving
makes a new version by renaming a folder that is complete; so a kill at any moment leaves the old or the new label
with its record. Restoring and removing are versions too: nothing is lost. Writers of all processes take one lock
per tag and read what is there before they write.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from fetaliqa.atomic import atomic_directory, write_json
from fetaliqa.errors import LabelConflict, LabelError, LabelStorageError, NotFoundError
from fetaliqa.labels.record import FrameRecord, parse_record

SCHEMA = 1
FOLDER = "label-versions"  # in a folder of studies
LABEL, MASK, REVIEWS, LOCK = "label.json", "mask", "reviews", ".lock"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
VERSION = re.compile(r"[0-9]{6}")
LOCK_SECONDS = 60.0  # a writer that holds the lock for longer has died on a network disk
REVIEW_STATES = ("accepted", "returned")


@dataclass(frozen=True)
class Review:
    """What a reviewer said of a version: ``accepted``, or ``returned`` with a comment."""

    state: str
    reviewer: str
    time: str
    comment: str = ""


@dataclass(frozen=True)
class LabelVersion:
    """One version of a label.

    Attributes:
        case, tag, version: which one; versions count from 1.
        saved: when, ISO 8601.
        mask: its mask stack; None when there is none (every frame is empty, or the label was removed).
        mask_sha256: of that file, hex.
        record: what is said of each frame; None when the writer said nothing, as clients do that know no records.
        info: whatever else was saved with it, as JSON values.
        based_on: version that the writer had before them; None when they did not say.
        restored_from: version that this one repeats.
        removed: whether the label ends here.
        review: the last one.
    """

    case: str
    tag: str
    version: int
    saved: str
    mask: Path | None
    mask_sha256: str | None
    record: FrameRecord | None
    info: Mapping[str, Any] = field(default_factory=dict)
    based_on: int | None = None
    restored_from: int | None = None
    removed: bool = False
    review: Review | None = None


class LabelStore:
    """Labels of the cases of one folder of studies.

    Args:
        folder: made when the first label is saved.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(folder)

    # -- reading ------------------------------------------------------------------------------------

    def cases(self) -> list[str]:
        """Cases that have labels, by name."""
        return _names(self.folder)

    def tags(self, case: str) -> list[str]:
        """Tags of a case that have a label now, by name."""
        return [tag for tag in _names(self._below(case)) if self.current(case, tag) is not None]

    def current(self, case: str, tag: str) -> LabelVersion | None:
        """The label; None when there is none, or it was removed.

        Raises:
            LabelError: when the files of its last version are damaged.
        """
        versions = self._versions(case, tag)
        last = self._read(case, tag, versions[-1]) if versions else None
        return None if last is None or last.removed else last

    def latest(self, case: str, tag: str) -> int:
        """Number of the last version, whatever it holds; 0 when there is none. Reads no file."""
        versions = self._versions(case, tag)
        return versions[-1] if versions else 0

    def known_tags(self, case: str) -> list[str]:
        """Tags of a case that have a version, the removed ones included."""
        return [tag for tag in _names(self._below(case)) if self.latest(case, tag)]

    def history(self, case: str, tag: str) -> list[LabelVersion]:
        """All versions, the first one first.

        Raises:
            LabelError: when the files of one are damaged.
        """
        return [self._read(case, tag, version) for version in self._versions(case, tag)]

    def version(self, case: str, tag: str, version: int) -> LabelVersion:
        """One version.

        Raises:
            NotFoundError: when there is none of this number.
            LabelError: when its files are damaged.
        """
        versions = self._versions(case, tag)
        if version not in versions:
            known = f"versions 1 to {versions[-1]}" if versions else "no version"
            raise NotFoundError(f"{case}, {tag}: there is no version {version}; there are {known}")
        return self._read(case, tag, version)

    def check(self) -> list[str]:
        """What is damaged, one sentence each; reads and hashes every mask."""
        problems = []
        for case in self.cases():
            for tag in _names(self._below(case)):
                for version in self._versions(case, tag):
                    try:
                        found = self._read(case, tag, version)
                    except LabelError as problem:
                        problems.append(str(problem))
                        continue
                    if found.mask is not None and _sha256(found.mask) != found.mask_sha256:
                        problems.append(
                            f"{case}, {tag}, version {version}: its mask was changed after it was saved"
                        )
        return problems

    # -- writing ------------------------------------------------------------------------------------

    def save(
        self,
        case: str,
        tag: str,
        mask: Path | None,
        record: FrameRecord | None,
        info: Mapping[str, Any] | None = None,
        *,
        based_on: int | None = None,
    ) -> LabelVersion:
        """Save a label as the next version.

        Args:
            case, tag: which label.
            mask: mask stack, copied; None when no frame has an outline.
            record: what is said of each frame.
            info: whatever else belongs to it, JSON values.
            based_on: version that the writer had before them, 0 for none; None when they do not say, as clients
                that know no versions: theirs becomes the label, and the one before stays in the history.

        Raises:
            LabelConflict: when ``based_on`` is not the current version; nothing is saved.
            LabelStorageError: when the disk does not take it; nothing is saved.
            LabelError: on names that cannot be used.
        """
        return self._append(case, tag, mask, record, info or {}, based_on=based_on)

    def restore(self, case: str, tag: str, version: int, info: Mapping[str, Any] | None = None) -> LabelVersion:
        """Make an earlier version the label again, as a new version.

        Raises:
            NotFoundError: when there is none of this number.
            LabelError: when that version removed the label, or the disk does not take it.
        """
        old = self.version(case, tag, version)
        if old.removed:
            raise LabelError(f"{case}, {tag}: version {version} removed the label; restore an earlier one")
        return self._append(case, tag, old.mask, old.record, {**old.info, **(info or {})}, restored_from=version)

    def remove(self, case: str, tag: str, info: Mapping[str, Any] | None = None) -> LabelVersion:
        """End a label; its versions stay and can be restored.

        Raises:
            NotFoundError: when there is no such label.
        """
        if self.current(case, tag) is None:
            raise NotFoundError(f"{case}: there is no label with tag {tag!r}")
        return self._append(case, tag, None, None, info or {}, removed=True)

    def review(
        self, case: str, tag: str, version: int, state: str, reviewer: str, comment: str = ""
    ) -> LabelVersion:
        """Say of a version that it is ``accepted``, or ``returned`` to its rater with a comment.

        Raises:
            NotFoundError: when there is no such version.
            LabelError: for another state, a missing reviewer, or a return without a comment.
        """
        if state not in REVIEW_STATES:
            raise LabelError(f"review {state!r}; it must be one of {', '.join(REVIEW_STATES)}")
        if not reviewer.strip():
            raise LabelError("a review needs the reviewer's name")
        if state == "returned" and not comment.strip():
            raise LabelError("a label is sent back with a comment that says what to change")
        self.version(case, tag, version)
        told = {"state": state, "reviewer": reviewer, "time": _now(), "comment": comment}
        with self._writing(case, tag) as folder:
            write_json(folder / REVIEWS / f"{version:06d}.json", told)
        return self.version(case, tag, version)

    def pick(self, case: str, tag: str, version: int, final: str, reviewer: str) -> LabelVersion:
        """Make one rater's version the label of tag ``final``, and accept it.

        Raises:
            NotFoundError: when there is no such version.
            LabelError: when that version removed the label, or the disk does not take it.
        """
        chosen = self.version(case, tag, version)
        if chosen.removed:
            raise LabelError(f"{case}, {tag}: version {version} removed the label; pick an earlier one")
        self.review(case, tag, version, "accepted", reviewer)
        origin = {"picked_from": {"tag": tag, "version": version, "reviewer": reviewer}}
        return self._append(case, final, chosen.mask, chosen.record, {**chosen.info, **origin})

    # -- parts --------------------------------------------------------------------------------------

    def _append(
        self,
        case: str,
        tag: str,
        mask: Path | None,
        record: FrameRecord | None,
        info: Mapping[str, Any],
        *,
        based_on: int | None = None,
        restored_from: int | None = None,
        removed: bool = False,
    ) -> LabelVersion:
        with self._writing(case, tag) as folder:
            last = self.latest(case, tag)
            ended = last > 0 and self._read(case, tag, last).removed
            if based_on is not None and based_on != last and not (ended and based_on == 0):
                raise LabelConflict(self._conflict(case, tag, based_on, last))
            with atomic_directory(folder / f"{last + 1:06d}") as temporary:
                name = None
                if mask is not None:
                    name = MASK + "".join(Path(mask).suffixes[-2:] if mask.name.endswith(".gz") else [mask.suffix])
                    _copy(mask, temporary / name)
                write_json(
                    temporary / LABEL,
                    {
                        "schema": SCHEMA,
                        "saved": _now(),
                        "mask": name,
                        "mask_sha256": None if name is None else _sha256(temporary / name),
                        "record": None if record is None else record.to_json(),
                        "info": dict(info),
                        "based_on": based_on,
                        "restored_from": restored_from,
                        "removed": removed,
                    },
                )
        return self._read(case, tag, last + 1)

    def _conflict(self, case: str, tag: str, based_on: int, last: int) -> str:
        if last == 0:
            return f"{case}, {tag}: the save is based on version {based_on}, but there is none; save it as new"
        now = self._read(case, tag, last)
        who = now.info.get("user") or now.info.get("rater")
        return (
            f"{case}, {tag}: the save is based on version {based_on}, but version {last} was saved meanwhile "
            f"({now.saved}{f' by {who}' if who else ''}); load it, bring your changes into it, and save again"
        )

    @contextlib.contextmanager
    def _writing(self, case: str, tag: str) -> Iterator[Path]:
        """The folder of a tag, locked against all other writers; what a killed one left half-made is gone."""
        folder = self._below(case, tag)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / LOCK, timeout=LOCK_SECONDS):
                for left in folder.glob(".[0-9]*"):
                    shutil.rmtree(left, ignore_errors=True)
                yield folder
        except OSError as problem:
            raise LabelStorageError(f"{case}, {tag}: not saved, and nothing changed: {_why(problem)}") from None

    def _below(self, *names: str) -> Path:
        """A folder of the store; names lead nowhere else."""
        for name in names:
            if NAME.fullmatch(name) is None or ".." in name:
                raise LabelError(f"{name[:80]!r} cannot name a case or tag; letters, digits, '.', '_' and '-' can")
        return self.folder.joinpath(*names)

    def _versions(self, case: str, tag: str) -> list[int]:
        folder = self._below(case, tag)
        if not folder.is_dir():
            return []
        return sorted(int(child.name) for child in folder.iterdir() if VERSION.fullmatch(child.name))

    def _read(self, case: str, tag: str, version: int) -> LabelVersion:
        folder = self._below(case, tag) / f"{version:06d}"
        where = f"{case}, {tag}, version {version}"
        try:
            told = json.loads((folder / LABEL).read_text(encoding="utf-8"))
            mask = None if told["mask"] is None else folder / Path(told["mask"]).name
            record = None if told["record"] is None else parse_record(told["record"], where)
            found = LabelVersion(
                case,
                tag,
                version,
                str(told["saved"]),
                mask,
                told["mask_sha256"],
                record,
                dict(told["info"]),
                told["based_on"],
                told["restored_from"],
                bool(told["removed"]),
                self._review_of(case, tag, version),
            )
        except (OSError, ValueError, KeyError, TypeError) as problem:
            raise LabelError(f"{where}: damaged ({problem}); restore an earlier version") from None
        if mask is not None and not mask.is_file():
            raise LabelError(f"{where}: its mask {mask.name} is missing; restore an earlier version")
        return found

    def _review_of(self, case: str, tag: str, version: int) -> Review | None:
        file = self._below(case, tag) / REVIEWS / f"{version:06d}.json"
        return Review(**json.loads(file.read_text(encoding="utf-8"))) if file.is_file() else None


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(child.name for child in folder.iterdir() if child.is_dir() and NAME.fullmatch(child.name))


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with open(target, "rb") as written:
        os.fsync(written.fileno())


def _why(problem: OSError) -> str:
    if problem.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return "the disk is full; make room and save again"
    if problem.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return "the folder is read-only for the server; change its permissions and save again"
    return f"{problem.strerror or problem}; save again"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
