"""Ellipse tool: a mask from the end points of two axes, placed as markups."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from FetalIQALib.ellipse_measurement import Ellipse
from FetalIQALib.point_tool import PointTool
from FetalIQALib.translation import _

POINTS = 4
MIN_AXIS = 2.0  # pixels; shorter axes are rejected


def ellipse_of_axes(ends: Sequence[tuple[float, float]]) -> Ellipse | None:
    """The ellipse with the first two points as ends of one axis; the other axis is as long as the
    last two points' distance across it. None if an axis is shorter than two pixels.

    Args:
        ends: four (column, row) points.
    """
    (x1, y1), (x2, y2), (x3, y3), (x4, y4) = ends
    first = math.hypot(x2 - x1, y2 - y1)
    if first < MIN_AXIS:
        return None
    along, down = (x2 - x1) / first, (y2 - y1) / first
    second = abs((y4 - y3) * along - (x4 - x3) * down)
    if second < MIN_AXIS:
        return None
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    # the second axis need not be centred on the first: shift the centre across the first axis
    shift = ((y3 + y4) / 2 - y) * along - ((x3 + x4) / 2 - x) * down
    x, y = x - shift * down, y + shift * along
    angle = math.atan2(down, along)
    if second > first:
        return Ellipse(x, y, second / 2, first / 2, (angle + math.pi / 2) % math.pi)
    return Ellipse(x, y, first / 2, second / 2, angle % math.pi)


class EllipseTool(PointTool):
    """Lets the user place four points in the image.

    Args:
        scene: MRML scene.
        done: called with the ellipse in pixels, or None if the points do not define one.
    """

    def __init__(self, scene: Any, done: Callable[[Ellipse | None], None]) -> None:
        super().__init__(scene, POINTS)
        self._done = done

    def start(self, volume: Any) -> None:
        """Start placing: both ends of the first axis, then both ends of the second."""
        self.stop()
        self._add_node(volume, "vtkMRMLMarkupsFiducialNode", _("Axis"))
        self.node.SetMaximumNumberOfControlPoints(POINTS)
        self._place()

    def finish(self) -> None:
        """Return the ellipse after all points are placed; called by the timer.

        Not called in the event of the last point, because Slicer is still processing it.
        """
        if not self.active or not self._placed():
            return
        points = [self._pixel(number) for number in range(POINTS)]
        self.stop()
        self._done(ellipse_of_axes(points))
