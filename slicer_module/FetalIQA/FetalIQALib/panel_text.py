"""Text of the panel: current frame, label, measurement and case."""

from __future__ import annotations

import numpy as np

from FetalIQALib import display_colours
from FetalIQALib.case_annotation import CaseAnnotation
from FetalIQALib.case_controller import CaseController
from FetalIQALib.frame_annotations import ANNOTATED, EMPTY, INTERPOLATION, OPTIMAL, SUBOPTIMAL, counts
from FetalIQALib.server_responses import ServerInfo
from FetalIQALib.sweep_data import Sweep
from FetalIQALib.translation import _
from FetalIQALib.work_counts import duration

MAX_NAME = 20  # characters
MAX_FILES = 5


def frame_line(controller: CaseController) -> str:
    """Frame, sweep and quality of the current frame."""
    annotation = controller.annotation
    if annotation is None:
        return _("No case is open.")
    sweep, frame = annotation.sweep, controller.position
    parts = [
        # counted from 0, as in the server's responses, the tables and the exported files
        _("Frame {frame} (0 to {last})").format(frame=frame, last=sweep.count - 1),
        _("sweep {sweep} (0 to {last})").format(sweep=sweep.sweep_of(frame), last=len(sweep.ranges) - 1),
    ]
    if sweep.padding[frame]:
        parts.append(_("black padding"))
    elif sweep.assessment is None or np.isnan(sweep.assessment.quality[frame]):
        parts.append(_("not assessed"))
    else:
        estimated = _("quality about {quality:.2f} (estimated)")
        assessed = _("quality {quality:.2f}")
        parts.append(
            (estimated if _is_estimated(annotation.sweep, frame) else assessed).format(
                quality=sweep.assessment.quality[frame]
            )
        )
    if sweep.assessment is not None and frame == sweep.assessment.best:
        parts.append(_("best frame"))
    return " · ".join(parts)


def _confidence(sweep: Sweep, frame: int) -> list[str]:
    """The model's confidence in its outline of a frame, if it reports any."""
    if sweep.assessment is None:
        return []
    value = sweep.assessment.expected_dice.get(frame)
    dice = [] if value is None else [_("expected Dice {value:.2f}").format(value=value)]
    return [*dice, *_warnings(sweep, frame)]


def _warnings(sweep: Sweep, frame: int) -> list[str]:
    unlike = sweep.assessment is not None and frame in sweep.assessment.out_of_distribution
    return [_("unlike the training data")] if unlike else []


def _confidence_shown(annotation: CaseAnnotation, frame: int) -> list[str]:
    """Confidence in the outline that is shown: of a carried or interpolated mask, or of the model's."""
    mask, models = annotation.frame(frame).mask, annotation.sweep.proposal(frame)
    if mask is not None and (models is None or models.mask != mask):
        return _warnings(annotation.sweep, frame)  # the model's expected Dice is not that of this mask
    proposal = None if annotation.frame(frame).labelled else annotation.proposal(frame)
    if proposal is None or not proposal.between_frames:
        return _confidence(annotation.sweep, frame)
    value = proposal.expected_dice
    return [] if value is None else [_("expected Dice {value:.2f}").format(value=value)]


def _is_estimated(sweep: Sweep, frame: int) -> bool:
    return sweep.assessment is not None and bool(sweep.assessment.estimated[frame])


def label_line(controller: CaseController) -> str:
    """Label or proposal of the current frame."""
    annotation = controller.annotation
    if annotation is None:
        return ""
    frame, proposal = annotation.frame(controller.position), annotation.proposal(controller.position)
    planes = {OPTIMAL: _("optimal plane"), SUBOPTIMAL: _("suboptimal plane"), None: _("plane not graded")}
    if frame.state == ANNOTATED:
        text = _("Your mask, {plane}").format(plane=planes[frame.plane])
        if frame.rater and frame.rater != annotation.rater:
            text = _("Mask of {rater}, {plane}").format(rater=frame.rater, plane=planes[frame.plane])
    elif frame.state == EMPTY:
        text = _("Confirmed: no {anatomy}").format(anatomy=annotation.sweep.anatomy)
    elif proposal is None and _is_estimated(annotation.sweep, controller.position):
        text = _("Not labelled; not assessed by the model yet")
    elif proposal is None:
        text = _("Not labelled; no mask proposed")
    elif proposal.model == INTERPOLATION:
        text = _("Not labelled; interpolated mask (D to accept)")
    elif proposal.carried_from is not None:
        text = _("Not labelled; mask carried from frame {frame} (D to accept, Shift+T up to here)").format(
            frame=proposal.carried_from
        )
    else:
        text = _("Not labelled; mask proposed by {model} (D to accept)").format(model=proposal.model)
    reason = annotation.sweep.reason_for(controller.position)
    return f"{text}. {reason}" if reason else f"{text}."


def label_colour(controller: CaseController) -> tuple[int, int, int] | None:
    """Colour in overlay and strip of what ``label_line`` describes; None for nothing."""
    annotation = controller.annotation
    if annotation is None:
        return None
    frame, proposal = annotation.frame(controller.position), annotation.proposal(controller.position)
    if frame.state == ANNOTATED:
        return display_colours.HUMAN
    if frame.state == EMPTY:
        return display_colours.EMPTY
    if proposal is None:
        return None
    return display_colours.INTERPOLATED if proposal.between_frames else display_colours.PROPOSAL


def measurement_line(controller: CaseController) -> str:
    """Circumference of the current frame's mask, or why there is none; confidence in the model's outline."""
    annotation = controller.annotation
    if annotation is None:
        return ""
    measurement = controller.measurement(controller.position)
    name = annotation.sweep.measurement
    if measurement.circumference_mm is not None:
        has_mask = annotation.frame(controller.position).mask is not None
        template = _("{name} {length:.1f} mm") if has_mask else _("{name} {length:.1f} mm (proposed)")
        line = template.format(name=name, length=measurement.circumference_mm)
        if measurement.interval_mm is not None:
            line += " [{:.1f} – {:.1f}]".format(*measurement.interval_mm)
    else:
        line = _("{name} – {reason}").format(name=name, reason=measurement.absent or _("not measured"))
    line = " · ".join([line, *_confidence_shown(annotation, controller.position)])
    return f"{line} – {measurement.warning}" if measurement.warning else line


def short_name(case: str) -> str:
    """A case's name, shortened to fit a line; the first block identifies a long name."""
    return case if len(case) <= MAX_NAME else f"{case[:8]}…"


def case_line(controller: CaseController) -> str:
    """Progress on the case."""
    annotation = controller.annotation
    if annotation is None:
        return ""
    annotated, empty = counts(annotation.frames)
    suggested = annotation.sweep.suggestions()
    open_frames = [frame for frame in suggested if not annotation.frame(frame).labelled]
    text = _("{annotated} outlined, {empty} empty; {left} of {suggested} suggested left").format(
        annotated=annotated,
        empty=empty,
        left=len(open_frames),
        suggested=len(suggested),
    )
    state = (
        _("version {version}").format(version=annotation.based_on) if annotation.based_on else _("not submitted")
    )
    if annotation.unsaved:
        state = _("not submitted")
    return f"{text} · {state} · {duration(annotation.seconds)}"


def not_offered_lines(info: ServerInfo) -> list[str]:
    """Files in the server's folder that are not cases, one line each, at most ``MAX_FILES``."""
    lines = [
        _("Skipped: {file}: {reason}").format(file=short_name(file), reason=reason)
        for file, reason in info.not_offered[:MAX_FILES]
    ]
    remaining = len(info.not_offered) - len(lines)
    return [*lines, _("Skipped: {count} more files").format(count=remaining)] if remaining else lines


def strip_tip(controller: CaseController, frame: int) -> str:
    """Tool tip of a frame in the quality strip."""
    annotation = controller.annotation
    if annotation is None:
        return ""
    quality = None if annotation.sweep.assessment is None else annotation.sweep.assessment.quality[frame]
    text = _("Frame {frame}").format(frame=frame)
    if annotation.sweep.padding[frame]:
        text += ", " + _("black padding")
    elif quality is None or np.isnan(quality):
        text += ", " + _("not assessed")
    else:
        text += ", " + _("quality {quality:.2f}").format(quality=quality)
    text = ", ".join([text, *_confidence(annotation.sweep, frame)])
    reason = annotation.sweep.reason_for(frame)
    return ", ".join(part for part in (text, reason, annotation.frame(frame).comment) if part)
