"""Interpolation of masks between two annotated frames; the results are proposals to be accepted frame by frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from FetalIQALib.client_errors import InvalidAction
from FetalIQALib.ellipse_measurement import Ellipse, main_part, measure, outline_points
from FetalIQALib.frame_annotations import ANNOTATED, EMPTY, INTERPOLATION, FrameAnnotation, Proposal
from FetalIQALib.frame_masks import Mask
from FetalIQALib.sweep_data import Sweep
from FetalIQALib.translation import _

MAX_GAP = 40  # frames; farther apart, a hand-held probe has left the plane
QUALITY_GONE = 0.1  # threshold of the assessment between frames with and without abdomen
ANGLES = 180  # directions in which the radius of an outline is sampled
GONE_RUN = 2  # consecutive empty frames; a single one may be a model error


@dataclass(frozen=True)
class Interpolation:
    """Interpolated masks by frame, and which frames were skipped and why."""

    masks: dict[int, Proposal]
    stopped: str = ""


def annotated_neighbours(
    frames: Mapping[int, FrameAnnotation], frame: int, limits: tuple[int, int]
) -> tuple[int, int]:
    """The nearest annotated frames before and after a frame within a sweep; the frame may be one of them.

    Raises:
        InvalidAction: if there are not two.
    """
    annotated = sorted(number for number, annotation in frames.items() if annotation.state == ANNOTATED)
    annotated = [number for number in annotated if limits[0] <= number < limits[1]]
    before = [number for number in annotated if number <= frame]
    after = [number for number in annotated if number > frame]
    if not before or not after:
        if len(before) > 1:
            return before[-2], before[-1]
        raise InvalidAction(_("Interpolation needs a mask before and after this frame, in the same sweep."))
    return before[-1], after[0]


def interpolate(sweep: Sweep, frames: Mapping[int, FrameAnnotation], first: int, last: int) -> Interpolation:
    """Masks for the frames between two annotated ones.

    From each side the masks continue only while the anatomy is visible: up to a frame labelled empty, or up to
    the first of ``GONE_RUN`` consecutive empty frames. Labelled frames are not changed.

    Raises:
        InvalidAction: if the frames are too far apart, or no ellipse fits their masks.
    """
    if last - first < 2:
        raise InvalidAction(_("There is no frame between {first} and {last}.").format(first=first, last=last))
    if last - first > MAX_GAP:
        raise InvalidAction(
            _("Frames {first} and {last} are {gap} frames apart (limit {limit}); outline one between.").format(
                first=first, last=last, gap=last - first, limit=MAX_GAP
            )
        )
    forward_ends = [frame for frame in range(first + 1, last) if _is_empty(sweep, frames, frame, last)]
    from_left = forward_ends[0] if forward_ends else last
    backward_ends = [
        frame for frame in range(first + 1, last) if _is_empty(sweep, frames, frame, last, backwards=True)
    ]
    from_right = backward_ends[-1] if backward_ends else first
    targets = [
        frame
        for frame in range(first + 1, last)
        if (frame < from_left or frame > from_right) and not sweep.padding[frame]
    ]
    start, stop = _mask(frames, first), _mask(frames, last)
    masks = {}
    for frame in targets:
        if frames.get(frame, FrameAnnotation()).labelled:
            continue
        mask = _blend(start, stop, (frame - first) / (last - first))
        if mask is not None:
            masks[frame] = Proposal(mask, INTERPOLATION)
    stopped = ""
    if forward_ends:
        stopped = _("Frames {first} to {last} were skipped: no {anatomy}.").format(
            first=from_left, last=from_right, anatomy=sweep.anatomy
        )
    if not masks:
        raise InvalidAction(stopped or _("All frames in between are already labelled."))
    return Interpolation(masks, stopped)


def _is_empty(
    sweep: Sweep, frames: Mapping[int, FrameAnnotation], frame: int, last: int, backwards: bool = False
) -> bool:
    """Whether the anatomy is not in a frame: labelled empty, or not found by the model in it and the next."""
    if frames.get(frame, FrameAnnotation()).state == EMPTY or sweep.padding[frame]:
        return True
    if sweep.assessment is None:
        return False
    run = [frame - step_frame if backwards else frame + step_frame for step_frame in range(GONE_RUN)]
    return all(
        0 <= neighbour < sweep.count and _not_found(sweep, neighbour) and _not_annotated(frames, neighbour)
        for neighbour in run
    )


def _not_found(sweep: Sweep, frame: int) -> bool:
    quality = sweep.assessment.assessed_quality(frame) if sweep.assessment is not None else np.nan
    return sweep.proposal(frame) is None and bool(quality < QUALITY_GONE)


def _not_annotated(frames: Mapping[int, FrameAnnotation], frame: int) -> bool:
    return frames.get(frame, FrameAnnotation()).state != ANNOTATED


def _mask(frames: Mapping[int, FrameAnnotation], frame: int) -> Mask:
    mask = frames[frame].mask
    if mask is None:
        raise InvalidAction(_("Frame {frame} has no mask.").format(frame=frame))
    return mask


def _blend(start: Mask, stop: Mask, fraction: float) -> Mask | None:
    """The mask at ``fraction`` (0 to 1) of the way between two masks.

    Each outline is described by its radius in every direction relative to its fitted ellipse. Ellipse parameters
    and radii are interpolated, so a mask that moves across the image moves instead of cross-fading.
    """
    ellipses = [_ellipse(start), _ellipse(stop)]
    ellipse = _moving(ellipses[0], ellipses[1], fraction)
    first, second = (_radii(mask, ellipse) for mask, ellipse in zip((start, stop), ellipses))
    radii = first * (1 - fraction) + second * fraction
    return Mask.of(_mask_of_radii(ellipse, radii, start.shape))


def _ellipse(mask: Mask) -> Ellipse:
    ellipse = measure(mask.full(), None).ellipse
    if ellipse is None:
        raise InvalidAction(_("Interpolation needs roughly elliptical masks."))
    return ellipse


def _moving(first: Ellipse, second: Ellipse, fraction: float) -> Ellipse:
    turn = (second.angle - first.angle + np.pi / 2) % np.pi - np.pi / 2  # the smaller rotation
    if min(first.a / first.b, second.a / second.b) < 1.1:
        turn = 0.0  # the orientation of a near-circle is not defined
    before = np.array([first.x, first.y, first.a, first.b])
    x, y, a, b = before + fraction * (np.array([second.x, second.y, second.a, second.b]) - before)
    return Ellipse(float(x), float(y), float(a), float(b), float((first.angle + fraction * turn) % np.pi))


def _radii(mask: Mask, ellipse: Ellipse) -> np.ndarray:
    """Radius of a mask's outline by direction, relative to its ellipse: float [ANGLES]."""
    part = main_part(mask.full())
    points, _inside = outline_points(mask.full() if part is None else part)
    x, y = points[:, 0] - ellipse.x, points[:, 1] - ellipse.y
    along = (x * np.cos(ellipse.angle) + y * np.sin(ellipse.angle)) / ellipse.a
    across = (y * np.cos(ellipse.angle) - x * np.sin(ellipse.angle)) / ellipse.b
    bins = (np.arctan2(across, along) / (2 * np.pi) * ANGLES).astype(int) % ANGLES
    total = np.bincount(bins, weights=np.hypot(along, across), minlength=ANGLES)
    number = np.bincount(bins, minlength=ANGLES)
    sampled = np.flatnonzero(number)
    return np.interp(np.arange(ANGLES), sampled, total[sampled] / number[sampled], period=ANGLES)


def _mask_of_radii(ellipse: Ellipse, radii: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """The mask with these relative radii around an ellipse: uint8 [H, W]."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    x, y = columns - ellipse.x, rows - ellipse.y
    along = (x * np.cos(ellipse.angle) + y * np.sin(ellipse.angle)) / ellipse.a
    across = (y * np.cos(ellipse.angle) - x * np.sin(ellipse.angle)) / ellipse.b
    turn = np.arctan2(across, along) / (2 * np.pi) * ANGLES
    limit = np.interp(turn.ravel(), np.arange(ANGLES) + 0.5, radii, period=ANGLES).reshape(shape)
    return (np.hypot(along, across) <= limit).astype(np.uint8)
