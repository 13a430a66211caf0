"""Worklist: the cases of the server with their states."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from FetalIQALib.case_lease import CaseLease
from FetalIQALib.http_client import Cancel
from FetalIQALib.journal import Journals
from FetalIQALib.server_client import PROPOSALS, ServerClient
from FetalIQALib.server_responses import CaseEntry, NextCase
from FetalIQALib.server_session import ServerChange, ServerSession
from FetalIQALib.translation import _

UNTOUCHED, IN_PROGRESS, SUBMITTED, CHANGES_REQUESTED, ACCEPTED, SKIPPED = (
    "not started",
    "in progress",
    "submitted",
    "changes requested",
    "accepted",
    "skipped",
)
STATES = (UNTOUCHED, IN_PROGRESS, SUBMITTED, CHANGES_REQUESTED, ACCEPTED, SKIPPED)


@dataclass(frozen=True)
class WorklistRow:
    """One case of the worklist.

    Attributes:
        case, suffix: id, and suffix of its image file.
        state: one of ``STATES``.
        annotated, empty: number of frames with a mask, and empty ones, in the last version on the server.
        version: of the label on the server, 0 for none.
        comment: of the reviewer.
        note: of the rater: why the case is skipped, and the comment on it.
        tags: tags of the case's labels, including those of other raters.
    """

    case: str
    suffix: str
    state: str = UNTOUCHED
    annotated: int = 0
    empty: int = 0
    version: int = 0
    comment: str = ""
    tags: tuple[str, ...] = ()
    note: str = ""


class Worklist:
    """The worklist of one label (tag).

    Args:
        session: the server session.
        journals: returns this computer's journals; None before the first connection.

    Attributes:
        rows: of the worklist, as last read.
        suggested: the strategy's suggestions by case.
        lease: of the case that was suggested last.
    """

    def __init__(self, session: ServerSession, journals: Callable[[], Journals | None]) -> None:
        self.session = session
        self.rows: list[WorklistRow] = []
        self.suggested: dict[str, NextCase] = {}
        self.lease = CaseLease()
        self._journals = journals
        session.changes["next case"] = ServerChange("", self._release_unknown_lease)

    def refresh(self, then: Callable[[], None] | None = None, quiet: bool = False) -> bool:
        """Read all cases and the last versions of their labels; ``quiet``: without status messages."""
        tag = self.session.tag

        def function(client: ServerClient, cancel: Cancel) -> list[WorklistRow]:
            return [_row(entry, tag) for entry in client.worklist(tag, cancel)]

        def done(rows: list[WorklistRow]) -> None:
            self.rows = rows
            if not quiet:
                self.session.show_status(_("{count} cases.").format(count=len(rows)))
            self.session.notify("worklist")
            if then is not None:
                then()

        return self.session.request("worklist", function, done, "" if quiet else _("Reading the worklist …"))

    def shown(self, state: str = "", text: str = "") -> list[WorklistRow]:
        """The rows of a state (empty: all) whose case contains ``text``.

        Cases with unsubmitted work of this rater are in progress.
        """
        journals = self._journals()
        in_progress = set(journals.cases(self.session.tag, self.session.rater)) if journals is not None else set()
        rows = [
            WorklistRow(**{**vars(row), "state": IN_PROGRESS}) if row.case in in_progress else row
            for row in self.rows
        ]
        return [row for row in rows if state in ("", row.state) and text.lower() in row.case.lower()]

    def row(self, case: str) -> WorklistRow | None:
        """The row of a case."""
        return next((row for row in self.rows if row.case == case), None)

    def next_case(self, strategy: str, opened: Callable[[str], object], skip: Sequence[str] = ()) -> bool:
        """Request the next case of a strategy, without those in ``skip``; ``opened`` is called with its id."""
        rater, client = self.session.rater, self.session.client

        def function(client: ServerClient, cancel: Cancel) -> NextCase:
            self.lease.wait_released()
            return client.next_case(strategy, rater, cancel, skip)

        def done(suggestion: NextCase) -> None:
            self.suggested[suggestion.case] = suggestion
            if client is not None:
                self.lease.set(suggestion.case, client, rater)
            opened(suggestion.case)

        return self.session.request("next case", function, done, _("Requesting the next case …"))

    def _release_unknown_lease(self) -> None:
        """Release a case that the server may have leased in response to a canceled request."""
        if self.session.client is not None and not self.lease.case and not self.session.runner.busy("next case"):
            self.lease.set("?", self.session.client, self.session.rater)
            self.lease.release()


def _row(entry: CaseEntry, tag: str) -> WorklistRow:
    tags = tuple(sorted(name for name in entry.versions if name != PROPOSALS))
    if tag not in entry.versions:
        return WorklistRow(entry.case, entry.suffix, tags=tags)
    frames = entry.last.get("frames")
    counts: Mapping[str, Any] = frames if isinstance(frames, dict) else {}
    skipped = str(entry.last.get("skipped") or "")
    review = _last(entry.last.get("reviews"))
    states = {"accepted": ACCEPTED, "returned": CHANGES_REQUESTED}
    return WorklistRow(
        case=entry.case,
        suffix=entry.suffix,
        state=states.get(str(review.get("state")), SKIPPED if skipped else SUBMITTED),
        annotated=int(counts.get("annotated") or 0),
        empty=int(counts.get("empty") or 0),
        version=entry.versions[tag],
        comment=str(review.get("comment") or ""),
        tags=tags,
        note=": ".join(text for text in (skipped, str(entry.last.get("comment") or "")) if text),
    )


def _last(entries: Any) -> Mapping[str, Any]:
    return entries[-1] if isinstance(entries, list) and entries and isinstance(entries[-1], dict) else {}
