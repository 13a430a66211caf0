"""Navigation: the next frame to show."""

from __future__ import annotations

from FetalIQALib.case_controller import CaseController


def step_frame(controller: CaseController, by: int) -> int | None:
    """The frame ``by`` frames ahead, not counting padding, at most the last one; None at the end."""
    annotation = controller.annotation
    if annotation is None:
        return None
    frames = [frame for frame in range(annotation.sweep.count) if not annotation.sweep.padding[frame]]
    candidates = [
        frame for frame in frames if (frame > controller.position if by > 0 else frame < controller.position)
    ]
    if not candidates:
        return None
    ordered = candidates if by > 0 else candidates[::-1]
    return ordered[min(abs(by), len(ordered)) - 1]


def next_suggested(controller: CaseController, direction: int) -> int | None:
    """The next (``direction`` 1) or previous (-1) suggested frame, unlabelled ones first; None if there is none.

    Suggested are the frames of the strategy or the model, and those with a pending proposal.
    """
    annotation = controller.annotation
    if annotation is None:
        return None
    pending = {
        frame
        for frame, annotation in annotation.frames.items()
        if annotation.pending is not None and not annotation.labelled
    }
    suggested = {*annotation.sweep.suggestions(), *pending}
    undecided = {frame for frame in suggested if not annotation.frame(frame).labelled}
    for candidates in (undecided, suggested):
        ahead = sorted(
            frame
            for frame in candidates
            if (frame > controller.position if direction > 0 else frame < controller.position)
        )
        if ahead:
            return ahead[0] if direction > 0 else ahead[-1]
        others = sorted(candidates - {controller.position})
        if others and candidates is undecided:
            return others[0] if direction > 0 else others[-1]  # wrap around
    return None
