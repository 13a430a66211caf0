"""Ellipse tool: a mask from the end points of two axes, placed as markups."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import vtk

from FetalIQALib.ellipse_measurement import Ellipse
from FetalIQALib.image_sequence import mark_owned
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


class EllipseTool:
    """Lets the user place four points in the image.

    Args:
        scene: MRML scene.
        done: called with the ellipse in pixels, or None if the points do not define one.
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

    @property
    def canceled(self) -> bool:
        """Whether the user left place mode (Esc, or another mouse mode) before all points were placed."""
        interaction = self.scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        return (
            self.active
            and interaction is not None
            and interaction.GetCurrentInteractionMode() != interaction.Place
            and self.node.GetNumberOfDefinedControlPoints() < POINTS
        )

    def start(self, volume: Any) -> None:
        """Start placing: both ends of the first axis, then both ends of the second."""
        self.stop()
        volume.GetIJKToRASMatrix(self._matrix)
        self._matrix.Invert()
        self.node = mark_owned(self.scene.AddNewNodeByClass("vtkMRMLMarkupsFiducialNode", _("Axis")))
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
        """Cancel placing."""
        interaction = self.scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        if self.node is not None and interaction is not None:
            interaction.SetPlaceModePersistence(0)
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)
        if self.active:
            self.scene.RemoveNode(self.node)
        self.node = None

    def finish(self) -> None:
        """Return the ellipse after all points are placed; called by the timer.

        Not called in the event of the last point, because Slicer is still processing it.
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
