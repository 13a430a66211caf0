"""Work in progress on the disk: what was decided survives a crash of Slicer, of the server, or of the machine.

One file for each case, label and session, replaced as a whole: it is the old one or the new one, never half of it.
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

from FetalIQALib import locks
from FetalIQALib.case_names import checked_case, file_stem
from FetalIQALib.decisions import INTERPOLATION, Frame, Proposal, frames_of, record_of
from FetalIQALib.failures import BadReply, FileFailure
from FetalIQALib.heads import SUFFIX, head, other_spellings, session_of
from FetalIQALib.http import same_server
from FetalIQALib.masks import Mask
from FetalIQALib.replies import checked_identifier
from FetalIQALib.texts import _

SCHEMA = 1
MAX_BYTES = 256 << 20  # of one journal; 840 masks make about 2 MB
LOCKS = "sessions"  # folder beside those of the servers


@dataclass(frozen=True)
class Kept:
    """Work in a journal.

    Attributes:
        case, tag, rater: whose work on what.
        saved: when it was kept, ISO 8601.
        fingerprint: of the frames it belongs to.
        based_on: version on the server that it goes on from.
        position: frame that was looked at.
        frames: the decisions.
        sent: tokens of what was sent to the server before.
    """

    case: str
    tag: str
    rater: str
    fingerprint: str
    based_on: int
    position: int
    frames: Mapping[int, Frame]
    sent: tuple[str, ...] = ()
    saved: str = ""


@dataclass(frozen=True)
class Found:
    """A journal of another session.

    Attributes:
        path: the file.
        rater: whose work it is; None when that cannot be read.
        in_use: whether another Slicer that is running right now has it.
    """

    path: Path
    rater: str | None
    in_use: bool


def write_atomically(target: Path, data: bytes) -> None:
    """Replace a file by one with this content, as a whole, also when the machine stops meanwhile.

    Raises:
        OSError: when the disk does not take it; the old file stands.
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
    """The journals of one computer's user.

    A session's journals are its own while it lives: it holds a lock, which ends with its process.

    Args:
        folder: where they are kept; made when it is needed.
        server: address of the server that the cases are of, in any spelling.
    """

    def __init__(self, folder: Path, server: str) -> None:
        self.server = same_server(server)
        self.folder = folder / hashlib.sha256(self.server.encode()).hexdigest()[:16]
        self.session = uuid.uuid4().hex[:8]  # two Slicers never write the same file
        self._sessions = locks.SessionLocks(folder / LOCKS, self.session)
        self._earlier = other_spellings(folder, self.server, self.folder)
        self._raters: dict[Path, tuple[tuple[int, ...], str | None]] = {}
        self._texts: dict[Mask, str] = {}

    def path(self, case: str, tag: str) -> Path:
        """This session's file for a case and label."""
        checked_case(case)
        checked_identifier(_("Label"), tag)
        return self.folder / f"{file_stem(case)}~{tag}~{self.session}{SUFFIX}"

    def write(self, kept: Kept) -> Path:
        """Keep the decisions on a case.

        Raises:
            FileFailure: when the disk does not take it; the journal of before stands.
        """
        frames = kept.frames
        between = {number: frame.between.mask for number, frame in frames.items() if frame.between is not None}
        content = {
            "schema": SCHEMA,
            "server": self.server,
            "case": kept.case,
            "tag": kept.tag,
            "rater": kept.rater,
            "saved": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "fingerprint": kept.fingerprint,
            "based_on": kept.based_on,
            "position": kept.position,
            "sent": list(kept.sent),
            "frame_record": record_of(frames),
            "masks": {str(number): self._text(frame.mask) for number, frame in frames.items() if frame.mask},
            "between": {str(number): self._text(mask) for number, mask in between.items()},
        }
        path = self.path(kept.case, kept.tag)
        self._sessions.hold()
        try:
            write_atomically(path, json.dumps(content, allow_nan=False).encode("utf-8"))
        except OSError as problem:
            raise FileFailure(
                _("Your work cannot be kept in {folder} ({reason}); submit it now, or free the disk.").format(
                    folder=self.folder, reason=problem.strerror
                )
            ) from problem
        return path

    def set_free(self, case: str, tag: str) -> Path | None:
        """Give this session's journal of a case the name of another session; its new path, None without one.

        Work of this very session on a case that is opened again: nothing may be written over it before it is gone
        on with.
        """
        path = self.path(case, tag)
        free = self.folder / f"{file_stem(case)}~{tag}~{uuid.uuid4().hex[:8]}{SUFFIX}"
        try:
            os.replace(path, free)
        except FileNotFoundError:
            return None
        except OSError as problem:
            raise FileFailure(
                _("Your kept work in {path} cannot be moved ({reason}); free the disk first.").format(
                    path=path, reason=problem.strerror
                )
            ) from problem
        return free

    def find(self, case: str, tag: str) -> list[Found]:
        """Journals of other sessions on a case and label, the newest first."""
        found = []
        # earlier versions of the module called all files after their case
        patterns = dict.fromkeys(f"{name}~{tag}~*{SUFFIX}" for name in (file_stem(case), glob.escape(case)))
        for path in (path for pattern in patterns for path in self._files(pattern)):
            if path != self.path(case, tag) and head(path, "case") in (None, case):
                with suppress(OSError):
                    found.append((path.stat().st_mtime, path))
        return [Found(path, self.rater_of(path), self.in_use(path)) for _when, path in sorted(found, reverse=True)]

    def cases(self, tag: str, rater: str) -> list[str]:
        """Cases with a rater's work in progress on a label."""
        found = self._files(f"*~{tag}~*{SUFFIX}")
        cases = (head(path, "case") for path in found if self.rater_of(path) == rater)
        return sorted({case for case in cases if case is not None})

    def rater_of(self, path: Path) -> str | None:
        """Whose work is in a journal; None when that cannot be read."""
        try:
            state = path.stat()
        except OSError:
            return None
        stamp = (state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino)
        if path not in self._raters or self._raters[path][0] != stamp:
            self._raters[path] = (stamp, head(path, "rater"))
        return self._raters[path][1]

    # -- who has it ---------------------------------------------------------------------------------

    def in_use(self, path: Path) -> bool:
        """Whether another Slicer that is running right now has a journal."""
        return self._sessions.in_use(session_of(path))

    def claim(self, path: Path) -> None:
        """Make sure that no other Slicer goes on with a journal while this one does.

        Raises:
            FileFailure: when another one does already.
        """
        try:
            self._sessions.claim(session_of(path))
        except locks.InUse:
            raise FileFailure(
                _("The work in {path} is open in another Slicer right now; it stays there.").format(path=path)
            ) from None

    def let_go(self, path: Path) -> None:
        """A journal that was claimed is not gone on with: others may."""
        self._sessions.release(session_of(path))

    def close(self) -> None:
        """This session ends: what it kept may be offered to others."""
        self._sessions.close()

    # -- files --------------------------------------------------------------------------------------

    def put_aside(self, path: Path) -> None:
        """Take a journal out of what is offered; the file is kept beside the others."""
        with suppress(OSError):
            aside = path.parent / "aside"
            aside.mkdir(exist_ok=True)
            os.replace(path, aside / f"{datetime.now().strftime('%Y%m%d-%H%M%S-%f')}-{path.name}")
        self.let_go(path)

    def remove(self, case: str, tag: str) -> None:
        """The server has the work: this session's journal is no longer needed."""
        with suppress(OSError):
            self.path(case, tag).unlink()

    def _files(self, pattern: str) -> list[Path]:
        found: list[Path] = []
        for folder in (self.folder, *self._earlier):
            with suppress(OSError):
                found += folder.glob(pattern)
        return found

    def _text(self, mask: Mask) -> str:
        if mask not in self._texts:
            if len(self._texts) > 2000:
                self._texts.clear()
            self._texts[mask] = mask.to_text()
        return self._texts[mask]


def read_journal(path: Path, count: int) -> Kept:
    """The work in a journal.

    Args:
        path: the file.
        count: frames of the case.

    Raises:
        FileFailure: when it cannot be read; the file is left as it is.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise FileFailure("it is too large")
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema"] != SCHEMA:
            raise FileFailure("it is of another version of the module")
        masks = {int(key): Mask.from_text(text) for key, text in content["masks"].items()}
        frames = dict(frames_of(content["frame_record"], masks, count))
        for key, text in content["between"].items():
            frame = frames.get(int(key), Frame())
            frames[int(key)] = replace(frame, between=Proposal(Mask.from_text(text), INTERPOLATION))
        return Kept(
            case=str(content["case"]),
            tag=str(content["tag"]),
            rater=str(content["rater"]),
            fingerprint=str(content["fingerprint"]),
            based_on=int(content["based_on"]),
            position=min(max(int(content["position"]), 0), count - 1),
            frames=frames,
            sent=tuple(str(token) for token in content["sent"]),
            saved=str(content["saved"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise _damaged(path, type(problem).__name__) from None
    except (FileFailure, BadReply) as problem:
        raise _damaged(path, str(problem)) from None


def _damaged(path: Path, reason: str) -> FileFailure:
    return FileFailure(
        _("The kept work in {path} cannot be read ({reason}); the file is left there.").format(
            path=path, reason=reason
        )
    )
