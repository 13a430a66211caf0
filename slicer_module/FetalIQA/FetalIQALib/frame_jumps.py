"""Which frame comes next."""

from __future__ import annotations

from FetalIQALib.desk import Desk


def step(desk: Desk, by: int) -> int | None:
    """The frame ``by`` frames on, past black padding, or the last one on that side; None at the end."""
    work = desk.work
    if work is None:
        return None
    frames = [frame for frame in range(work.sweep.count) if not work.sweep.padding[frame]]
    way = [frame for frame in frames if (frame > desk.position if by > 0 else frame < desk.position)]
    if not way:
        return None
    ordered = way if by > 0 else way[::-1]
    return ordered[min(abs(by), len(ordered)) - 1]


def next_of(desk: Desk, way: int) -> int | None:
    """The next frame to look at (``way`` 1) or the one before (-1), undecided ones first; None when none is left.

    These are the strategy's or the model's suggestions, and interpolated masks that wait to be accepted.
    """
    work = desk.work
    if work is None:
        return None
    waiting = {frame for frame, one in work.frames.items() if one.between is not None and not one.decided}
    suggested = {*work.sweep.suggestions(), *waiting}
    undecided = {frame for frame in suggested if not work.frame(frame).decided}
    for wanted in (undecided, suggested):
        ahead = sorted(frame for frame in wanted if (frame > desk.position if way > 0 else frame < desk.position))
        if ahead:
            return ahead[0] if way > 0 else ahead[-1]
        others = sorted(wanted - {desk.position})
        if others and wanted is undecided:
            return others[0] if way > 0 else others[-1]  # round again: nothing is left out
    return None
