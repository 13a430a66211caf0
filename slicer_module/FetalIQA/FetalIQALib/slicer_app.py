"""Access to the running application: views, plot and Segment Editor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer

from FetalIQALib.mask_overlay import ABDOMEN
from FetalIQALib.sweep_scene import SweepScene

EFFECTS = ("Paint", "Erase", "Draw", "Scissors", "Smoothing", "Margin", "Islands")
SELECTED = "dataSelected(vtkStringArray*, vtkCollection*)"  # signal of the plot view


def state_folder() -> Path:
    """Folder of unsubmitted work, next to Slicer's user settings."""
    return Path(str(slicer.app.slicerUserSettingsFilePath)).parent / "FetalIQA" / "work"


def show_frames(scene: SweepScene) -> None:
    """Show the current frame in the Red view alone."""
    manager = slicer.app.layoutManager()
    if manager is not None:
        manager.setLayout(slicer.vtkMRMLLayoutNode.SlicerLayoutOneUpRedSliceView)
    slicer.util.setSliceViewerLayers(background=scene.frames.volume, foreground=None, label=None, fit=True)


class PlotView:
    """Slicer's plot view with the chart of a case.

    Args:
        clicked: called with the row of a clicked point.
    """

    def __init__(self, clicked: Callable[[int], None]) -> None:
        self._clicked = clicked
        self._view: Any = None  # connected view; it outlives this module when the module is reloaded

    def show(self, scene: SweepScene) -> bool:
        """Show quality and circumference beside the views; False if there is nothing to show."""
        manager = slicer.app.layoutManager()
        if not scene.plots.complete or manager is None:
            return False
        slicer.modules.plots.logic().ShowChartInLayout(scene.plots.chart)
        widget = manager.plotWidget(0)
        view = widget.plotView() if widget is not None else None
        if view is not None and view is not self._view:
            self.end()
            self._view = view
            view.connect(SELECTED, self._selected)
        return True

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

    def enter(self) -> None:
        """Activate the editor's keys and view observations."""
        self.widget.installKeyboardShortcuts()
        self.widget.setupViewObservations()

    def leave(self) -> None:
        """Deactivate effects, keys and view observations."""
        self.widget.setActiveEffect(None)
        self.widget.uninstallKeyboardShortcuts()
        self.widget.removeViewObservations()

    def end(self) -> None:
        """Release the scene."""
        self.leave()
        self.widget.setMRMLScene(None)
