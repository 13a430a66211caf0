"""Placing a mask by the four ends of two axes, with Slicer's markups."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import vtk

from FetalIQALib.frames_view import own
from FetalIQALib.outline import Ellipse
from FetalIQALib.texts import _

POINTS = 4
MIN_AXIS = 2.0  # pixels; less is a slip of the hand


def ellipse_of_axes(ends: Sequence[tuple[float, float]]) -> Ellipse | None:
    """The ellipse whose first axis ends at the first two points, and whose other one is as long as the way between
    the last two across it; None when an axis is shorter than two pixels.

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
    # the other axis may have been placed a little off the middle of the first: meet half-way across it
    shift = ((y3 + y4) / 2 - y) * along - ((x3 + x4) / 2 - x) * down
    x, y = x - shift * down, y + shift * along
    angle = math.atan2(down, along)
    if second > first:
        return Ellipse(x, y, second / 2, first / 2, (angle + math.pi / 2) % math.pi)
    return Ellipse(x, y, first / 2, second / 2, angle % math.pi)


class EllipseTool:
    """Asks for four points in the image.

    Args:
        scene: MRML scene.
        done: gets the ellipse in pixels, or None when the points make none.
    """

    def __init__(self, scene: Any, done: Callable[[Ellipse | None], None]) -> None:
        self.scene = scene
        self.node: Any = None
        self._done = done
        self._matrix = vtk.vtkMatrix4x4()

    @property
    def active(self) -> bool:
        """Whether points are being placed."""
        return self.node is not None and self.node.GetScene() is self.scene

    def start(self, volume: Any) -> None:
        """Let the user place the ends of the first axis, then those of the other."""
        self.stop()
        volume.GetIJKToRASMatrix(self._matrix)
        self._matrix.Invert()
        self.node = own(self.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", _("Axis")))
        self.node.SetSaveWithScene(False)
        self.node.SetMaximumNumberOfControlPoints(POINTS)
        selection = self.scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
        interaction = self.scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        if selection is not None and interaction is not None:
            selection.SetReferenceActivePlaceNodeClassName("vtkMRMLMarkupsFiducialNode")
            selection.SetActivePlaceNodeID(self.node.GetID())
            interaction.SetPlaceModePersistence(1)
            interaction.SetCurrentInteractionMode(interaction.Place)

    def stop(self) -> None:
        """Give up placing."""
        interaction = self.scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        if self.node is not None and interaction is not None:
            interaction.SetPlaceModePersistence(0)
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)
        if self.active:
            self.scene.RemoveNode(self.node)
        self.node = None

    def finish(self) -> None:
        """Hand the ellipse over once all points are placed; the timer calls it.

        Not done in the event of the last point: Slicer is still at work on that point then.
        """
        if not self.active or self.node.GetNumberOfDefinedControlPoints() < POINTS:
            return
        points = [self._pixel(number) for number in range(POINTS)]
        self.stop()
        self._done(ellipse_of_axes(points))

    def _pixel(self, number: int) -> tuple[float, float]:
        position = [0.0, 0.0, 0.0]
        self.node.GetNthControlPointPositionWorld(number, position)
        column, row, _slice, _one = self._matrix.MultiplyPoint((*position, 1.0))
        return (column, row)
