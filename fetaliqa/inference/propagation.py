"""A mask carried along a sweep: the previous frame's mask prompts the next frame, until the anatomy leaves.

Carried masks are proposals. A frame ends a direction, and gets no mask, when its mask is expected to be poor, or
its area differs too much from the masks before.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from fetaliqa.errors import OptionError
from fetaliqa.inference.interactive_segmentation import EncodedFrame, InteractiveSegmenter, Prompts

Direction = Literal["both", "forward", "backward"]
Reason = Literal["anatomy left", "area changed", "end of sweep", "limit", "low expected Dice"]

DIRECTIONS: tuple[Direction, ...] = ("both", "forward", "backward")
DEFAULT_LIMIT = 60  # frames in each direction
MAX_LIMIT = 1000


@dataclass(frozen=True)
class StopRule:
    """When a direction ends.

    Attributes:
        least_dice: expected Dice below which a frame gets no mask.
        gone_dice: expected Dice below which the anatomy is said to have left.
        most_change: largest ratio of a mask's area to that of the frame before, either way.
        most_drift: largest ratio of a mask's area to that of the first mask, either way.
    """

    least_dice: float = 0.7
    gone_dice: float = 0.4
    most_change: float = 1.35
    most_drift: float = 2.5


@dataclass(frozen=True, eq=False)
class CarriedMask:
    """A mask carried to a frame: its number, the mask (uint8 [H, W]) and the Dice that it is expected to have."""

    frame: int
    mask: np.ndarray
    expected_dice: float


@dataclass(frozen=True)
class Stopped:
    """The first frame of a direction that got no mask, and why; at a sweep's end, the last frame that got one."""

    frame: int
    reason: Reason


@dataclass(frozen=True, eq=False)
class Propagation:
    """Carried masks in the order of their frames, without the first one, and where each direction ended."""

    frames: list[CarriedMask]
    stopped: dict[str, Stopped]


def propagate(
    segmenter: InteractiveSegmenter,
    encoded: Callable[[int], EncodedFrame | None],
    start: int,
    mask: np.ndarray,
    bounds: tuple[int, int],
    *,
    direction: Direction = "both",
    limit: int = DEFAULT_LIMIT,
    rule: StopRule | None = None,
    stop: Callable[[], None] = lambda: None,
) -> Propagation:
    """Carry a mask to the frames after and before it.

    Args:
        segmenter: of the masks.
        encoded: encodes a frame by its number; None for a black slot, which ends the sweep.
        start: frame of the mask.
        mask: [H, W] of that frame, non-zero inside.
        bounds: half-open range of the frames of its sweep.
        direction: both ways, or one.
        limit: most frames in each direction.
        rule: when a direction ends; None for the default.
        stop: called before each frame; raises to end the work.

    Raises:
        OptionError: when the mask is empty or of another size, or an option is out of range.
    """
    if direction not in DIRECTIONS:
        raise OptionError(f"direction {str(direction)[:40]!r}: one of {', '.join(DIRECTIONS)} is needed")
    if not 1 <= limit <= MAX_LIMIT:
        raise OptionError(f"limit {limit}: 1 to {MAX_LIMIT} frames in each direction are accepted")
    if not mask.any():
        raise OptionError("mask: it is empty, so there is nothing to carry along")
    rule = rule or StopRule()
    found: list[CarriedMask] = []
    stopped: dict[str, Stopped] = {}
    for name, step in (("forward", 1), ("backward", -1)):
        if direction in ("both", name):
            carried, stopped[name] = _one_way(segmenter, encoded, start, mask, bounds, step, limit, rule, stop)
            found += carried
    return Propagation(sorted(found, key=lambda one: one.frame), stopped)


def _one_way(
    segmenter: InteractiveSegmenter,
    encoded: Callable[[int], EncodedFrame | None],
    start: int,
    mask: np.ndarray,
    bounds: tuple[int, int],
    step: int,
    limit: int,
    rule: StopRule,
    stop: Callable[[], None],
) -> tuple[list[CarriedMask], Stopped]:
    carried: list[CarriedMask] = []
    first = previous = int((mask != 0).sum())
    current = mask
    frame = start
    while len(carried) < limit:
        frame += step
        stop()
        target = encoded(frame) if bounds[0] <= frame < bounds[1] else None
        if target is None:
            return carried, Stopped(frame - step, "end of sweep")
        answer = segmenter.segment(target, Prompts(mask=current))
        reason = why_stop(answer.area_px, previous, first, answer.expected_dice, rule)
        if reason is not None:
            return carried, Stopped(frame, reason)
        carried.append(CarriedMask(frame, answer.mask, answer.expected_dice))
        current, previous = answer.mask, answer.area_px
    return carried, Stopped(frame, "limit")


def why_stop(area: int, previous: int, first: int, dice: float, rule: StopRule) -> Reason | None:
    """Why a frame gets no mask; None when it gets one.

    Args:
        area, previous, first: pixels of its mask, of that of the frame before, and of the first one.
        dice: that its mask is expected to have.
        rule: when a direction ends.
    """
    if not area or dice < rule.gone_dice:
        return "anatomy left"
    if dice < rule.least_dice:
        return "low expected Dice"
    change, drift = (abs(math.log(area / before)) for before in (previous, first))
    if change > math.log(rule.most_change) or drift > math.log(rule.most_drift):
        return "area changed"
    return None
