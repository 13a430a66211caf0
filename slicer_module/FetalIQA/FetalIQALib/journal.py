"""Work in progress on the disk: what was decided survives a crash of Slicer, of the server, or of the machine.

One file for each case, label and session, replaced as a whole: it is the old one or the new one, never half of it.
"""

from __future__ import annotations

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

from FetalIQALib.decisions import INTERPOLATION, Frame, Proposal, frames_of, record_of
from FetalIQALib.failures import BadReply, FileFailure
from FetalIQALib.masks import Mask
from FetalIQALib.replies import checked_identifier
from FetalIQALib.texts import _

SCHEMA = 1
SUFFIX = ".journal.json"
MAX_BYTES = 256 << 20  # of one journal; 840 masks make about 2 MB


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

    Args:
        folder: where they are kept; made when it is needed.
        server: address of the server that the cases are of.
    """

    def __init__(self, folder: Path, server: str) -> None:
        self.folder = folder / hashlib.sha256(server.encode()).hexdigest()[:16]
        self.server = server
        self.session = uuid.uuid4().hex[:8]  # two Slicers never write the same file
        self._texts: dict[Mask, str] = {}

    def path(self, case: str, tag: str) -> Path:
        """This session's file for a case and label."""
        checked_identifier(_("Case"), case)
        checked_identifier(_("Label"), tag)
        return self.folder / f"{case}~{tag}~{self.session}{SUFFIX}"

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
        free = self.folder / f"{case}~{tag}~{uuid.uuid4().hex[:8]}{SUFFIX}"
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

    def find(self, case: str, tag: str) -> list[Path]:
        """Journals of other sessions on a case and label, the newest first."""
        found = []
        with suppress(OSError):
            for path in self.folder.glob(f"{case}~{tag}~*{SUFFIX}"):
                if path != self.path(case, tag):
                    found.append((path.stat().st_mtime, path))
        return [path for _when, path in sorted(found, reverse=True)]

    def cases(self, tag: str) -> list[str]:
        """Cases with work in progress on a label."""
        try:
            names = [path.name.split("~") for path in self.folder.glob(f"*~{tag}~*{SUFFIX}")]
        except OSError:
            return []
        return sorted({name[0] for name in names})

    def put_aside(self, path: Path) -> None:
        """Take a journal out of what is offered; the file is kept beside the others."""
        with suppress(OSError):
            aside = path.parent / "aside"
            aside.mkdir(exist_ok=True)
            os.replace(path, aside / f"{datetime.now().strftime('%Y%m%d-%H%M%S-%f')}-{path.name}")

    def remove(self, case: str, tag: str) -> None:
        """The server has the work: this session's journal is no longer needed."""
        with suppress(OSError):
            self.path(case, tag).unlink()

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
