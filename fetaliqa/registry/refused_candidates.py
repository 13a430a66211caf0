"""Candidates that the gate refused: nobody publishes one unawares, and who does it all the same is on record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fetaliqa.case_names import printable
from fetaliqa.errors import GateRefused, OptionError

MAX_REASON = 500  # characters; the history is read by people


@dataclass(frozen=True)
class Override:
    """The decision to publish what the gate refused.

    Attributes:
        by: who decided.
        reason: why; kept in the history.

    Raises:
        OptionError: without a reason, or with one that :func:`checked_reason` refuses.
    """

    by: str
    reason: str

    def __post_init__(self) -> None:
        if not checked_reason(self.reason):
            raise OptionError("publishing what the gate refused needs a reason, which the history keeps; give one")


def checked_reason(text: str) -> str:
    """A reason as the history keeps it: one line.

    Raises:
        OptionError: when it has more than 500 characters.
    """
    if len(text) > MAX_REASON:
        raise OptionError(f"the reason has {len(text)} characters; at most {MAX_REASON} are kept")
    return printable(text.strip())


@dataclass(frozen=True)
class Judged:
    """A version that the gate has judged: its files' SHA-256 by name, and the gate's record."""

    version: str
    files: Mapping[str, str]
    gate: Mapping[str, Any]


def refusal(judged: Iterable[Judged], files: Mapping[str, str], version: str | None = None) -> Judged | None:
    """The verdict that stands against publishing something; None where none does.

    Args:
        judged: versions of the same model.
        files: SHA-256 of what is to be published, by file name.
        version: of it; its own verdict counts. Without one, those on the same weights do.
    """
    found = list(judged)
    own = [one for one in found if one.version == version]
    same = own or [one for one in found if dict(one.files) == dict(files)]
    if any(one.gate.get("passed") for one in same):
        return None
    return next((one for one in same if one.gate.get("passed") is False), None)


def forced_line(name: str, refused: Judged, override: Override | None) -> dict[str, Any]:
    """What the history says of a publication against the gate.

    Raises:
        GateRefused: without an override; it says what the gate found, and how to publish all the same.
    """
    found = refused.gate.get("reason")
    if override is None:
        raise GateRefused(
            f"{name}@{refused.version}: the gate refused this candidate: {found}; to publish it all the same, on "
            f"record, say why: `fetaliqa models publish {name}@{refused.version} --force --reason WHY`, or "
            '"force": true and "reason" in the request'
        )
    why = checked_reason(override.reason)
    return {
        "forced": True,
        "by": override.by,
        "reason": f"published by {override.by} though the gate refused it: {why} (the gate: {found})",
        "figures": short_figures(refused.gate),
    }


def short_figures(gate: Mapping[str, Any]) -> dict[str, Any]:
    """The gate's figures as the history keeps them: by group and name, before and after."""
    return {
        group: {
            name: [figure["published"], figure["candidate"]]
            for name, figure in values["figures"].items()
            if figure is not None
        }
        for group, values in gate.get("groups", {}).items()
    }
