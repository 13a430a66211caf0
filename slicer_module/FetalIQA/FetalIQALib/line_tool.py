"""Line tool: a mask from the two ends of a bone, which stay as a markups line and can be dragged."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import vtk

from FetalIQALib.image_sequence import mark_owned
from FetalIQALib.line_measurement import Line
from FetalIQALib.translation import _

POINTS = 2
MIN_LENGTH = 4.0  # pixels; a shorter line is not kept
MOVED = 0.05  # pixels; less is rounding


class LineTool:
    """Lets the user place and drag the two ends of a line in the image.

    Args:
        scene: MRML scene.
        done: called with the line in pixels whenever it was placed or moved.
    """

    def __init__(self, scene: Any, done: Callable[[Line], None]) -> None:
        self.scene = scene
        self.node: Any = None
        self._done = done
        self._to_pixels, self._to_world = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
        self._kept: Line | None = None
        self._seen: Line | None = None

    @property
    def active(self) -> bool:
        """Whether the line is in the scene."""
        return self.node is not None and self.node.GetScene() is self.scene

    @property
    def canceled(self) -> bool:
        """Whether the user left place mode (Esc, or another mouse mode) before both ends were placed."""
        interaction = self.scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        return (
            self.active
            and interaction is not None
            and interaction.GetCurrentInteractionMode() != interaction.Place
            and self.node.GetNumberOfDefinedControlPoints() < POINTS
        )

    def start(self, volume: Any, line: Line | None) -> None:
        """Show a line to be dragged; None: its ends are placed first."""
        self.stop()
        volume.GetIJKToRASMatrix(self._to_world)
        self._to_pixels.DeepCopy(self._to_world)
        self._to_pixels.Invert()
        self.node = mark_owned(self.scene.AddNewNodeByClass("vtkMRMLMarkupsLineNode", _("Line")))
        self.node.SetSaveWithScene(False)
        if line is not None:
            for x, y in ((line.x1, line.y1), (line.x2, line.y2)):
                self.node.AddControlPointWorld(self._to_world.MultiplyPoint((x, y, 0.0, 1.0))[:3])
            self._kept = self._seen = line
            return
        selection = self.scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
        interaction = self.scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        if selection is not None and interaction is not None:
            selection.SetReferenceActivePlaceNodeClassName("vtkMRMLMarkupsLineNode")
            selection.SetActivePlaceNodeID(self.node.GetID())
            interaction.SetPlaceModePersistence(1)
            interaction.SetCurrentInteractionMode(interaction.Place)

    def stop(self) -> None:
        """Remove the line; the mask stays."""
        self._leave_place_mode()
        if self.active:
            self.scene.RemoveNode(self.node)
        self.node = self._kept = self._seen = None

    def finish(self) -> None:
        """Hand over a line that was placed or moved and is at rest; called by the timer.

        At rest means that it is where it was at the call before, so that a drag is one action.
        """
        if not self.active or self.node.GetNumberOfDefinedControlPoints() < POINTS:
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

    def _leave_place_mode(self) -> None:
        interaction = self.scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
        if self.node is not None and interaction is not None:
            interaction.SetPlaceModePersistence(0)
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)

    def _pixel(self, number: int) -> tuple[float, float]:
        position = [0.0, 0.0, 0.0]
        self.node.GetNthControlPointPositionWorld(number, position)
        column, row, _slice, _one = self._to_pixels.MultiplyPoint((*position, 1.0))
        return (column, row)


def _distance(one: Line, other: Line | None) -> float:
    """Largest change of a coordinate, pixels."""
    if other is None:
        return float("inf")
    return max(abs(getattr(one, name) - getattr(other, name)) for name in ("x1", "y1", "x2", "y2"))
