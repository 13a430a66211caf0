"""Journals: unsubmitted work on the disk, which survives a crash of Slicer, the server or the machine.

One file for each case, label and Slicer instance, replaced atomically.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import tempfile
import uuid
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

from FetalIQALib import file_locks
from FetalIQALib.case_names import checked_case, file_stem
from FetalIQALib.client_errors import FileError, InvalidResponse
from FetalIQALib.frame_annotations import (
    INTERPOLATION,
    FrameAnnotation,
    Origin,
    Proposal,
    frame_record,
    parse_frames,
)
from FetalIQALib.frame_masks import Mask
from FetalIQALib.http_client import canonical_address
from FetalIQALib.journal_index import SUFFIX, instance_of, legacy_folders, read_header_field
from FetalIQALib.server_responses import checked_identifier
from FetalIQALib.translation import _

SCHEMA = 1
MAX_BYTES = 256 << 20  # of one journal; 840 masks take about 2 MB
LOCKS = "sessions"  # folder of the lock files, next to the servers' folders


@dataclass(frozen=True)
class SavedWork:
    """Work in a journal.

    Attributes:
        case, tag, rater: case, label and rater of the work.
        saved: time of writing, ISO 8601.
        fingerprint: of the case's frames.
        based_on: version on the server that the work is based on.
        position: current frame.
        frames: the labels.
        sent: tokens of earlier submissions.
        comment: on the case.
        seconds: of work on the case.
    """

    case: str
    tag: str
    rater: str
    fingerprint: str
    based_on: int
    position: int
    frames: Mapping[int, FrameAnnotation]
    sent: tuple[str, ...] = ()
    saved: str = ""
    comment: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class JournalFile:
    """A journal of another Slicer instance.

    Attributes:
        path: the file.
        rater: of the work; None if that cannot be read.
        in_use: whether a running Slicer uses it.
    """

    path: Path
    rater: str | None
    in_use: bool


def write_atomically(target: Path, data: bytes) -> None:
    """Replace the content of a file atomically, also if the machine stops during the write.

    Raises:
        OSError: if the disk refuses; the old file stays.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=str(target.parent))
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, target)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(name)


class Journals:
    """The journals of a user on this computer.

    A running Slicer instance owns its journals by a lock that ends with its process.

    Args:
        folder: of the journals; made when needed.
        server: address of the server, in any spelling.
    """

    def __init__(self, folder: Path, server: str) -> None:
        self.server = canonical_address(server)
        self.folder = folder / hashlib.sha256(self.server.encode()).hexdigest()[:16]
        self.instance = uuid.uuid4().hex[:8]  # two Slicer instances never write the same file
        self._instances = file_locks.InstanceLocks(folder / LOCKS, self.instance)
        self._earlier = legacy_folders(folder, self.server, self.folder)
        self._raters: dict[Path, tuple[tuple[int, ...], str | None]] = {}
        self._texts: dict[Mask, str] = {}

    def path(self, case: str, tag: str) -> Path:
        """This instance's file for a case and label."""
        checked_case(case)
        checked_identifier(_("Label"), tag)
        return self.folder / f"{file_stem(case)}~{tag}~{self.instance}{SUFFIX}"

    def write(self, work: SavedWork) -> Path:
        """Write the work on a case.

        Raises:
            FileError: if the disk refuses; the previous journal stays.
        """
        frames = work.frames
        pending = {number: frame.pending for number, frame in frames.items() if frame.pending is not None}
        content = {
            "schema": SCHEMA,
            "server": self.server,
            "case": work.case,
            "tag": work.tag,
            "rater": work.rater,
            "saved": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "fingerprint": work.fingerprint,
            "based_on": work.based_on,
            "position": work.position,
            "sent": list(work.sent),
            "comment": work.comment,
            "seconds": round(work.seconds, 1),
            "frame_record": frame_record(frames),
            "masks": {str(number): self._text(frame.mask) for number, frame in frames.items() if frame.mask},
            "between": {str(number): self._text(proposal.mask) for number, proposal in pending.items()},
            "between_sources": {
                str(number): {
                    "model": proposal.model,
                    "model_version": proposal.version,
                    **proposal.origin.fields(),
                }
                for number, proposal in pending.items()
            },
        }
        path = self.path(work.case, work.tag)
        self._instances.hold()
        try:
            write_atomically(path, json.dumps(content, allow_nan=False).encode("utf-8"))
        except OSError as problem:
            raise FileError(
                _("Your work cannot be saved in {folder} ({reason}); submit it now, or free disk space.").format(
                    folder=self.folder, reason=problem.strerror
                )
            ) from problem
        return path

    def detach(self, case: str, tag: str) -> Path | None:
        """Rename this instance's journal of a case to that of another instance; returns its path.

        For a case that is opened again: its work must not be overwritten before it is resumed.
        """
        path = self.path(case, tag)
        detached = self.folder / f"{file_stem(case)}~{tag}~{uuid.uuid4().hex[:8]}{SUFFIX}"
        try:
            os.replace(path, detached)
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise FileError(
                _("Your saved work in {path} cannot be moved ({reason}); check the disk.").format(
                    path=path, reason=problem.strerror
                )
            ) from problem
        return detached

    def find(self, case: str, tag: str) -> list[JournalFile]:
        """Journals of other instances on a case and label, newest first."""
        candidates = []
        # earlier versions of the module named all files after their case
        patterns = dict.fromkeys(f"{name}~{tag}~*{SUFFIX}" for name in (file_stem(case), glob.escape(case)))
        for path in (path for pattern in patterns for path in self._files(pattern)):
            if path != self.path(case, tag) and read_header_field(path, "case") in (None, case):
                with suppress(OSError):
                    candidates.append((path.stat().st_mtime, path))
        return [
            JournalFile(path, self.rater_of(path), self.in_use(path))
            for _when, path in sorted(candidates, reverse=True)
        ]

    def cases(self, tag: str, rater: str) -> list[str]:
        """Cases with unsubmitted work of a rater on a label."""
        files = self._files(f"*~{tag}~*{SUFFIX}")
        cases = (read_header_field(path, "case") for path in files if self.rater_of(path) == rater)
        return sorted({case for case in cases if case is not None})

    def rater_of(self, path: Path) -> str | None:
        """Rater of a journal; None if that cannot be read."""
        try:
            state = path.stat()
        except OSError:
            return None
        file_state = (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
        if path not in self._raters or self._raters[path][0] != file_state:
            self._raters[path] = (file_state, read_header_field(path, "rater"))
        return self._raters[path][1]

    # -- ownership ----------------------------------------------------------------------------------

    def in_use(self, path: Path) -> bool:
        """Whether another running Slicer uses a journal."""
        return self._instances.in_use(instance_of(path))

    def claim(self, path: Path) -> None:
        """Claim a journal, so that no other Slicer resumes it.

        Raises:
            FileError: if another Slicer uses it.
        """
        try:
            self._instances.claim(instance_of(path))
        except file_locks.InUse:
            raise FileError(
                _("The work in {path} is open in another Slicer; it is left unchanged.").format(path=path)
            ) from None

    def release_claim(self, path: Path) -> None:
        """Release a claimed journal."""
        self._instances.release(instance_of(path))

    def close(self) -> None:
        """Release all locks at the end of this instance."""
        self._instances.close()

    # -- files --------------------------------------------------------------------------------------

    def archive(self, path: Path) -> None:
        """Move a journal to the archive folder; it is not offered any more."""
        with suppress(OSError):
            archive = path.parent / "archived"
            archive.mkdir(exist_ok=True)
            os.replace(path, archive / f"{datetime.now().strftime('%Y%m%d-%H%M%S-%f')}-{path.name}")
        self.release_claim(path)

    def remove(self, case: str, tag: str) -> None:
        """Remove this instance's journal of a case."""
        with suppress(OSError):
            self.path(case, tag).unlink()

    def _files(self, pattern: str) -> list[Path]:
        files: list[Path] = []
        for folder in (self.folder, *self._earlier):
            with suppress(OSError):
                files += folder.glob(pattern)
        return files

    def _text(self, mask: Mask) -> str:
        if mask not in self._texts:
            if len(self._texts) > 2000:
                self._texts.clear()
            self._texts[mask] = mask.to_text()
        return self._texts[mask]


def read_journal(path: Path, count: int) -> SavedWork:
    """Read the work in a journal.

    Args:
        path: the file.
        count: frames of the case.

    Raises:
        FileError: if it cannot be read; the file is left unchanged.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise FileError("it is too large")
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise FileError("it is of another version of the module")
        masks = {int(key): Mask.from_text(text) for key, text in content["masks"].items()}
        frames = dict(parse_frames(content["frame_record"], masks, count))
        sources = content.get("between_sources", {})  # journals of earlier versions have none
        for key, text in content["between"].items():
            frame, source = frames.get(int(key), FrameAnnotation()), sources.get(key, {})
            model, version = str(source.get("model", INTERPOLATION)), str(source.get("model_version", ""))
            proposal = Proposal(Mask.from_text(text), model, version, Origin.of(source, count))
            frames[int(key)] = replace(frame, pending=proposal)
        return SavedWork(
            case=str(content["case"]),
            tag=str(content["tag"]),
            rater=str(content["rater"]),
            fingerprint=str(content["fingerprint"]),
            based_on=int(content["based_on"]),
            position=min(max(int(content["position"]), 0), count - 1),
            frames=frames,
            sent=tuple(str(token) for token in content["sent"]),
            saved=str(content["saved"]),
            comment=str(content.get("comment") or ""),
            seconds=float(content.get("seconds") or 0.0),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise _damaged(path, type(problem).__name__) from None
    except (FileError, InvalidResponse) as problem:
        raise _damaged(path, str(problem)) from None


def _damaged(path: Path, reason: str) -> FileError:
    return FileError(
        _("The saved work in {path} cannot be read ({reason}); the file is left unchanged.").format(
            path=path, reason=reason
        )
    )
