"""What the tools for ellipses and lines share: points of a markups node, placed by the user in the image."""

from __future__ import annotations

from typing import Any

import vtk

from FetalIQALib.image_sequence import mark_owned


class PointTool:
    """A markups node whose points the user places.

    Args:
        scene: MRML scene.
        points: how many the user places.
    """

    def __init__(self, scene: Any, points: int) -> None:
        self.scene = scene
        self.node: Any = None
        self._points = points
        self._to_pixels, self._to_world = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()

    @property
    def active(self) -> bool:
        """Whether the node is in the scene."""
        return self.node is not None and self.node.GetScene() is self.scene

    @property
    def canceled(self) -> bool:
        """Whether the user left place mode (Esc, or another mouse mode) before all points were placed."""
        interaction = self._interaction()
        return (
            self.active
            and interaction is not None
            and interaction.GetCurrentInteractionMode() != interaction.Place
            and not self._placed()
        )

    def stop(self) -> None:
        """Remove the points."""
        self._leave_place_mode()
        if self.active:
            self.scene.RemoveNode(self.node)
        self.node = None

    def _add_node(self, volume: Any, kind: str, name: str) -> None:
        """Add the node, of a class of markups, for points in the pixels of a volume."""
        volume.GetIJKToRASMatrix(self._to_world)
        self._to_pixels.DeepCopy(self._to_world)
        self._to_pixels.Invert()
        self.node = mark_owned(self.scene.AddNewNodeByClass(kind, name))
        self.node.SetSaveWithScene(False)

    def _place(self) -> None:
        """Let the user place the points."""
        selection = self.scene.GetNodeByID("vtkMRMLSelectionNodeSingleton")
        interaction = self._interaction()
        if selection is not None and interaction is not None:
            selection.SetReferenceActivePlaceNodeClassName(self.node.GetClassName())
            selection.SetActivePlaceNodeID(self.node.GetID())
            interaction.SetPlaceModePersistence(1)
            interaction.SetCurrentInteractionMode(interaction.Place)

    def _placed(self) -> bool:
        """Whether all points are placed."""
        return self.node.GetNumberOfDefinedControlPoints() >= self._points

    def _leave_place_mode(self) -> None:
        interaction = self._interaction()
        if self.node is not None and interaction is not None:
            interaction.SetPlaceModePersistence(0)
            interaction.SetCurrentInteractionMode(interaction.ViewTransform)

    def _interaction(self) -> Any:
        return self.scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")

    def _pixel(self, number: int) -> tuple[float, float]:
        """Column and row of a point."""
        position = [0.0, 0.0, 0.0]
        self.node.GetNthControlPointPositionWorld(number, position)
        column, row, _slice, _one = self._to_pixels.MultiplyPoint((*position, 1.0))
        return (column, row)
