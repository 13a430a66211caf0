"""Click tool: takes clicks and boxes in the slice views, and shows them on the frame."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import slicer
import vtk

from FetalIQALib import display_colours
from FetalIQALib.click_session import Click, ClickSession
from FetalIQALib.image_sequence import mark_owned
from FetalIQALib.slice_clicks import SliceClicks, World
from FetalIQALib.translation import _

GLYPH_PERCENT = 4.0  # size of the marks, of the view
BOX_PERCENT = 2.0  # size of its corners, which the width of its lines follows
View = tuple[Any, Any, Callable[[], bool]]  # interactor, slice node, whether it shows the frames


class ClickTool:
    """Connects the clicks on a frame with the scene and its views.

    Args:
        scene: MRML scene.
        clicks: the clicks.
        volume: returns the volume of the current frame.
        views: returns the slice views.

    Attributes:
        switched: called with whether the tool is on, when that changes.
    """

    def __init__(
        self,
        scene: Any,
        clicks: ClickSession,
        volume: Callable[[], Any],
        views: Callable[[], Iterable[View]],
    ) -> None:
        self.scene = scene
        self.clicks = clicks
        self.nodes: dict[str, Any] = {}
        self.switched: Callable[[bool], None] = lambda on: None
        self._volume = volume
        self._views = views
        self._on = False
        self._mouse = SliceClicks(self._clicked, self._dragged)
        clicks.changed = self.update
        clicks.controller.session.add_listener(self._on_change)

    def toggle(self) -> bool:
        """Start or end the tool; returns whether it is on."""
        if not self.clicks.stop():
            self.clicks.start()
        return self.clicks.active

    def update(self) -> None:
        """Show the clicks; follow the start and end of the session."""
        if self.clicks.active != self._on:
            self._on = self.clicks.active
            self._mouse.end()
            if self._on:
                for interactor, slice_node, shows_frames in self._views():
                    self._mouse.observe(interactor, slice_node, shows_frames)
            self.switched(self._on)
        if not self._on:
            self._remove()
            return
        clicks = self.clicks.clicks()
        points = [(click.point, click.positive) for click in clicks if click.point is not None]
        self._show(self._points("positive"), [point for point, positive in points if positive])
        self._show(self._points("negative"), [point for point, positive in points if not positive])
        box = next((click.box for click in reversed(clicks) if click.box is not None), None)
        self._show_box(box)

    # -- mouse --------------------------------------------------------------------------------------

    def _clicked(self, position: World, modified: bool) -> None:
        self.clicks.add(Click(self._pixel(position), positive=not modified))

    def _dragged(self, start: World, position: World, released: bool) -> None:
        annotation = self.clicks.controller.annotation
        if annotation is None:
            return
        rows, columns = annotation.sweep.shape
        (x1, y1), (x2, y2) = self._pixel(start), self._pixel(position)
        left, right = (min(max(x, 0.0), columns - 1.0) for x in sorted((x1, x2)))
        top, bottom = (min(max(y, 0.0), rows - 1.0) for y in sorted((y1, y2)))
        if not released:
            self._show_box((left, top, right, bottom))
        elif right - left >= 1 and bottom - top >= 1:
            self.clicks.add(Click(box=(left, top, right, bottom)))
        else:
            self.update()

    def _pixel(self, position: World) -> tuple[float, float]:
        matrix = vtk.vtkMatrix4x4()
        self._volume().GetIJKToRASMatrix(matrix)
        matrix.Invert()
        column, row, _slice, _one = matrix.MultiplyPoint((*position, 1.0))
        return (column, row)

    # -- display ------------------------------------------------------------------------------------

    def _on_change(self, topic: str) -> None:
        if self._on and topic == "case":  # the volume may have been made again, with another spacing
            self.update()

    def _points(self, name: str) -> Any:
        node = self.nodes.get(name)
        if node is None or node.GetScene() is not self.scene:
            titles = {"positive": _("Clicks inside"), "negative": _("Clicks outside")}
            node = self._node("vtkMRMLMarkupsFiducialNode", titles[name])
            display = node.GetDisplayNode()
            positive = name == "positive"
            colour = display_colours.CLICK_IN if positive else display_colours.CLICK_OUT
            display.SetColor(*display_colours.unit_rgb(colour))
            display.SetSelectedColor(*display_colours.unit_rgb(colour))
            display.SetGlyphType(display.ThickCross2D if positive else display.Dash2D)
            display.SetGlyphScale(GLYPH_PERCENT)
            self.nodes[name] = node
        return node

    def _show_box(self, box: tuple[float, float, float, float] | None) -> None:
        node = self.nodes.get("box")
        if node is None or node.GetScene() is not self.scene:
            if box is None:
                return
            node = self._node("vtkMRMLMarkupsClosedCurveNode", _("Box"))
            node.SetCurveTypeToLinear()
            display = node.GetDisplayNode()
            display.SetColor(*display_colours.unit_rgb(display_colours.CLICK_IN))
            display.SetSelectedColor(*display_colours.unit_rgb(display_colours.CLICK_IN))
            display.SetGlyphScale(BOX_PERCENT)
            self.nodes["box"] = node
        corners = []
        if box is not None:
            left, top, right, bottom = box
            corners = [(left, top), (right, top), (right, bottom), (left, bottom)]
        self._show(node, corners)

    def _node(self, kind: str, name: str) -> Any:
        node = mark_owned(self.scene.AddNewNodeByClass(kind, name))
        node.SetSaveWithScene(False)
        node.SetHideFromEditors(True)
        node.SetLocked(True)  # the mouse is this tool's
        node.CreateDefaultDisplayNodes()
        display = node.GetDisplayNode()
        display.SetPointLabelsVisibility(False)
        display.SetPropertiesLabelVisibility(False)
        display.SetVisibility3D(False)
        return node

    def _show(self, node: Any, points: list[tuple[float, float]]) -> None:
        matrix = vtk.vtkMatrix4x4()
        self._volume().GetIJKToRASMatrix(matrix)
        world = [matrix.MultiplyPoint((column, row, 0.0, 1.0))[:3] for column, row in points]
        if node.GetNumberOfControlPoints() == len(world):
            for number, position in enumerate(world):
                node.SetNthControlPointPositionWorld(number, *position)
            return
        node.RemoveAllControlPoints()
        for position in world:
            node.AddControlPointWorld(vtk.vtkVector3d(*position))

    def _remove(self) -> None:
        for node in self.nodes.values():
            if node.GetScene() is self.scene:
                self.scene.RemoveNode(node)
        self.nodes = {}


def slice_views(volume: Callable[[], Any]) -> list[View]:
    """The slice views of the running application."""
    manager = slicer.app.layoutManager()
    views: list[View] = []
    for name in [] if manager is None else manager.sliceViewNames():
        widget = manager.sliceWidget(name)
        composite = widget.mrmlSliceCompositeNode()

        def shows_frames(composite: Any = composite) -> bool:
            return volume() is not None and composite.GetBackgroundVolumeID() == volume().GetID()

        views.append((widget.sliceView().interactor(), widget.mrmlSliceNode(), shows_frames))
    return views
