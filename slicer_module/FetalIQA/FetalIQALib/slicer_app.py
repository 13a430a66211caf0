"""Access to the running application: views, plot and Segment Editor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer

from FetalIQALib.mask_overlay import ABDOMEN
from FetalIQALib.slice_wheel import SliceWheel
from FetalIQALib.sweep_scene import SweepScene

EFFECTS = ("Paint", "Erase", "Draw", "Scissors", "Smoothing", "Margin", "Islands")
PLOT_LAYOUT = 7413  # id of the layout below; Slicer's own are smaller than 100
PLOT_LAYOUT_XML = """
<layout type="vertical" split="true">
 <item splitSize="650"><view class="vtkMRMLSliceNode" singletontag="Red">
  <property name="orientation" action="default">Axial</property>
  <property name="viewlabel" action="default">R</property>
  <property name="viewcolor" action="default">#F34A33</property>
 </view></item>
 <item splitSize="350"><view class="vtkMRMLPlotViewNode" singletontag="PlotView1">
  <property name="viewlabel" action="default">P</property>
 </view></item>
</layout>
"""
SELECTED = "dataSelected(vtkStringArray*, vtkCollection*)"  # signal of the plot view


def state_folder() -> Path:
    """Folder of unsubmitted work, next to Slicer's user settings."""
    return Path(str(slicer.app.slicerUserSettingsFilePath)).parent / "FetalIQA" / "work"


class FrameViews:
    """Slice views with the frames of a case; the wheel over them changes the frame.

    Args:
        step: called with 1 or -1 when the wheel is turned.
    """

    def __init__(self, step: Callable[[int], None]) -> None:
        self._wheel = SliceWheel(step)
        self._arranged = False
        self._scene: SweepScene | None = None

    def show(self, scene: SweepScene, fit: bool) -> None:
        """Show the current frame; ``fit``: also fit it to the views.

        The first case is shown in the Red view alone. Afterwards the user's layout is kept.
        """
        self._scene = scene
        manager = slicer.app.layoutManager()
        if manager is not None and not self._arranged:
            layout_node(manager).SetViewArrangement(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
            self._arranged = True
        slicer.util.setSliceViewerLayers(background=scene.frames.volume, foreground=None, label=None, fit=fit)
        self.observe_wheel()

    def observe_wheel(self) -> None:
        """Observe the wheel in all slice views."""
        manager, scene = slicer.app.layoutManager(), self._scene
        if manager is None or scene is None:
            return
        for name in manager.sliceViewNames():
            widget = manager.sliceWidget(name)
            composite = widget.mrmlSliceCompositeNode()

            def shows_frames(composite: Any = composite) -> bool:
                volume = scene.frames.volume
                return volume is not None and composite.GetBackgroundVolumeID() == volume.GetID()

            self._wheel.observe(widget.sliceView().interactor(), shows_frames)

    def leave_wheel(self) -> None:
        """Leave the wheel to Slicer."""
        self._wheel.end()


def layout_node(manager: Any) -> Any:
    """Node with the arrangement of the views."""
    return manager.layoutLogic().GetLayoutNode()


class PlotView:
    """Slicer's plot view with the chart of a case, below the Red view.

    Args:
        clicked: called with the row of a clicked point.
    """

    def __init__(self, clicked: Callable[[int], None]) -> None:
        self._clicked = clicked
        self._view: Any = None  # connected view; it outlives this module when the module is reloaded
        self._previous = 0  # arrangement before the plot was shown

    @property
    def shown(self) -> bool:
        """Whether the plot is in the current layout."""
        manager = slicer.app.layoutManager()
        return manager is not None and layout_node(manager).GetViewArrangement() == PLOT_LAYOUT

    def show(self, scene: SweepScene) -> bool:
        """Show quality and circumference below the image; False if there is nothing to show."""
        manager = slicer.app.layoutManager()
        if not scene.plots.complete or manager is None:
            return False
        layout = layout_node(manager)
        if layout.GetViewArrangement() != PLOT_LAYOUT:
            self._previous = layout.GetViewArrangement()
            if not layout.IsLayoutDescription(PLOT_LAYOUT):
                layout.AddLayoutDescription(PLOT_LAYOUT, PLOT_LAYOUT_XML)
            layout.SetViewArrangement(PLOT_LAYOUT)
        widget = manager.plotWidget(0)
        if widget is None:
            return True
        widget.mrmlPlotViewNode().SetPlotChartNodeID(scene.plots.chart.GetID())
        view = widget.plotView()
        if view is not None and view is not self._view:
            self.end()
            self._view = view
            view.connect(SELECTED, self._selected)
        return True

    def hide(self) -> None:
        """Return to the layout before the plot."""
        manager = slicer.app.layoutManager()
        if self.shown:
            layout_node(manager).SetViewArrangement(
                self._previous or slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView
            )

    def end(self) -> None:
        """Disconnect from the view."""
        if self._view is not None:
            self._view.disconnect(SELECTED, self._selected)
        self._view = None

    def _selected(self, _series: Any, points: Any) -> None:
        if points is not None and points.GetNumberOfItems():
            values = points.GetItemAsObject(0)
            if values is not None and values.GetNumberOfTuples():
                self._clicked(int(values.GetValue(0)))


class SegmentEditor:
    """Slicer's Segment Editor for the mask of the current frame.

    Args:
        holder: widget that contains the editor.
        scene: MRML scene.
    """

    def __init__(self, holder: Any, scene: Any) -> None:
        self.widget = slicer.qMRMLSegmentEditorWidget()
        self._node = scene.AddNewNodeByClass("vtkMRMLSegmentEditorNode", "FetalIQA")
        self._node.SetHideFromEditors(True)
        self._node.SetSaveWithScene(False)
        self._scene = scene
        widget = self.widget
        # the editor's own undo would restore one frame's mask in another frame; the module undoes strokes itself
        widget.setMaximumNumberOfUndoStates(0)
        widget.setMRMLScene(scene)
        widget.setMRMLSegmentEditorNode(self._node)
        widget.setEffectNameOrder(list(EFFECTS))
        widget.unorderedEffectsVisible = False
        widget.setSegmentationNodeSelectorVisible(False)
        widget.setSourceVolumeNodeSelectorVisible(False)
        widget.setSwitchToSegmentationsButtonVisible(False)
        widget.setAddRemoveSegmentButtonsVisible(False)  # there is one segment only
        widget.setShow3DButtonVisible(False)
        holder.layout().addWidget(widget)

    def edit(self, scene: SweepScene) -> None:
        """Edit the masks of the case that was loaded into the scene."""
        if self._node.GetScene() is not self._scene:  # the scene was closed meanwhile
            self._scene.AddNode(self._node)
            self.widget.setMRMLSegmentEditorNode(self._node)
        self.widget.setSegmentationNode(scene.overlay.human)
        self.widget.setSourceVolumeNode(scene.frames.volume)
        self.widget.setCurrentSegmentID(ABDOMEN)

    def use(self, effect: str) -> None:
        """Activate an effect; again, or empty: none."""
        if effect and effect != self.used():
            self.widget.setActiveEffectByName(effect)
        else:
            self.widget.setActiveEffect(None)

    def used(self) -> str:
        """Name of the active effect; empty for none."""
        effect = self.widget.activeEffect()
        return "" if effect is None else str(effect.name)

    def set_brush(self, percent: float) -> None:
        """Set the diameter of brush and eraser in percent of the view."""
        self._node.SetAttribute("BrushDiameterIsRelative", "1")
        self._node.SetAttribute("BrushRelativeDiameter", f"{percent:g}")

    def brush(self) -> float | None:
        """Diameter of the brush in percent of the view, which Shift+wheel changes, too; None if it is not set."""
        try:
            return float(self._node.GetAttribute("BrushRelativeDiameter"))
        except (TypeError, ValueError):
            return None

    def enter(self) -> None:
        """Activate the editor's keys and view observations."""
        self.widget.installKeyboardShortcuts()
        self.widget.setupViewObservations()

    def pause(self) -> None:
        """Deactivate effects and keys while another tool has the mouse."""
        self.widget.setActiveEffect(None)
        self.widget.uninstallKeyboardShortcuts()

    def resume(self) -> None:
        """Activate the keys again."""
        self.widget.installKeyboardShortcuts()

    def on_effect(self, chosen: Callable[[], object]) -> None:
        """Call ``chosen`` when the user chooses an effect."""

        def modified(caller: Any, event: Any) -> None:
            if caller.GetActiveEffectName():
                chosen()

        self._node.AddObserver("ModifiedEvent", modified)

    def leave(self) -> None:
        """Deactivate effects, keys and view observations."""
        self.widget.setActiveEffect(None)
        self.widget.uninstallKeyboardShortcuts()
        self.widget.removeViewObservations()

    def end(self) -> None:
        """Release the scene."""
        self.leave()
        self.widget.setMRMLScene(None)
