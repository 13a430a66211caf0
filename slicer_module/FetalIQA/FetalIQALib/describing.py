"""What the window says of a frame and of a case, in words."""

from __future__ import annotations

import numpy as np

from FetalIQALib import palette
from FetalIQALib.decisions import ANNOTATED, EMPTY, INTERPOLATION, OPTIMAL, SUBOPTIMAL, counts
from FetalIQALib.desk import Desk
from FetalIQALib.replies import ServerInfo
from FetalIQALib.sweep import Sweep
from FetalIQALib.texts import _

MAX_NAME = 20  # characters
MAX_FILES = 5


def frame_line(desk: Desk) -> str:
    """Frame, sweep and quality of the current frame."""
    work = desk.work
    if work is None:
        return _("No case is open.")
    sweep, frame = work.sweep, desk.position
    told = [
        # counted from 0, as in the server's answers, the tables and the exported files
        _("Frame {frame} (0 to {last})").format(frame=frame, last=sweep.count - 1),
        _("sweep {sweep} (0 to {last})").format(sweep=sweep.sweep_of(frame), last=len(sweep.ranges) - 1),
    ]
    if sweep.padding[frame]:
        told.append(_("black padding"))
    elif sweep.assessment is not None and not np.isnan(sweep.assessment.quality[frame]):
        guess = _("quality about {quality:.2f}, not looked at yet")
        sure = _("quality {quality:.2f}")
        told.append(
            (guess if _guessed(work.sweep, frame) else sure).format(quality=sweep.assessment.quality[frame])
        )
    told += _sureness(sweep, frame)
    if sweep.assessment is not None and frame == sweep.assessment.best:
        told.append(_("best frame"))
    return " · ".join(told)


def _sureness(sweep: Sweep, frame: int) -> list[str]:
    """What the model says of its own outline of a frame, where it does."""
    if sweep.assessment is None:
        return []
    told = []
    if (value := sweep.assessment.expected_dice.get(frame)) is not None:
        told.append(_("expected Dice {value:.2f}").format(value=value))
    if frame in sweep.assessment.unlike:
        told.append(_("unlike what the model learnt from"))
    return told


def _guessed(sweep: Sweep, frame: int) -> bool:
    return sweep.assessment is not None and bool(sweep.assessment.guessed[frame])


def decision_line(desk: Desk) -> str:
    """What is decided on the current frame, or what is proposed."""
    work = desk.work
    if work is None:
        return ""
    frame, proposal = work.frame(desk.position), work.proposal(desk.position)
    planes = {OPTIMAL: _("optimal plane"), SUBOPTIMAL: _("suboptimal plane"), None: _("plane not graded")}
    if frame.state == ANNOTATED:
        told = _("Your mask, {plane}").format(plane=planes[frame.plane])
        if frame.rater and frame.rater != work.rater:
            told = _("Mask of {rater}, {plane}").format(rater=frame.rater, plane=planes[frame.plane])
    elif frame.state == EMPTY:
        told = _("Confirmed: no abdomen")
    elif proposal is None and _guessed(work.sweep, desk.position):
        told = _("Undecided, the model has not looked at this frame yet")
    elif proposal is None:
        told = _("Undecided, nothing proposed")
    elif proposal.model == INTERPOLATION:
        told = _("Undecided, interpolated mask: D accepts it")
    else:
        told = _("Undecided, proposal of {model}: D accepts it").format(model=proposal.model)
    reason = work.sweep.reason_for(desk.position)
    return f"{told}. {reason}" if reason else f"{told}."


def decision_colour(desk: Desk) -> str:
    """The colour that the overlay and the strip use for what ``decision_line`` says; empty for none."""
    work = desk.work
    if work is None:
        return ""
    frame, proposal = work.frame(desk.position), work.proposal(desk.position)
    if frame.state == ANNOTATED:
        colour = palette.HUMAN
    elif frame.state == EMPTY:
        colour = palette.EMPTY
    elif proposal is not None:
        colour = palette.BETWEEN if proposal.model == INTERPOLATION else palette.PROPOSAL
    else:
        return ""
    return "#{:02x}{:02x}{:02x}".format(*colour)


def measurement_line(desk: Desk) -> str:
    """The circumference of the current frame's mask, or why there is none."""
    work = desk.work
    if work is None:
        return ""
    found = desk.measurement(desk.position)
    if found.circumference_mm is not None:
        own = work.frame(desk.position).mask is not None
        told = _("AC {length:.1f} mm") if own else _("AC {length:.1f} mm (proposed)")
        line = told.format(length=found.circumference_mm)
    else:
        line = _("AC – {reason}").format(reason=found.absent or _("not measured"))
    return f"{line} – {found.warning}" if found.warning else line


def short(case: str) -> str:
    """A case's name as it fits into a line: the first block of a long identifier is enough to tell it."""
    return case if len(case) <= MAX_NAME else f"{case[:8]}…"


def case_line(desk: Desk) -> str:
    """How far the case is."""
    work = desk.work
    if work is None:
        return ""
    annotated, empty = counts(work.frames)
    suggested = work.sweep.suggestions()
    left = [frame for frame in suggested if not work.frame(frame).decided]
    told = _("{case}: {annotated} outlined, {empty} empty; {left} of {suggested} suggested frames left").format(
        case=short(work.sweep.case), annotated=annotated, empty=empty, left=len(left), suggested=len(suggested)
    )
    state = _("version {version}").format(version=work.based_on) if work.based_on else _("not submitted yet")
    if work.unsaved:
        state = _("changes not submitted")
    return f"{told} · {state}"


def not_offered_lines(info: ServerInfo) -> list[str]:
    """Files in the server's folder that are no cases, a line each and at most ``MAX_FILES``."""
    lines = [
        _("Not offered: {file}: {reason}").format(file=short(file), reason=reason)
        for file, reason in info.not_offered[:MAX_FILES]
    ]
    more = len(info.not_offered) - len(lines)
    return [*lines, _("Not offered: {count} more files").format(count=more)] if more else lines


def strip_tip(desk: Desk, frame: int) -> str:
    """What the strip says of a frame when the mouse rests on it."""
    work = desk.work
    if work is None:
        return ""
    quality = None if work.sweep.assessment is None else work.sweep.assessment.quality[frame]
    told = _("Frame {frame}").format(frame=frame)
    if quality is not None and not np.isnan(quality):
        told += ", " + _("quality {quality:.2f}").format(quality=quality)
    told = ", ".join([told, *_sureness(work.sweep, frame)])
    reason = work.sweep.reason_for(frame)
    return f"{told}, {reason}" if reason else told
