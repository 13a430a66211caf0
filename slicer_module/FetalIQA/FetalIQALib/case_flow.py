"""Flow of cases: next, previous, skipped with a reason, position in the worklist."""

from __future__ import annotations

from FetalIQALib.case_controller import CaseController
from FetalIQALib.client_errors import InvalidAction
from FetalIQALib.server_session import ServerSession
from FetalIQALib.translation import _
from FetalIQALib.work_counts import WorkCounts
from FetalIQALib.worklist import SKIPPED, Worklist

# stored with the label as they are; translated when shown
SKIP_REASONS = ("cannot judge", "poor image quality", "wrong anatomy", "not a blind sweep")
MAX_SKIPPED = 10_000  # ids in a request for the next case; more are refused by the server


class CaseFlow:
    """Goes from case to case.

    Args:
        session: the server session.
        worklist: the cases.
        controller: of the current case.
        counts: of the annotator's work.
    """

    def __init__(
        self, session: ServerSession, worklist: Worklist, controller: CaseController, counts: WorkCounts
    ) -> None:
        self.session = session
        self.worklist = worklist
        self.controller = controller
        self.counts = counts
        self._trail: list[str] = []  # cases in the order they were opened
        self._at = -1  # index of the current case
        session.add_listener(self._on_change)
        controller.on_saved = self._count

    @property
    def case(self) -> str:
        """Id of the current case; empty for none."""
        annotation = self.controller.annotation
        return "" if annotation is None else annotation.sweep.case

    def next(self, strategy: str) -> bool:
        """After ``previous``: the case that was open then. Otherwise the next case of the strategy."""
        if 0 <= self._at < len(self._trail) - 1:
            return self.controller.open(self._trail[self._at + 1])
        skipped = [row.case for row in self.worklist.rows if row.state == SKIPPED and row.case != self.case]
        skip = [self.case, *skipped] if self.case else skipped
        return self.worklist.next_case(strategy, self.controller.open, skip[:MAX_SKIPPED])

    def previous(self) -> bool:
        """Open the case that was open before this one; False, with a message, if there was none."""
        at = self._at if not self.case else self._at - 1
        if not 0 <= at < len(self._trail):
            self.session.show_error(InvalidAction(_("No case was open before this one.")))
            return False
        return self.controller.open(self._trail[at])

    def skip(self, reason: str, strategy: str) -> bool:
        """Save the case as skipped, with a reason and with what is labelled; then open the next one."""
        return self.controller.submit(skipped=reason, then=lambda: self.next(strategy))

    def position_line(self, shown: list[str]) -> str:
        """Position of the current case among the cases that the list shows, and how many are left."""
        left = sum(row.case in shown and row.version == 0 for row in self.worklist.rows)
        remaining = _("{left} of {count} left").format(left=left, count=len(shown))
        if self.case in shown:
            at = _("{number} of {count}").format(number=shown.index(self.case) + 1, count=len(shown))
            return f"{at} · " + _("{left} left").format(left=left)
        return remaining if shown else ""

    def _on_change(self, topic: str) -> None:
        if topic != "case" or not self.case:
            return
        if 0 <= self._at < len(self._trail) and self._trail[self._at] == self.case:
            return
        if self.case in self._trail:
            self._at = self._trail.index(self.case)
        else:
            self._trail.append(self.case)
            self._at = len(self._trail) - 1

    def _count(self, case: str, frames: int, seconds: float, skipped: bool) -> None:
        self.counts.add(self.session.rater, case, frames, seconds, skipped)
