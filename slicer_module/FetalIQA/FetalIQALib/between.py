"""Masks between two masks of a person: proposals, which somebody still has to accept frame by frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from FetalIQALib.decisions import ANNOTATED, EMPTY, INTERPOLATION, Frame, Proposal
from FetalIQALib.failures import NotPossible
from FetalIQALib.masks import Mask
from FetalIQALib.outline import Ellipse, main_part, measure, outline_points
from FetalIQALib.sweep import Sweep
from FetalIQALib.texts import _

MAX_GAP = 40  # frames; a hand-held probe has left the plane long before
QUALITY_GONE = 0.1  # the assessment's own border between positive and negative frames
ANGLES = 180  # directions in which the distance of an outline from its centre is described
GONE_RUN = 2  # frames in a row without abdomen; a single one may be the model's slip


@dataclass(frozen=True)
class Between:
    """Interpolated masks by frame, and where and why the interpolation stopped."""

    masks: dict[int, Proposal]
    stopped: str = ""


def corrected_neighbours(frames: Mapping[int, Frame], frame: int, limits: tuple[int, int]) -> tuple[int, int]:
    """The annotated frames around a frame (which may be one of them), within a sweep.

    Raises:
        NotPossible: when there are no two.
    """
    annotated = sorted(number for number, one in frames.items() if one.state == ANNOTATED)
    annotated = [number for number in annotated if limits[0] <= number < limits[1]]
    before = [number for number in annotated if number <= frame]
    after = [number for number in annotated if number > frame]
    if not before or not after:
        if len(before) > 1:
            return before[-2], before[-1]
        raise NotPossible(_("Interpolating needs an annotated frame on both sides, in the same sweep."))
    return before[-1], after[0]


def interpolate(sweep: Sweep, frames: Mapping[int, Frame], first: int, last: int) -> Between:
    """Masks for the frames between two annotated ones.

    From each side it goes on only as far as the abdomen is there: it stops at a frame that a person called empty,
    and at the first of two frames in a row where the model sees none. Frames that are decided stay as they are.

    Raises:
        NotPossible: when the two are too far apart, or no ellipse fits their masks.
    """
    if last - first < 2:
        raise NotPossible(_("There is no frame between {first} and {last}.").format(first=first, last=last))
    if last - first > MAX_GAP:
        raise NotPossible(
            _("Frames {first} and {last} are {gap} apart; outline one between them (at most {limit}).").format(
                first=first + 1, last=last + 1, gap=last - first, limit=MAX_GAP
            )
        )
    gone = [frame for frame in range(first + 1, last) if _gone(sweep, frames, frame, last)]
    from_left = gone[0] if gone else last
    ends = [frame for frame in range(first + 1, last) if _gone(sweep, frames, frame, last, backwards=True)]
    from_right = ends[-1] if ends else first
    wanted = [
        frame
        for frame in range(first + 1, last)
        if (frame < from_left or frame > from_right) and not sweep.padding[frame]
    ]
    start, stop = _mask(frames, first), _mask(frames, last)
    masks = {}
    for frame in wanted:
        if frames.get(frame, Frame()).decided:
            continue
        mask = _blend(start, stop, (frame - first) / (last - first))
        if mask is not None:
            masks[frame] = Proposal(mask, INTERPOLATION)
    stopped = ""
    if gone:
        stopped = _("Stopped where the abdomen leaves: nothing for frames {first} to {last}.").format(
            first=from_left + 1, last=from_right + 1
        )
    if not masks:
        raise NotPossible(stopped or _("All frames between are decided already."))
    return Between(masks, stopped)


def _gone(sweep: Sweep, frames: Mapping[int, Frame], frame: int, last: int, backwards: bool = False) -> bool:
    """Whether the abdomen is gone at a frame: a person says so, or the model does for it and the next one."""
    if frames.get(frame, Frame()).state == EMPTY or sweep.padding[frame]:
        return True
    if sweep.assessment is None:
        return False
    run = [frame - step if backwards else frame + step for step in range(GONE_RUN)]
    return all(0 <= one < sweep.count and _unseen(sweep, one) and _undecided(frames, one) for one in run)


def _unseen(sweep: Sweep, frame: int) -> bool:
    quality = sweep.assessment.seen_quality(frame) if sweep.assessment is not None else np.nan
    return sweep.proposal(frame) is None and bool(quality < QUALITY_GONE)


def _undecided(frames: Mapping[int, Frame], frame: int) -> bool:
    return frames.get(frame, Frame()).state != ANNOTATED


def _mask(frames: Mapping[int, Frame], frame: int) -> Mask:
    mask = frames[frame].mask
    if mask is None:
        raise NotPossible(_("Frame {frame} has no mask.").format(frame=frame))
    return mask


def _blend(start: Mask, stop: Mask, share: float) -> Mask | None:
    """A mask on the way from one to the other.

    Each outline is described by its distance from its own ellipse's centre in every direction, in units of that
    ellipse. The ellipse moves, grows and turns from one to the other, and the distances are blended: what moves
    across the picture moves, and does not become an overlap of both.
    """
    ellipses = [_ellipse(start), _ellipse(stop)]
    moving = _moving(ellipses[0], ellipses[1], share)
    first, second = (_reach(mask, ellipse) for mask, ellipse in zip((start, stop), ellipses))
    reach = first * (1 - share) + second * share
    return Mask.of(_star(moving, reach, start.shape))


def _ellipse(mask: Mask) -> Ellipse:
    found = measure(mask.full(), None).ellipse
    if found is None:
        raise NotPossible(_("Interpolating needs masks that are roughly elliptic."))
    return found


def _moving(first: Ellipse, second: Ellipse, share: float) -> Ellipse:
    turn = (second.angle - first.angle + np.pi / 2) % np.pi - np.pi / 2  # the shorter way round
    if min(first.a / first.b, second.a / second.b) < 1.1:
        turn = 0.0  # the direction of a circle means nothing
    before = np.array([first.x, first.y, first.a, first.b])
    x, y, a, b = before + share * (np.array([second.x, second.y, second.a, second.b]) - before)
    return Ellipse(float(x), float(y), float(a), float(b), float((first.angle + share * turn) % np.pi))


def _reach(mask: Mask, own: Ellipse) -> np.ndarray:
    """How far a mask's outline is from its ellipse's centre, in units of it, by direction: float [ANGLES]."""
    part = main_part(mask.full())
    points, _inside = outline_points(mask.full() if part is None else part)
    x, y = points[:, 0] - own.x, points[:, 1] - own.y
    along = (x * np.cos(own.angle) + y * np.sin(own.angle)) / own.a
    across = (y * np.cos(own.angle) - x * np.sin(own.angle)) / own.b
    sector = (np.arctan2(across, along) / (2 * np.pi) * ANGLES).astype(int) % ANGLES
    total = np.bincount(sector, weights=np.hypot(along, across), minlength=ANGLES)
    number = np.bincount(sector, minlength=ANGLES)
    known = np.flatnonzero(number)
    return np.interp(np.arange(ANGLES), known, total[known] / number[known], period=ANGLES)


def _star(moving: Ellipse, reach: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The shape with these distances around an ellipse: uint8 [H, W]."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    x, y = columns - moving.x, rows - moving.y
    along = (x * np.cos(moving.angle) + y * np.sin(moving.angle)) / moving.a
    across = (y * np.cos(moving.angle) - x * np.sin(moving.angle)) / moving.b
    turn = np.arctan2(across, along) / (2 * np.pi) * ANGLES
    limit = np.interp(turn.ravel(), np.arange(ANGLES) + 0.5, reach, period=ANGLES).reshape(shape)
    return (np.hypot(along, across) <= limit).astype(np.uint8)
