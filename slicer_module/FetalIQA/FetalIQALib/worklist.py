"""The cases of the server and how far each is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable

from FetalIQALib.client import PROPOSALS, Client
from FetalIQALib.http import Cancel
from FetalIQALib.hub import Change, Hub
from FetalIQALib.journal import Journals
from FetalIQALib.leases import Lease
from FetalIQALib.replies import CaseEntry, NextCase
from FetalIQALib.texts import _

UNTOUCHED, IN_PROGRESS, SUBMITTED, RETURNED, ACCEPTED = (
    "untouched",
    "in progress",
    "submitted",
    "sent back",
    "accepted",
)
STATES = (UNTOUCHED, IN_PROGRESS, SUBMITTED, RETURNED, ACCEPTED)


@dataclass(frozen=True)
class Row:
    """One case of the worklist.

    Attributes:
        case, suffix: id, and suffix of its image file.
        state: one of ``STATES``.
        annotated, empty: frames decided in the last version on the server.
        version: of the label on the server, 0 for none.
        comment: of the reviewer who sent it back.
        tags: labels of this case with their versions, other raters' included.
    """

    case: str
    suffix: str
    state: str = UNTOUCHED
    annotated: int = 0
    empty: int = 0
    version: int = 0
    comment: str = ""
    tags: tuple[str, ...] = ()


class Worklist:
    """The worklist of one label (tag).

    Args:
        hub: the connection.
        journals: gives this computer's journals, or None before there is a connection.

    Attributes:
        rows: of the worklist, as last asked.
        suggested: what the strategy said of the cases it named.
        lease: on the case that it named last.
    """

    def __init__(self, hub: Hub, journals: Callable[[], Journals | None]) -> None:
        self.hub = hub
        self.rows: list[Row] = []
        self.suggested: dict[str, NextCase] = {}
        self.lease = Lease()
        self._journals = journals
        hub.changes["next case"] = Change("", self._nobody_waits_for_the_next_case)

    def refresh(self, then: Callable[[], None] | None = None, quiet: bool = False) -> bool:
        """Ask the server for all cases and their labels' last versions; ``quiet``: the status line stays."""
        tag = self.hub.tag

        def work(client: Client, cancel: Cancel) -> list[Row]:
            return [_row(client, entry, tag, cancel) for entry in client.cases(cancel)]

        def done(rows: list[Row]) -> None:
            self.rows = rows
            if not quiet:
                self.hub.say(_("{count} cases.").format(count=len(rows)))
            self.hub.tell("worklist")
            if then is not None:
                then()

        return self.hub.ask("worklist", work, done, "" if quiet else _("Reading the worklist …"))

    def shown(self, state: str = "", text: str = "") -> list[Row]:
        """The rows of a state (empty: all) whose case contains ``text``; work that this rater
        has kept here counts as in progress."""
        journals = self._journals()
        kept = set(journals.cases(self.hub.tag, self.hub.rater)) if journals is not None else set()
        found = [Row(**{**vars(row), "state": IN_PROGRESS}) if row.case in kept else row for row in self.rows]
        return [row for row in found if state in ("", row.state) and text.lower() in row.case.lower()]

    def row(self, case: str) -> Row | None:
        """The row of a case."""
        return next((row for row in self.rows if row.case == case), None)

    def next_case(self, strategy: str, opened: Callable[[str], object], skip: Sequence[str] = ()) -> bool:
        """Ask the server's strategy for the next case, but for those in ``skip``; ``opened`` gets its id."""
        rater, asked = self.hub.rater, self.hub.client

        def work(client: Client, cancel: Cancel) -> NextCase:
            self.lease.settle()
            return client.next_case(strategy, rater, cancel, skip)

        def done(found: NextCase) -> None:
            self.suggested[found.case] = found
            if asked is not None:
                self.lease.taken(found.case, asked, rater)
            opened(found.case)

        return self.hub.ask("next case", work, done, _("Asking for the next case …"))

    def _nobody_waits_for_the_next_case(self) -> None:
        """The server may have leased a case that nobody heard of."""
        if self.hub.client is not None and not self.lease.case and not self.hub.runner.busy("next case"):
            self.lease.taken("?", self.hub.client, self.hub.rater)
            self.lease.left()


def _row(client: Client, entry: CaseEntry, tag: str, cancel: Cancel) -> Row:
    tags = tuple(sorted(name for name in entry.versions if name != PROPOSALS))
    if tag not in entry.versions:
        return Row(entry.case, entry.suffix, tags=tags)
    last = _last(client.history(entry.case, tag, cancel))
    frames = last.get("frames")
    told: Mapping[str, Any] = frames if isinstance(frames, dict) else {}
    review = _last(last.get("reviews") or [])
    states = {"accepted": ACCEPTED, "returned": RETURNED}
    return Row(
        case=entry.case,
        suffix=entry.suffix,
        state=states.get(str(review.get("state")), SUBMITTED),
        annotated=int(told.get("annotated") or 0),
        empty=int(told.get("empty") or 0),
        version=entry.versions[tag],
        comment=str(review.get("comment") or ""),
        tags=tags,
    )


def _last(entries: Sequence[Any]) -> Mapping[str, Any]:
    return entries[-1] if entries and isinstance(entries[-1], dict) else {}
