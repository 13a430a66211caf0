"""Server responses: data classes, and checks of their format."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from FetalIQALib.client_errors import FetalIQAError, InvalidResponse
from FetalIQALib.translation import _

IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")  # of tags, as on the server


def checked_identifier(kind: str, text: str) -> str:
    """Validate a tag or similar identifier that may be part of a file name; for cases see ``case_names``.

    Raises:
        FetalIQAError: if it has characters other than letters, digits, dot, underscore and hyphen.
    """
    if not IDENTIFIER.fullmatch(text) or ".." in text:
        raise FetalIQAError(
            _("{kind} {text!r}: use letters, digits, dot, underscore and hyphen only.").format(
                kind=kind, text=text[:60]
            )
        )
    return text


@dataclass(frozen=True)
class ServerInfo:
    """Description of a server: its models as ``name: "bundle version"``, strategies and trainers."""

    name: str
    version: str
    models: Mapping[str, str]
    strategies: tuple[str, ...]
    trainers: Mapping[str, Any]
    train_stats: Mapping[str, Any]
    not_offered: tuple[tuple[str, str], ...] = ()  # files of its studies that are not cases, with the reason
    interactive: str = ""  # name of the interactive model; empty if none is installed


@dataclass(frozen=True)
class CaseEntry:
    """A case of the studies folder.

    Attributes:
        case, suffix: id, and suffix of its image file.
        versions: version of each of its labels by tag.
        last: summary of the last version of the label that was asked for; empty for none.
    """

    case: str
    suffix: str
    versions: Mapping[str, int]
    last: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SuggestedFrame:
    """A frame suggested by the strategy, with the reason."""

    frame: int
    reason: str = ""
    score: float | None = None


@dataclass(frozen=True)
class NextCase:
    """The case suggested by the strategy."""

    case: str
    frames: tuple[SuggestedFrame, ...] = ()


@dataclass(frozen=True)
class ExportJob:
    """An export on the server: id, status, progress and error message."""

    id: str
    status: str
    cases: int = 0
    total: int = 0
    frames: int = 0
    message: str = ""


@dataclass(frozen=True)
class LabelVersion:
    """A version of a label: number, frame record and other information."""

    version: int
    record: Mapping[str, Any] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)


def parse_export_job(reply: Any) -> ExportJob:
    """Parse the status of an export.

    Raises:
        InvalidResponse: if it is malformed.
    """
    job = expect(reply, dict, "the export")
    cases, total, frames = (expect(job.get(key, 0), int, "the export") for key in ("cases", "total", "frames"))
    return ExportJob(
        checked_identifier(_("Export"), expect(job.get("id"), str, "the export")),
        expect(job.get("status"), str, "the export"),
        cases,
        total,
        frames,
        str(job.get("message") or ""),
    )


def expect(value: Any, kind: type, what: str) -> Any:
    """Return ``value`` if it is a ``kind``.

    Raises:
        InvalidResponse: otherwise; ``what`` names it in the message.
    """
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise InvalidResponse(_("The server's response about {what} has an unexpected format.").format(what=what))
    return value


def parse_suggested_frames(reply: Any) -> tuple[SuggestedFrame, ...]:
    """Parse the suggested frames of a strategy; invalid entries are left out."""
    frames = []
    for entry in reply if isinstance(reply, list) else ():
        frame = entry.get("frame") if isinstance(entry, dict) else None
        if not isinstance(frame, int) or isinstance(frame, bool) or frame < 0:
            continue
        score = entry.get("score")
        frames.append(
            SuggestedFrame(
                frame, str(entry.get("reason") or ""), score if isinstance(score, (int, float)) else None
            )
        )
    return tuple(frames)


def skipped_files(reply: Any) -> tuple[tuple[str, str], ...]:
    """Parse the list of skipped files with their reasons; invalid entries are left out."""
    entries = [entry for entry in (reply if isinstance(reply, list) else ()) if isinstance(entry, dict)]
    return tuple((str(entry.get("file", "?"))[:200], str(entry.get("reason", ""))[:200]) for entry in entries)
