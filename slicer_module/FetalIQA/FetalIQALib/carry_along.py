"""Carry along: the mask of a frame is carried to the frames before and after it by the server's interactive model.

Carried masks are proposals until a person confirms them, one by one or up to the frame shown. Labelled frames are
never changed.
"""

from __future__ import annotations

from collections.abc import Mapping

from FetalIQALib.case_annotation import CaseAnnotation
from FetalIQALib.case_controller import CaseController
from FetalIQALib.client_errors import FetalIQAError, InvalidAction
from FetalIQALib.frame_annotations import PROPAGATED, FrameAnnotation, Origin, Proposal
from FetalIQALib.http_client import Cancel
from FetalIQALib.interactive_requests import PropagationAnswer, propagate
from FetalIQALib.server_client import ServerClient
from FetalIQALib.server_session import PROBLEM
from FetalIQALib.translation import _

KIND = "carry"  # of the requests


class CarryAlong:
    """Carries the mask of the current frame along the sweep.

    Args:
        controller: of the current case.
    """

    def __init__(self, controller: CaseController) -> None:
        self.controller = controller

    def start(self) -> bool:
        """Carry the mask of the current frame in both directions; False, with a message, if that is impossible."""
        session, frame = self.controller.session, self.controller.position
        try:
            annotation = self._annotation()
            self.controller.before_action()
            mask = annotation.frame(frame).mask
            if mask is None:
                raise InvalidAction(
                    _("This frame has no mask of yours to carry along: accept it (D), click or draw first.")
                )
            if session.info is None or not session.info.interactive:
                raise InvalidAction(_("This server has no interactive model; interpolate (M) instead."))
        except FetalIQAError as error:
            session.show_error(error)
            return False
        case, count = annotation.sweep.case, annotation.sweep.count

        def request(client: ServerClient, cancel: Cancel) -> PropagationAnswer:
            return propagate(client.http, case, frame, mask, count, cancel)

        def done(answer: PropagationAnswer) -> None:
            self.controller.before_action()
            if self.controller.annotation is not annotation:
                return  # another case has been opened
            if annotation.frame(frame).mask != mask:
                message = _("The mask of frame {frame} was changed meanwhile; carry it along again (T).")
                session.show_status(message.format(frame=frame), PROBLEM)
                return
            self.controller.apply(_("carried along"), lambda annotation: propose(annotation, frame, answer))

        busy = _("Carrying the mask of frame {frame} along …").format(frame=frame)
        return session.request(KIND, request, done, busy)

    def confirm(self) -> bool:
        """Confirm the carried masks from their start frame up to the current one; at the start frame all."""
        return self.controller.apply(
            _("confirmed"), lambda annotation: confirm_carried(annotation, self.controller.position)
        )

    def _annotation(self) -> CaseAnnotation:
        if self.controller.annotation is None:
            raise InvalidAction(_("Open a case first."))
        return self.controller.annotation


def propose(annotation: CaseAnnotation, source: int, answer: PropagationAnswer) -> str:
    """Propose the carried masks on frames without a label, as one action; returns a message.

    Masks that were carried from the same frame before are withdrawn.

    Raises:
        InvalidAction: if there is no frame for them.
    """
    origin = Origin(PROPAGATED, 0, source)
    proposals: dict[int, Proposal | None] = {
        number: None
        for number, label in annotation.frames.items()
        if label.pending is not None and label.pending.carried_from == source and not label.labelled
    }
    carried = [
        number
        for number in sorted(answer.masks)
        if not annotation.frame(number).labelled and not annotation.sweep.padding[number]
    ]
    for number in carried:
        carried_mask = answer.masks[number]
        proposals[number] = Proposal(
            carried_mask.mask, answer.model, answer.version, origin, carried_mask.expected_dice
        )
    stops = _stops(answer.stopped)
    if not carried:
        raise InvalidAction(
            _("The mask of frame {frame} cannot be carried to a frame without label. {stops}")
            .format(frame=source, stops=stops)
            .strip()
        )
    annotation.propose(_("carry along"), proposals, source)
    text = _("{count} masks proposed on frames {first} to {last}; Shift+T confirms up to the frame shown. {stops}")
    return text.format(count=len(carried), first=carried[0], last=carried[-1], stops=stops).strip()


def carried_frames(frames: Mapping[int, FrameAnnotation]) -> dict[int, list[int]]:
    """Frames with a carried mask that is not confirmed, by the frame that it was carried from."""
    runs: dict[int, list[int]] = {}
    for number in sorted(frames):
        pending = None if frames[number].labelled else frames[number].pending
        if pending is not None and pending.carried_from is not None:
            runs.setdefault(pending.carried_from, []).append(number)
    return runs


def confirm_carried(annotation: CaseAnnotation, position: int) -> str:
    """Confirm carried masks between their start frame and ``position``; at the start frame all of them.

    Raises:
        InvalidAction: if there is none.
    """
    runs = carried_frames(annotation.frames)
    pending = annotation.frame(position).pending
    here = None if pending is None or annotation.frame(position).labelled else pending.carried_from
    sources = [here] if here is not None else sorted(runs, key=lambda source: abs(source - position))
    for source in sources:
        low, high = min(source, position), max(source, position)
        frames = [frame for frame in runs[source] if low <= frame <= high or source == position]
        if frames:
            annotation.confirm(frames, position)
            text = _("{count} masks carried from frame {source} confirmed: frames {first} to {last}.")
            return text.format(count=len(frames), source=source, first=frames[0], last=frames[-1])
    raise InvalidAction(_("No carried mask between its start frame and this one: carry a mask along first (T)."))


def _stops(stopped: Mapping[str, tuple[int, str]]) -> str:
    """Where and why it stopped, for the status line."""
    ways = {"backward": _("backward"), "forward": _("forward")}
    parts = [
        _("{way} at frame {frame} ({reason})").format(way=ways.get(way, way), frame=frame, reason=_(reason))
        for way, (frame, reason) in sorted(stopped.items())
    ]
    return _("Stopped {parts}.").format(parts=", ".join(parts)) if parts else ""
