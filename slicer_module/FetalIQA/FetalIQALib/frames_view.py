"""The frames of a case in Slicer: an image sequence, its browser, and the volume that shows the current frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from FetalIQALib.sweep import Sweep
from FetalIQALib.texts import _

# name, window, level: of 8-bit ultrasound
PRESETS = (("Full range", 255.0, 127.5), ("Soft tissue", 160.0, 90.0), ("Dark regions", 90.0, 45.0))
OWNER = "FetalIQA.owner"  # attribute of all nodes of this module; only these are ever removed
FULL_MM = 1.0  # pixel spacing that is shown for files without one


def own(node: Any) -> Any:
    """Mark a node as this module's."""
    node.SetAttribute(OWNER, "1")
    return node


def view_matrix(sweep: Sweep) -> vtk.vtkMatrix4x4:
    """Where every frame is shown: upright in the Red (axial) view, with the true pixel spacing.

    Files are LPS and Slicer is RAS; frames of a blind sweep have no place in space, so all are shown at one. What
    is sent never passes through here: it lies on the file's own grid.
    """
    row, column = sweep.spacing_mm or sweep.stack.spacing_mm or (FULL_MM, FULL_MM)
    matrix = vtk.vtkMatrix4x4()
    matrix.SetElement(0, 0, -column)
    matrix.SetElement(1, 1, -row)
    return matrix


class FramesView:
    """The image sequence of one case.

    Args:
        scene: MRML scene.
        sequences: Slicer's sequences logic, which fills the volume of the current frame.
    """

    def __init__(self, scene: Any, sequences: Any) -> None:
        self.scene = scene
        self.sequence: Any = None
        self.browser: Any = None
        self.volume: Any = None
        self.preset = 0
        self._sequences = sequences
        self._frames: np.ndarray | None = None  # owns the pixels that the sequence shows

    def load(self, sweep: Sweep) -> None:
        """Show another case; the nodes of the one before go."""
        self.remove()
        self._frames = sweep.stack.frames
        matrix = view_matrix(sweep)
        self.sequence = own(self.scene.AddNewNodeByClass("vtkMRMLSequenceNode", f"{sweep.case} frames"))
        self.sequence.SetIndexName(_("frame"))
        self.sequence.SetIndexUnit("")
        for number, frame in enumerate(self._frames):
            node = slicer.vtkMRMLScalarVolumeNode()
            node.SetName(f"frame {number}")
            node.SetIJKToRASMatrix(matrix)
            node.SetAndObserveImageData(_image(frame))
            self.sequence.SetDataNodeAtValue(node, str(number))
        self.browser = own(self.scene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode", f"{sweep.case} browser"))
        self.browser.SetAndObserveMasterSequenceNodeID(self.sequence.GetID())
        self.browser.SetSaveChanges(self.sequence, False)
        self.browser.SetOverwriteProxyName(self.sequence, False)
        self._sequences.UpdateProxyNodesFromSequences(self.browser)
        self.volume = own(self.browser.GetProxyNode(self.sequence))
        self.volume.SetName(sweep.case)
        if self.volume.GetDisplayNode() is None:
            self.volume.CreateDefaultDisplayNodes()
        display = self.volume.GetDisplayNode()
        display.SetAndObserveColorNodeID("vtkMRMLColorTableNodeGrey")
        display.SetInterpolate(1)
        self.window(self.preset)

    @property
    def whole(self) -> bool:
        """Whether everything that shows the frames is still in the scene."""
        nodes = (self.sequence, self.browser, self.volume)
        return all(node is not None and node.GetScene() is self.scene for node in nodes)

    def show(self, frame: int) -> None:
        """Make a frame the current one."""
        if self.browser.GetSelectedItemNumber() != frame:
            self.browser.SetSelectedItemNumber(frame)
        self._sequences.UpdateProxyNodesFromSequences(self.browser)

    def shown(self) -> int:
        """The current frame of the browser, which its own tool bar changes too."""
        return int(self.browser.GetSelectedItemNumber())

    def window(self, preset: int) -> None:
        """Window and level of one of ``PRESETS``."""
        self.preset = preset % len(PRESETS)
        _name, window, level = PRESETS[self.preset]
        display = self.volume.GetDisplayNode() if self.volume is not None else None
        if display is not None:
            display.SetAutoWindowLevel(False)
            display.SetWindowLevel(window, level)

    def remove(self) -> None:
        """Take the nodes out of the scene; the user's own are never touched."""
        # the volume goes with its browser; where a user kept it, it is removed by itself
        for node in (self.browser, self.sequence, self.volume):
            if node is not None and node.GetScene() is self.scene:
                self.scene.RemoveNode(node)
        self.sequence = self.browser = self.volume = self._frames = None


def _image(frame: np.ndarray) -> vtk.vtkImageData:
    """A frame, uint8 [H, W], as an image of one slice that uses the same memory."""
    image = vtk.vtkImageData()
    image.SetDimensions(frame.shape[1], frame.shape[0], 1)
    scalars = numpy_support.numpy_to_vtk(frame.reshape(-1), deep=False, array_type=vtk.VTK_UNSIGNED_CHAR)
    image.GetPointData().SetScalars(scalars)
    return image
