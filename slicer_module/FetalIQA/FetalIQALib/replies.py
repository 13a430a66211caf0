"""What the server answers, checked: nothing that has another form than promised goes any further."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from FetalIQALib.failures import BadReply, Failure
from FetalIQALib.texts import _

IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")  # of tags, as the server has them


def checked_identifier(kind: str, text: str) -> str:
    """A tag or the like that may become part of a file's name; of cases see ``case_names``.

    Raises:
        Failure: when it has other characters than letters, digits, dot, underscore and hyphen.
    """
    if not IDENTIFIER.fullmatch(text) or ".." in text:
        raise Failure(
            _("{kind} {text!r}: use letters, digits, dot, underscore and hyphen only.").format(
                kind=kind, text=text[:60]
            )
        )
    return text


@dataclass(frozen=True)
class ServerInfo:
    """What a server says of itself: its models as ``name: "bundle version"``, and what it can do."""

    name: str
    version: str
    models: Mapping[str, str]
    strategies: tuple[str, ...]
    trainers: Mapping[str, Any]
    train_stats: Mapping[str, Any]
    not_offered: tuple[tuple[str, str], ...] = ()  # files of its studies that are no cases, and why


@dataclass(frozen=True)
class CaseEntry:
    """A case of the studies folder, and the version of each of its labels by tag."""

    case: str
    suffix: str
    versions: Mapping[str, int]


@dataclass(frozen=True)
class SuggestedFrame:
    """A frame that the strategy wants to be looked at, and why."""

    frame: int
    reason: str = ""
    score: float | None = None


@dataclass(frozen=True)
class NextCase:
    """The case that the strategy wants to be labelled next."""

    case: str
    frames: tuple[SuggestedFrame, ...] = ()


@dataclass(frozen=True)
class ExportJob:
    """An export of the server: its id, where it stands, and what was wrong."""

    id: str
    status: str
    cases: int = 0
    total: int = 0
    frames: int = 0
    message: str = ""


@dataclass(frozen=True)
class Saved:
    """A version of a label: its number, and what its record says of the frames."""

    version: int
    record: Mapping[str, Any] = field(default_factory=dict)
    info: Mapping[str, Any] = field(default_factory=dict)


def export_job(told: Any) -> ExportJob:
    """What the server says of an export.

    Raises:
        BadReply: when it says something else.
    """
    found = expect(told, dict, "the export")
    cases, total, frames = (expect(found.get(key, 0), int, "the export") for key in ("cases", "total", "frames"))
    return ExportJob(
        checked_identifier(_("Export"), expect(found.get("id"), str, "the export")),
        expect(found.get("status"), str, "the export"),
        cases,
        total,
        frames,
        str(found.get("message") or ""),
    )


def expect(found: Any, kind: type, what: str) -> Any:
    """``found`` when it is a ``kind``.

    Raises:
        BadReply: otherwise.
    """
    if not isinstance(found, kind) or (kind is int and isinstance(found, bool)):
        raise BadReply(_("The server's answer about {what} has another form than expected.").format(what=what))
    return found


def suggested_frames(told: Any) -> tuple[SuggestedFrame, ...]:
    """The frames of a strategy's answer; those that are no frames are left out."""
    found = []
    for entry in told if isinstance(told, list) else ():
        frame = entry.get("frame") if isinstance(entry, dict) else None
        if not isinstance(frame, int) or isinstance(frame, bool) or frame < 0:
            continue
        score = entry.get("score")
        found.append(
            SuggestedFrame(
                frame, str(entry.get("reason") or ""), score if isinstance(score, (int, float)) else None
            )
        )
    return tuple(found)


def left_out(told: Any) -> tuple[tuple[str, str], ...]:
    """The files that a server does not offer, each with the reason; entries of another form are passed over."""
    entries = [entry for entry in (told if isinstance(told, list) else ()) if isinstance(entry, dict)]
    return tuple((str(entry.get("file", "?"))[:200], str(entry.get("reason", ""))[:200]) for entry in entries)
