"""Everything a key or a button does, by name. Keys are chosen not to collide with those of the Segment Editor."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from FetalIQALib.casework import Action as Done
from FetalIQALib.casework import CaseWork
from FetalIQALib.decisions import OPTIMAL, SUBOPTIMAL
from FetalIQALib.frame_jumps import next_of, step
from FetalIQALib.learning import QUICK
from FetalIQALib.texts import _
from FetalIQALib.workplace import Workplace

JUMP = 10  # frames; annotators skip five to ten between those they outline
# What the Segment Editor and its effects take (Slicer's user guide, "Segment editor"): ours are none of these.
EDITOR_KEYS = (
    *("Left", "Right", "Q", "W", "Z", "Y", "Esc", "Space", "I", "X", "A", "Return", "Enter", "-", "+"),
    *(str(digit) for digit in range(10)),
    *(f"Shift+{digit}" for digit in range(10)),
)


@dataclass(frozen=True)
class Action:
    """One thing that a key or a button does.

    Attributes:
        name: of the action, and with ``Button`` of the button in the window.
        key: as Qt writes it.
        group: heading in the help panel.
        text: what it does, in a few words.
    """

    name: str
    key: str
    group: str
    text: str


def all_actions() -> list[Action]:
    """The actions in the order of the help panel."""
    look, decide, case, more = _("Look"), _("Decide"), _("Case"), _("More")
    return [
        Action("next", ".", look, _("next frame")),
        Action("previous", ",", look, _("previous frame")),
        Action("forward", "L", look, _("ten frames forward")),
        Action("back", "J", look, _("ten frames back")),
        Action("play", "K", look, _("play or pause")),
        Action("nextSuggestion", "N", look, _("next frame to look at")),
        Action("previousSuggestion", "Shift+N", look, _("previous frame to look at")),
        Action("best", "Home", look, _("the model's best frame")),
        Action("proposals", "H", look, _("show or hide the proposal")),
        Action("window", "P", look, _("next window/level preset")),
        Action("accept", "D", decide, _("accept the proposed mask")),
        Action("empty", "E", decide, _("no abdomen in this frame")),
        Action("optimal", "O", decide, _("plane is optimal (again: no grade)")),
        Action("suboptimal", "S", decide, _("plane is suboptimal (again: no grade)")),
        Action("ellipse", "Shift+E", decide, _("place an ellipse by two axes")),
        Action("copyNext", "C", decide, _("copy my mask to the next frame, go there")),
        Action("copyPrevious", "Shift+C", decide, _("copy it to the previous frame, go there")),
        Action("interpolate", "M", decide, _("propose masks between two of mine")),
        Action("clear", "Del", decide, _("take the decision on this frame back")),
        Action("undo", "U", decide, _("undo exactly one action")),
        Action("redo", "Shift+U", decide, _("do it again")),
        Action("submit", "Ctrl+Return", case, _("submit this case and stay on it")),
        Action("nextCase", "Ctrl+Shift+Return", case, _("open the next case")),
        Action("resume", "Ctrl+Shift+U", case, _("resume unsubmitted work")),
        Action("refresh", "Ctrl+Shift+L", case, _("read the worklist again")),
        Action("connect", "Ctrl+Shift+K", case, _("connect, or try again")),
        Action("cancel", "Ctrl+Shift+X", case, _("give up what is under way")),
        Action("train", "Ctrl+Shift+G", more, _("start a quick training")),
        Action("reviewAccept", "Ctrl+Shift+Y", more, _("accept the version under review")),
        Action("reviewReturn", "Ctrl+Shift+J", more, _("send it back with the comment")),
        Action("export", "Ctrl+Shift+P", more, _("export the decided frames")),
        Action("help", "Shift+F1", more, _("show or hide this table")),
    ]


class Actions:
    """What the actions do; those that need the window are added by it.

    Args:
        place: the workplace.
    """

    def __init__(self, place: Workplace) -> None:
        self.place = place
        self.desk = place.desk
        decide, go = self._decide, self._go
        self._does: dict[str, Callable[[], object]] = {
            "next": lambda: go(step(self.desk, 1)),
            "previous": lambda: go(step(self.desk, -1)),
            "forward": lambda: go(step(self.desk, JUMP)),
            "back": lambda: go(step(self.desk, -JUMP)),
            "nextSuggestion": lambda: go(next_of(self.desk, 1)),
            "previousSuggestion": lambda: go(next_of(self.desk, -1)),
            "best": self._best,
            "accept": lambda: decide(_("accepted"), lambda work, frame: work.accept(frame)),
            "empty": lambda: decide(_("no abdomen"), lambda work, frame: work.mark_empty(frame)),
            "optimal": lambda: decide(_("plane graded"), lambda work, frame: work.grade(frame, OPTIMAL)),
            "suboptimal": lambda: decide(_("plane graded"), lambda work, frame: work.grade(frame, SUBOPTIMAL)),
            "copyNext": lambda: self._copy(1),
            "copyPrevious": lambda: self._copy(-1),
            "interpolate": lambda: decide(_("interpolated"), lambda work, frame: work.interpolate(frame)),
            "clear": lambda: decide(_("decision taken back"), lambda work, frame: work.clear(frame)),
            "undo": lambda: self._again(lambda work: work.undo(), _("Undone: {name}, frame {frame}.")),
            "redo": lambda: self._again(lambda work: work.redo(), _("Done again: {name}, frame {frame}.")),
            "submit": lambda: self.desk.submit(),
            "resume": lambda: self.desk.work is not None and self.desk.resume(),
            "refresh": lambda: place.worklist.refresh(),
            "cancel": lambda: place.hub.cancel(),
            "train": lambda: place.learning.start(QUICK),
            "reviewAccept": lambda: place.reviewing.accept(),
        }

    def add(self, name: str, does: Callable[[], object]) -> None:
        """Say what an action does that needs the window."""
        self._does[name] = does

    def run(self, name: str) -> None:
        """Do it."""
        self._does[name]()

    # -- how ----------------------------------------------------------------------------------------

    def _go(self, frame: int | None) -> None:
        if frame is None:
            self.place.hub.say(_("There is no such frame."))
        else:
            self.desk.go_to(frame)

    def _best(self) -> None:
        work = self.desk.work
        self._go(work.sweep.assessment.best if work is not None and work.sweep.assessment is not None else None)

    def _decide(self, name: str, action: Callable[[CaseWork, int], str | None]) -> bool:
        return self.desk.act(name, lambda work: action(work, self.desk.position))

    def _copy(self, way: int) -> None:
        source = self.desk.position
        if self.desk.act(_("copied"), lambda work: work.copy(source, source + way)):
            self.desk.go_to(source + way)

    def _again(self, action: Callable[[CaseWork], Done], told: str) -> None:
        """Undo or redo, and go where it was: what changes is seen."""
        changed: list[int] = []

        def work_on(work: CaseWork) -> str:
            done = action(work)
            changed.append(done.frame)
            return told.format(name=done.name, frame=done.frame)

        if self.desk.act("", work_on) and changed[0] != self.desk.position:
            self.desk.go_to(changed[0])
