"""Line tool: a mask from the two ends of a bone, which stay as a markups line and can be dragged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from FetalIQALib.line_measurement import Line
from FetalIQALib.point_tool import PointTool
from FetalIQALib.translation import _

POINTS = 2
MIN_LENGTH = 4.0  # pixels; a shorter line is not kept
MOVED = 0.05  # pixels; less is rounding


class LineTool(PointTool):
    """Lets the user place and drag the two ends of a line in the image.

    Args:
        scene: MRML scene.
        done: called with the line in pixels whenever it was placed or moved.
    """

    def __init__(self, scene: Any, done: Callable[[Line], None]) -> None:
        super().__init__(scene, POINTS)
        self._done = done
        self._kept: Line | None = None
        self._seen: Line | None = None

    def start(self, volume: Any, line: Line | None) -> None:
        """Show a line to be dragged; None: its ends are placed first."""
        self.stop()
        self._add_node(volume, "vtkMRMLMarkupsLineNode", _("Line"))
        if line is None:
            self._place()
            return
        for x, y in ((line.x1, line.y1), (line.x2, line.y2)):
            self.node.AddControlPointWorld(self._to_world.MultiplyPoint((x, y, 0.0, 1.0))[:3])
        self._kept = self._seen = line

    def stop(self) -> None:
        """Remove the line; the mask stays."""
        super().stop()
        self._kept = self._seen = None

    def finish(self) -> None:
        """Hand over a line that was placed or moved and is at rest; called by the timer.

        At rest means that it is where it was at the call before, so that a drag is one action.
        """
        if not self.active or not self._placed():
            return
        line = Line.between(self._pixel(0), self._pixel(1))
        placed = self._kept is None
        resting = placed or (self._seen is not None and _distance(line, self._seen) < MOVED)
        self._seen = line
        if not resting or line.length < MIN_LENGTH or (not placed and _distance(line, self._kept) < MOVED):
            return
        if placed:
            self._leave_place_mode()
        self._kept = line
        self._done(line)


def _distance(one: Line, other: Line | None) -> float:
    """Largest change of a coordinate, pixels."""
    if other is None:
        return float("inf")
    return max(abs(getattr(one, name) - getattr(other, name)) for name in ("x1", "y1", "x2", "y2"))
