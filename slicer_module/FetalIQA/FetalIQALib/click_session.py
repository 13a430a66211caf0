"""Correction of one frame by clicks: the server's interactive model answers, and each answer is one action.

A click is a person's decision, so its answer is the annotator's own mask. Clicks are answered one after the other,
and each takes the mask before it along, so that undoing the last one leaves exactly the mask before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from FetalIQALib.case_annotation import CaseAnnotation, UndoStep
from FetalIQALib.case_controller import CaseController
from FetalIQALib.client_errors import FetalIQAError, InvalidAction
from FetalIQALib.http_client import Cancel
from FetalIQALib.interactive_requests import Point, Prompt, SegmentAnswer, segment
from FetalIQALib.server_client import ServerClient
from FetalIQALib.server_session import PROBLEM, ServerChange
from FetalIQALib.translation import _

KIND = "click"  # of the requests
MAX_WAITING = 20  # clicks; a server that is this far behind does not keep up
Box = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class Click:
    """One click or box, in pixels of the frame.

    Attributes:
        point: (column, row); None for a box.
        positive: whether the point belongs to the anatomy.
        box: around the anatomy; None for a click.
    """

    point: Point | None = None
    positive: bool = True
    box: Box | None = None


class ClickSession:
    """The clicks on one frame, from the start of the tool until the annotator leaves the frame.

    Args:
        controller: of the current case.

    Attributes:
        frame: that is corrected; -1 when the tool is off.
        changed: called when clicks were added or taken back, and when the tool ends.
    """

    def __init__(self, controller: CaseController) -> None:
        self.controller = controller
        self.frame = -1
        self.changed: Callable[[], None] = lambda: None
        self._annotation: CaseAnnotation | None = None
        self._answered: list[tuple[Click, UndoStep]] = []
        self._asked: Click | None = None
        self._waiting: list[Click] = []
        session = controller.session
        session.changes[KIND] = ServerChange("", self._canceled)
        session.add_listener(self._on_change)

    @property
    def active(self) -> bool:
        """Whether the tool is on."""
        return self.frame >= 0

    # -- start and end ------------------------------------------------------------------------------

    def start(self) -> bool:
        """Start on the current frame; False, with a message, if that is not possible."""
        session, annotation = self.controller.session, self.controller.annotation
        try:
            if annotation is None:
                raise InvalidAction(_("Open a case first."))
            if session.info is None or not session.info.interactive:
                raise InvalidAction(_("This server has no interactive model; draw the mask instead."))
            if annotation.sweep.padding[self.controller.position]:
                raise InvalidAction(_("This frame is black padding and needs no label."))
        except InvalidAction as error:
            session.show_error(error)
            return False
        self.stop()
        self._annotation, self.frame = annotation, self.controller.position
        session.show_status(
            _(
                "Click on the {anatomy}; Shift+click where the mask is too large; drag a box around it. Esc ends."
            ).format(anatomy=annotation.sweep.anatomy)
        )
        self.changed()
        return True

    def stop(self) -> bool:
        """End the tool; clicks without answer are dropped. False if it is off."""
        if not self.active:
            return False
        self._drop_unanswered()
        self._answered.clear()
        self._annotation, self.frame = None, -1
        self.changed()
        return True

    # -- clicks -------------------------------------------------------------------------------------

    def add(self, click: Click) -> bool:
        """Add a click; False, with a message, if it cannot be used."""
        annotation, session = self._annotation, self.controller.session
        if annotation is None:
            return False
        self.controller.before_action()  # a stroke before the click is part of the mask that it corrects
        try:
            self._check(click, annotation)
        except InvalidAction as error:
            session.show_error(error)
            return False
        self._waiting.append(click)
        self.changed()
        self._ask()
        return True

    def take_back(self) -> bool:
        """Drop the last click if it is not answered yet; False if all are, so that the last action is undone."""
        if self._waiting:
            self._waiting.pop()
        elif self._asked is not None:
            self._drop_unanswered()
        else:
            return False
        self.controller.session.show_status(_("Click taken back."))
        self.changed()
        return True

    def clicks(self) -> list[Click]:
        """The clicks behind the current mask, and those without answer, in their order."""
        asked = [] if self._asked is None else [self._asked]
        return [*self._behind_mask(), *asked, *self._waiting]

    def _check(self, click: Click, annotation: CaseAnnotation) -> None:
        rows, columns = annotation.sweep.shape
        if click.point is not None:
            column, row = click.point
            if not (-0.5 <= column < columns - 0.5 and -0.5 <= row < rows - 0.5):
                raise InvalidAction(_("The click is outside of the frame."))
        if len(self._waiting) >= MAX_WAITING:
            raise InvalidAction(_("The server does not keep up; wait for its answer."))
        nothing = annotation.frame(self.frame).mask is None and annotation.proposal(self.frame) is None
        if nothing and not click.positive and not self.clicks():
            message = _("There is no mask to reduce: click on the {anatomy} first, without Shift.")
            raise InvalidAction(message.format(anatomy=annotation.sweep.anatomy))

    def _behind_mask(self) -> list[Click]:
        """The clicks that made the current mask: those after the last stroke or other change of the frame."""
        if self._annotation is None:
            return []
        by_step = {id(step): click for click, step in self._answered}
        clicks: list[Click] = []
        for step in reversed(self._annotation.steps):
            if self.frame not in step.after:
                continue
            click = by_step.get(id(step))
            if click is not None:
                clicks.append(click)
            elif step.before[self.frame].mask != step.after[self.frame].mask:
                break
        return clicks[::-1]

    # -- requests -----------------------------------------------------------------------------------

    def _ask(self) -> None:
        """Ask for the mask of the next click, if none is being answered."""
        annotation, frame = self._annotation, self.frame
        if annotation is None or self._asked is not None or not self._waiting:
            return
        click = self._asked = self._waiting.pop(0)
        label, proposal = annotation.frame(frame), annotation.proposal(frame)
        mask = label.mask if label.mask is not None else proposal.mask if proposal is not None else None
        clicks = [*self._behind_mask(), click]
        points = [(one.point, one.positive) for one in clicks if one.point is not None]
        prompt = Prompt(
            frame=frame,
            foreground=[point for point, positive in points if positive],
            background=[point for point, positive in points if not positive],
            box=next((one.box for one in reversed(clicks) if one.box is not None), None),
            mask=mask,
        )
        case, shape = annotation.sweep.case, annotation.sweep.shape

        def request(client: ServerClient, cancel: Cancel) -> SegmentAnswer:
            return segment(client.http, case, prompt, shape, cancel)

        def done(answer: SegmentAnswer) -> None:
            if self._asked is not click or self._annotation is not annotation:
                return  # the tool has ended
            self.controller.before_action()
            self._asked = None
            if annotation.frame(frame) != label:
                self._waiting.clear()
                session.show_status(_("The frame was changed before the answer came; click again."), PROBLEM)
            elif answer.mask is None:
                self._waiting.clear()
                session.show_status(_("The model finds nothing there; click elsewhere, or draw."), PROBLEM)
            else:
                self._put(annotation, click, answer)
            self.changed()
            self._ask()

        def failed(error: FetalIQAError) -> None:
            if self._asked is click:
                self._drop_unanswered()
                self.changed()
            session.show_error(error)

        session = self.controller.session
        if not session.request(KIND, request, done, "", failed):
            self._drop_unanswered()

    def _put(self, annotation: CaseAnnotation, click: Click, answer: SegmentAnswer) -> None:
        mask = answer.mask
        assert mask is not None

        def label(annotation: CaseAnnotation) -> str:
            self._answered.append((click, annotation.click(self.frame, mask, answer.model, answer.version)))
            count = annotation.frame(self.frame).origin.clicks
            text = _("Frame {frame}: mask of click {count}").format(frame=self.frame, count=count)
            if answer.expected_dice is None:
                return f"{text}."
            return _("{text}, expected Dice {dice:.2f}.").format(text=text, dice=answer.expected_dice)

        self.controller.apply(_("click"), label)

    def _drop_unanswered(self) -> None:
        self._waiting.clear()
        self._asked = None
        self.controller.session.runner.cancel(KIND)

    def _canceled(self) -> None:
        """All requests were canceled, or a canceled one has ended late."""
        if self._asked is not None and not self.controller.session.runner.busy(KIND):
            self._drop_unanswered()
            self.changed()

    def _on_change(self, topic: str) -> None:
        if not self.active:
            return
        if self.controller.annotation is not self._annotation or self.controller.position != self.frame:
            self.stop()
        elif topic == "frames":
            self.changed()
