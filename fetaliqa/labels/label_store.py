"""The label store: every version of every label on disk, saved atomically under a lock.

::

    FOLDER/CASE/TAG/000001/label.json  mask.nii.gz      one version, complete or absent, never changed
    FOLDER/CASE/TAG/000002/...
    FOLDER/CASE/TAG/reviews/000001.json                 its reviews
    FOLDER/.retired/CASE-TIME/...                       labels of an image that was removed

A tag is one series of labels of a case: one rater's, or the final one. The highest version is the current label.
Saving renames a complete folder, so a kill at any moment leaves either the old or the new label with its record.
Restoring and removing are versions too, so no label is lost. Writers of all processes take one lock per tag.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock

from fetaliqa.atomic import atomic_directory, why_not_written, write_json
from fetaliqa.case_names import is_case_name, name_problem
from fetaliqa.errors import LabelConflict, LabelDamaged, LabelError, LabelStorageError, NotFoundError
from fetaliqa.file_provenance import file_sha256
from fetaliqa.labels.frame_record import FrameRecord, parse_record
from fetaliqa.labels.label_version import LabelVersion, Review

SCHEMA = 1
FOLDER = "label-versions"  # in a folder of studies
LABEL, MASK, REVIEWS, LOCK = "label.json", "mask", "reviews", ".lock"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
VERSION = re.compile(r"[0-9]{6}")
LOCK_SECONDS = 60.0  # a lock held for longer is of a process that died on a network disk
REVIEW_STATES = ("accepted", "returned")


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
        return _names(self.folder, is_case_name)

    def tags(self, case: str) -> list[str]:
        """Tags of a case that have a current label, by name; damaged ones included."""
        return [tag for tag in self.known_tags(case) if not self._ended(case, tag)]

    def current(self, case: str, tag: str) -> LabelVersion | None:
        """The label; None when there is none, or it was removed.

        Raises:
            LabelDamaged: when the files of its last version are damaged.
        """
        number = self.latest(case, tag)
        last = self._read(case, tag, number) if number else None
        return None if last is None or last.removed else last

    def latest(self, case: str, tag: str) -> int:
        """Number of the last version, of a removal too; 0 without one. Reads no file."""
        versions = self._versions(case, tag)
        return versions[-1] if versions else 0

    def known_tags(self, case: str) -> list[str]:
        """Tags of a case that have a version, the removed ones included."""
        return [tag for tag in _names(self._below(case), usable_name) if self.latest(case, tag)]

    def history(self, case: str, tag: str) -> list[LabelVersion]:
        """All versions, the first one first.

        Raises:
            LabelDamaged: when the files of one are damaged.
        """
        return [self._read(case, tag, version) for version in self._versions(case, tag)]

    def version(self, case: str, tag: str, version: int) -> LabelVersion:
        """One version.

        Raises:
            NotFoundError: when there is none of this number.
            LabelDamaged: when its files are damaged.
        """
        versions = self._versions(case, tag)
        if version not in versions:
            existing = f"versions 1 to {versions[-1]}" if versions else "no version"
            raise NotFoundError(f"{case}, {tag}: there is no version {version}; there are {existing}")
        return self._read(case, tag, version)

    def check(self) -> list[str]:
        """Check every version and mask hash; returns one message per damaged version."""
        problems = []
        for case in self.cases():
            for tag in self.known_tags(case):
                for version in self._versions(case, tag):
                    try:
                        label = self._read(case, tag, version)
                    except LabelError as problem:
                        problems.append(str(problem))
                        continue
                    if label.mask is not None and file_sha256(label.mask) != label.mask_sha256:
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
        image: str | None = None,
        based_on: int | None = None,
    ) -> LabelVersion:
        """Save a label as the next version.

        Args:
            case: id of the case.
            tag: line of labels.
            mask: mask stack, copied; None when no frame has an outline.
            record: frame record.
            info: further metadata, JSON values.
            image: of the pixels that were labelled, see ``pixels_sha256``.
            based_on: version that the writer edited, 0 for none; None from clients without versions: no conflict
                is detected then, and the previous label stays in the history.

        Raises:
            LabelConflict: when ``based_on`` is not the current version; nothing is saved.
            LabelStorageError: when it cannot be written; nothing is saved.
            LabelError: on names that cannot be used.
        """
        return self._append(case, tag, mask, record, info or {}, image=image, based_on=based_on)

    def restore(self, case: str, tag: str, version: int, info: Mapping[str, Any] | None = None) -> LabelVersion:
        """Make an earlier version the label again, as a new version.

        Raises:
            NotFoundError: when there is none of this number.
            LabelError: when that version removed the label, or it cannot be written.
        """
        old = self._kept(case, tag, version, "restore")
        merged = {**old.info, **(info or {})}
        return self._append(case, tag, old.mask, old.record, merged, image=old.image, restored_from=version)

    def remove(self, case: str, tag: str, info: Mapping[str, Any] | None = None) -> LabelVersion:
        """Remove a label; its versions stay and can be restored.

        Raises:
            NotFoundError: when there is no such label.
        """
        if self._ended(case, tag):
            raise NotFoundError(f"{case}: there is no label with tag {tag!r}")
        return self._append(case, tag, None, None, info or {}, removed=True)

    def review(
        self, case: str, tag: str, version: int, state: str, reviewer: str, comment: str = ""
    ) -> LabelVersion:
        """Review a version: ``accepted``, or ``returned`` (changes requested) with a comment.

        Raises:
            NotFoundError: when there is no such version.
            LabelError: for another state, a missing reviewer, or ``returned`` without a comment.
        """
        if state not in REVIEW_STATES:
            raise LabelError(f"review {state!r}; it must be one of {', '.join(REVIEW_STATES)}")
        if not reviewer.strip():
            raise LabelError("a review needs the reviewer's name")
        if state == "returned" and not comment.strip():
            raise LabelError("requesting changes needs a comment that says what to change")
        self.version(case, tag, version)
        with self._writing(case, tag) as folder:
            reviews = (*self._reviews_of(case, tag, version), Review(state, reviewer, _now(), comment))
            write_json(folder / REVIEWS / f"{version:06d}.json", [asdict(one) for one in reviews])
        return self.version(case, tag, version)

    def pick(self, case: str, tag: str, version: int, final: str, reviewer: str) -> LabelVersion:
        """Make one rater's version the label of tag ``final``, and accept it.

        Raises:
            NotFoundError: when there is no such version.
            LabelError: when that version removed the label, or it cannot be written.
        """
        chosen = self._kept(case, tag, version, "pick")
        self.review(case, tag, version, "accepted", reviewer)
        origin = {"picked_from": {"tag": tag, "version": version, "reviewer": reviewer}}
        merged = {**chosen.info, **origin}
        return self._append(case, final, chosen.mask, chosen.record, merged, image=chosen.image)

    def retire(self, case: str) -> None:
        """Archive all labels of a case, so that a new image of the same name does not inherit them.

        They stay on disk, in ``.retired``, under the name and the time.

        Raises:
            LabelStorageError: when the folder cannot be moved.
        """
        folder = self._below(case)
        if not folder.is_dir():
            return
        try:
            target = self.folder / ".retired" / f"{case}-{datetime.now(UTC):%Y%m%dT%H%M%S%f}"
            target.parent.mkdir(exist_ok=True)
            os.rename(folder, target)
        except OSError as problem:
            raise LabelStorageError(f"{case}: its labels were not archived: {why_not_written(problem)}") from None

    # -- parts --------------------------------------------------------------------------------------

    def _kept(self, case: str, tag: str, version: int, verb: str) -> LabelVersion:
        """A version that is not a removal."""
        label_version = self.version(case, tag, version)
        if label_version.removed:
            raise LabelError(f"{case}, {tag}: version {version} removed the label; {verb} an earlier one")
        return label_version

    def _append(
        self,
        case: str,
        tag: str,
        mask: Path | None,
        record: FrameRecord | None,
        info: Mapping[str, Any],
        *,
        image: str | None = None,
        based_on: int | None = None,
        restored_from: int | None = None,
        removed: bool = False,
    ) -> LabelVersion:
        with self._writing(case, tag) as folder:
            last = self.latest(case, tag)
            if based_on is not None and based_on != last and not (based_on == 0 and self._ended(case, tag)):
                raise LabelConflict(self._conflict(case, tag, based_on, last))
            with self._made(folder / f"{last + 1:06d}") as temporary:
                name = None
                if mask is not None:
                    name = MASK + _suffix(mask.name)
                    _copy(mask, temporary / name)
                write_json(
                    temporary / LABEL,
                    {
                        "schema": SCHEMA,
                        "saved": _now(),
                        "mask": name,
                        "mask_sha256": None if name is None else file_sha256(temporary / name),
                        "record": None if record is None else record.to_json(),
                        "info": dict(info),
                        "image": image,
                        "based_on": based_on,
                        "restored_from": restored_from,
                        "removed": removed,
                    },
                )
        return self._read(case, tag, last + 1)

    def _conflict(self, case: str, tag: str, based_on: int, last: int) -> str:
        if self._ended(case, tag):
            return (
                f"{case}, {tag}: the save is based on version {based_on}, but there is no such label any more; "
                "save it as new (based on 0)"
            )
        try:
            now = self._read(case, tag, last)
        except LabelDamaged as problem:
            return f"{case}, {tag}: the save is based on version {based_on}, but the last is {last} ({problem})"
        who = now.info.get("user") or now.info.get("rater")
        return (
            f"{case}, {tag}: the save is based on version {based_on}, but version {last} was saved meanwhile "
            f"({now.saved}{f' by {who}' if who else ''}); load it, bring your changes into it, and save again"
        )

    @contextlib.contextmanager
    def _writing(self, case: str, tag: str) -> Iterator[Path]:
        """The folder of a tag, locked; unfinished folders of killed processes are removed."""
        folder = self._below(case, tag)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with FileLock(folder / LOCK, timeout=LOCK_SECONDS):
                for left in folder.glob(".[0-9]*"):
                    shutil.rmtree(left, ignore_errors=True)
                yield folder
        except OSError as problem:
            raise LabelStorageError(
                f"{case}, {tag}: not saved, and nothing changed: {why_not_written(problem)}"
            ) from None

    @contextlib.contextmanager
    def _made(self, target: Path) -> Iterator[Path]:
        """A temporary folder that is renamed to ``target``; the error says when the disk fails after that."""
        try:
            with atomic_directory(target) as temporary:
                yield temporary
        except OSError as problem:
            if not target.is_dir():
                raise
            raise LabelStorageError(
                f"{target.parent.parent.name}, {target.parent.name}: saved as version {int(target.name)}, but the "
                f"disk did not confirm it ({problem.strerror or problem}); check the disk"
            ) from None

    def _ended(self, case: str, tag: str) -> bool:
        """Whether there is no current label: none saved, or removed. A damaged one counts as a label."""
        last = self.latest(case, tag)
        try:
            return last == 0 or self._read(case, tag, last).removed
        except LabelDamaged:
            return False

    def _below(self, case: str, *tags: str) -> Path:
        """A folder of the store; refuses names that lead outside."""
        if (problem := name_problem(case)) is not None:
            raise LabelError(f"{case[:80]!r} cannot name a case or tag: it {problem}; rename its file")
        if wrong := [tag for tag in tags if not usable_name(tag)]:
            raise LabelError(f"{wrong[0][:80]!r} cannot name a case or tag; letters, digits, '.', '_' and '-' can")
        return self.folder.joinpath(case, *tags)

    def _versions(self, case: str, tag: str) -> list[int]:
        folder = self._below(case, tag)
        if not folder.is_dir():
            return []
        return sorted(int(child.name) for child in folder.iterdir() if VERSION.fullmatch(child.name))

    def _read(self, case: str, tag: str, version: int) -> LabelVersion:
        folder = self._below(case, tag) / f"{version:06d}"
        where = f"{case}, {tag}, version {version}"
        try:
            fields = json.loads((folder / LABEL).read_text(encoding="utf-8"))
            mask = None if fields["mask"] is None else folder / Path(fields["mask"]).name
            record = None if fields["record"] is None else parse_record(fields["record"], where)
            label = LabelVersion(
                case,
                tag,
                version,
                str(fields["saved"]),
                mask,
                fields["mask_sha256"],
                record,
                dict(fields["info"]),
                fields["image"],
                fields["based_on"],
                fields["restored_from"],
                bool(fields["removed"]),
                self._reviews_of(case, tag, version),
            )
        except (OSError, ValueError, KeyError, TypeError, LabelError) as problem:
            raise LabelDamaged(f"{where}: damaged ({problem}); restore an earlier version") from None
        if mask is not None and not mask.is_file():
            raise LabelDamaged(f"{where}: its mask {mask.name} is missing; restore an earlier version")
        return label

    def _reviews_of(self, case: str, tag: str, version: int) -> tuple[Review, ...]:
        file = self._below(case, tag) / REVIEWS / f"{version:06d}.json"
        entries = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else []
        return tuple(Review(**one) for one in entries)


def usable_name(name: str) -> bool:
    """Whether a tag may have this name, which becomes a folder name. Names of cases: ``fetaliqa.case_names``."""
    return NAME.fullmatch(name) is not None and ".." not in name


def _names(folder: Path, usable: Callable[[str], bool]) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(child.name for child in folder.iterdir() if child.is_dir() and usable(child.name))


def _suffix(name: str) -> str:
    lower = name.lower()
    return ".nii.gz" if lower.endswith(".nii.gz") else Path(lower).suffix


def _copy(source: Path, target: Path) -> None:
    shutil.copyfile(source, target)
    with open(target, "rb") as written:
        os.fsync(written.fileno())


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
