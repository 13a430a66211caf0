"""Frames of a case in the scene: a sequence, its browser, and the volume of the current frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from FetalIQALib.sweep_data import Sweep
from FetalIQALib.translation import _

# name, window, level: of 8-bit ultrasound
PRESETS = (("Full range", 255.0, 127.5), ("Soft tissue", 160.0, 90.0), ("Hypoechoic", 90.0, 45.0))
OWNER = "FetalIQA.owner"  # attribute of this module's nodes; only these are removed
DEFAULT_SPACING_MM = 1.0  # pixel spacing for display of files without one


def mark_owned(node: Any) -> Any:
    """Mark a node as owned by this module."""
    node.SetAttribute(OWNER, "1")
    return node


def view_matrix(sweep: Sweep) -> vtk.vtkMatrix4x4:
    """IJK-to-RAS matrix of all frames: upright in the Red (axial) view, with the true pixel spacing.

    Files are LPS and Slicer is RAS; frames of a blind sweep have no position in space, so all share one. It is for
    display only: submitted masks are on the file's own grid.
    """
    row, column = sweep.spacing_mm or sweep.stack.spacing_mm or (DEFAULT_SPACING_MM, DEFAULT_SPACING_MM)
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 0, -column)
    matrix.SetElement(1, 1, -row)
    return matrix


class ImageSequence:
    """Image sequence of one case.

    Args:
        scene: MRML scene.
        sequences: Slicer's sequences logic, which updates the volume of the current frame.
    """

    def __init__(self, scene: Any, sequences: Any) -> None:
        self.scene = scene
        self.sequence: Any = None
        self.browser: Any = None
        self.volume: Any = None
        self.preset = 0
        self._sequences = sequences
        self._frames: np.ndarray | None = None  # owner of the pixels that the sequence refers to

    def load(self, sweep: Sweep) -> None:
        """Show another case with the same window and level; the nodes of the previous one are removed."""
        window_level = self.window_level()
        self.remove()
        self._frames = sweep.stack.frames
        matrix = view_matrix(sweep)
        self.sequence = mark_owned(self.scene.AddNewNodeByClass("vtkMRMLSequenceNode", f"{sweep.case} frames"))
        self.sequence.SetIndexName(_("frame"))
        self.sequence.SetIndexUnit("")
        for number, frame in enumerate(self._frames):
            node = slicer.vtkMRMLScalarVolumeNode()
            node.SetName(f"frame {number}")
            node.SetIJKToRASMatrix(matrix)
            node.SetAndObserveImageData(_image(frame))
            self.sequence.SetDataNodeAtValue(node, str(number))
        self.browser = mark_owned(
            self.scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", f"{sweep.case} browser")
        )
        self.browser.SetAndObserveMasterSequenceNodeID(self.sequence.GetID())
        self.browser.SetSaveChanges(self.sequence, False)
        self.browser.SetOverwriteProxyName(self.sequence, False)
        self._sequences.UpdateProxyNodesFromSequences(self.browser)
        self.volume = mark_owned(self.browser.GetProxyNode(self.sequence))
        self.volume.SetName(sweep.case)
        if self.volume.GetDisplayNode() is None:
            self.volume.CreateDefaultDisplayNodes()
        display = self.volume.GetDisplayNode()
        display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
        display.SetInterpolate(1)
        if window_level is None:
            self.window(self.preset)
        else:
            display.SetAutoWindowLevel(False)
            display.SetWindowLevel(*window_level)

    @property
    def complete(self) -> bool:
        """Whether all nodes are still in the scene."""
        nodes = (self.sequence, self.browser, self.volume)
        return all(node is not None and node.GetScene() is self.scene for node in nodes)

    def show(self, frame: int) -> None:
        """Set the current frame."""
        if self.browser.GetSelectedItemNumber() != frame:
            self.browser.SetSelectedItemNumber(frame)
        self._sequences.UpdateProxyNodesFromSequences(self.browser)

    def shown(self) -> int:
        """Current frame of the browser, which its tool bar changes too."""
        return int(self.browser.GetSelectedItemNumber())

    def window(self, preset: int) -> None:
        """Set window and level to one of ``PRESETS``."""
        self.preset = preset % len(PRESETS)
        _name, window, level = PRESETS[self.preset]
        display = self.volume.GetDisplayNode() if self.volume is not None else None
        if display is not None:
            display.SetAutoWindowLevel(False)
            display.SetWindowLevel(window, level)

    def window_level(self) -> tuple[float, float] | None:
        """Window and level, which Slicer's own tools change, too; None without an image."""
        display = self.volume.GetDisplayNode() if self.volume is not None else None
        return None if display is None else (display.GetWindow(), display.GetLevel())

    def shown_preset(self) -> int | None:
        """Number of the preset that is shown; None for other values."""
        shown = self.window_level()
        if shown is None:
            return self.preset
        matches = [number for number, (_name, window, level) in enumerate(PRESETS) if (window, level) == shown]
        return matches[0] if matches else None

    def remove(self) -> None:
        """Remove this module's nodes from the scene."""
        # the volume is usually removed with its browser
        for node in (self.browser, self.sequence, self.volume):
            if node is not None and node.GetScene() is self.scene:
                self.scene.RemoveNode(node)
        self.sequence = self.browser = self.volume = self._frames = None


def _image(frame: np.ndarray) -> vtk.vtkImageData:
    """A frame, uint8 [H, W], as a VTK image of one slice that shares its memory."""
    image = vtk.vtkImageData()
    image.SetDimensions(frame.shape[1], frame.shape[0], 1)
    scalars = numpy_support.numpy_to_vtk(frame.reshape(-1), deep=False, array_type=vtk.VTK_UNSIGNED_CHAR)
    image.GetPointData().SetScalars(scalars)
    return image
