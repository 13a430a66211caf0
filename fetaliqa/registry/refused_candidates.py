"""Candidates that the gate refused: publishing one takes an override, which the history records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fetaliqa.case_names import printable
from fetaliqa.errors import GateRefused, OptionError

MAX_REASON = 500  # characters; the history is read by people


@dataclass(frozen=True)
class Override:
    """The decision to publish a candidate that the gate refused.

    Attributes:
        by: the person who decided.
        reason: for the history.

    Raises:
        OptionError: without a reason, or with one that :func:`checked_reason` refuses.
    """

    by: str
    reason: str

    def __post_init__(self) -> None:
        if not checked_reason(self.reason):
            raise OptionError("publishing what the gate refused needs a reason for the history; give one")


def checked_reason(text: str) -> str:
    """A reason as the history stores it: one line.

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
    """The verdict against publishing a bundle, or None.

    Args:
        judged: versions of the same model.
        files: SHA-256 of the bundle's files, by name.
        version: of the bundle; its own verdict counts. Without one, verdicts on the same weights count.
    """
    verdicts = list(judged)
    own = [one for one in verdicts if one.version == version]
    same = own or [one for one in verdicts if dict(one.files) == dict(files)]
    if any(one.gate.get("passed") for one in same):
        return None
    return next((one for one in same if one.gate.get("passed") is False), None)


def forced_line(name: str, refused: Judged, override: Override | None) -> dict[str, Any]:
    """Entries of the history for a publication against the gate's verdict.

    Raises:
        GateRefused: without an override; it states the gate's reason, and how to publish nevertheless.
    """
    gate_reason = refused.gate.get("reason")
    if override is None:
        raise GateRefused(
            f"{name}@{refused.version}: the gate refused this candidate: {gate_reason}; "
            "to publish it nevertheless, give a reason for the history: "
            f"`fetaliqa models publish {name}@{refused.version} --force --reason WHY`, "
            'or "force": true and "reason" in the request'
        )
    reason = checked_reason(override.reason)
    return {
        "forced": True,
        "by": override.by,
        "reason": f"published by {override.by} though the gate refused it: {reason} (the gate: {gate_reason})",
        "figures": short_figures(refused.gate),
    }


def short_figures(gate: Mapping[str, Any]) -> dict[str, Any]:
    """The gate's figures as the history stores them: by group and name, published and candidate."""
    return {
        group: {
            name: [figure["published"], figure["candidate"]]
            for name, figure in values["figures"].items()
            if figure is not None
        }
        for group, values in gate.get("groups", {}).items()
    }
