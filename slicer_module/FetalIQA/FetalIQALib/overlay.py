"""The masks of the current frame in Slicer: the person's, which the Segment Editor edits, and what is only shown.

Slicer can keep segmentations in a sequence too, but then its default copies a mask to every frame that is merely
scrolled through. Here there is one segmentation of one frame, which is filled anew for each; the decisions are
elsewhere (``casework``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from FetalIQALib import palette
from FetalIQALib.frames_view import own
from FetalIQALib.masks import Mask
from FetalIQALib.texts import _

LABELMAP = "Binary labelmap"  # name of the representation, the same in all versions of Slicer
ABDOMEN = "abdomen"
PROPOSAL, ELLIPSE, OTHER = "proposal", "ellipse", "other"
FILL = 0.25  # opacity of a person's mask: the speckle under it stays readable
LINE = 2  # pixels


class Overlay:
    """Two segmentations of one frame: the person's mask, and what is shown beside it.

    Args:
        scene: MRML scene.

    Attributes:
        edited: whether the person's mask was touched since it was last shown.
    """

    def __init__(self, scene: Any) -> None:
        self.scene = scene
        self.human: Any = None
        self.beside: Any = None
        self.edited = False
        self._shape = (0, 0)
        self._matrix = vtk.vtkMatrix4x4()
        self._written: Mask | None = None
        self._busy = False
        self._observer = 0

    def load(self, case: str, volume: Any, shape: tuple[int, int]) -> None:
        """Begin with empty masks on the grid of ``volume``, ``shape`` rows and columns."""
        self.remove()
        self._shape = shape
        volume.GetIJKToRASMatrix(self._matrix)
        self.human = self._node(_("{case} mask").format(case=case), volume)
        self._add(self.human, ABDOMEN, _("Abdomen"), palette.HUMAN, fill=True)
        self.beside = self._node(_("{case} proposal").format(case=case), volume)
        self._add(self.beside, PROPOSAL, _("Proposed"), palette.PROPOSAL)
        self._add(self.beside, ELLIPSE, _("Measured ellipse"), palette.ELLIPSE)
        self._add(self.beside, OTHER, _("Other rater"), palette.OTHER)
        self._written = None
        event = slicer.vtkSegmentation.SourceRepresentationModified
        self._observer = self.human.GetSegmentation().AddObserver(event, self._edited)

    @property
    def whole(self) -> bool:
        """Whether both segmentations, with their segments, are still in the scene."""
        for node, segments in ((self.human, (ABDOMEN,)), (self.beside, (PROPOSAL, ELLIPSE, OTHER))):
            if node is None or node.GetScene() is not self.scene:
                return False
            if any(node.GetSegmentation().GetSegment(segment) is None for segment in segments):
                return False
        return True

    def show(self, mask: Mask | None, proposal: Mask | None, between: bool, ellipse: np.ndarray | None) -> None:
        """Fill everything for a frame; ``between``: the proposal is an interpolated one."""
        self._busy = True
        try:
            self._fill(self.human, ABDOMEN, None if mask is None else mask.full())
            self._fill(self.beside, PROPOSAL, None if proposal is None else proposal.full())
            self._fill(self.beside, ELLIPSE, ellipse)
            segment = self.beside.GetSegmentation().GetSegment(PROPOSAL)
            segment.SetColor(*palette.unit(palette.BETWEEN if between else palette.PROPOSAL))
        finally:
            self._busy = False
        self._written, self.edited = mask, False

    def show_ellipse(self, ellipse: np.ndarray | None) -> None:
        """Draw the measured ellipse, uint8 [H, W] filled; None takes it away."""
        self._fill(self.beside, ELLIPSE, ellipse)

    def show_other(self, mask: Mask | None) -> None:
        """Draw another rater's mask; None takes it away."""
        self._fill(self.beside, OTHER, None if mask is None else mask.full())

    def show_beside(self, visible: bool) -> None:
        """Show or hide what is not the person's own."""
        if self.beside is not None and self.beside.GetDisplayNode() is not None:
            self.beside.GetDisplayNode().SetVisibility(visible)

    def drawn(self) -> np.ndarray | None:
        """The person's mask as it is in the scene now, uint8 [H, W]; None when it is what ``show`` put there."""
        frame = np.zeros(self._shape, np.uint8)
        segment = self.human.GetSegmentation().GetSegment(ABDOMEN)
        labelmap = segment.GetRepresentation(LABELMAP)
        if labelmap is not None:
            self._read(self._on_grid(labelmap), segment.GetLabelValue(), frame)
        same = not frame.any() if self._written is None else np.array_equal(frame, self._written.full())
        return None if same else frame

    def remove(self) -> None:
        """Take the nodes out of the scene."""
        if self.human is not None and self._observer:
            self.human.GetSegmentation().RemoveObserver(self._observer)
        for node in (self.human, self.beside):
            if node is not None and node.GetScene() is self.scene:
                self.scene.RemoveNode(node)
        self.human = self.beside = self._written = None
        self._observer = 0

    # -- how ----------------------------------------------------------------------------------------

    def _edited(self, caller: Any, event: Any) -> None:
        self.edited = self.edited or not self._busy

    def _node(self, name: str, volume: Any) -> Any:
        node = own(self.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name))
        node.CreateDefaultDisplayNodes()
        node.SetReferenceImageGeometryParameterFromVolumeNode(volume)
        display = node.GetDisplayNode()
        display.SetVisibility3D(False)
        display.SetSliceIntersectionThickness(LINE)
        return node

    def _add(
        self, node: Any, identifier: str, name: str, colour: tuple[int, int, int], fill: bool = False
    ) -> None:
        segment = slicer.vtkSegment()
        segment.SetName(name)
        segment.SetColor(*palette.unit(colour))
        segment.AddRepresentation(LABELMAP, self._image(None))
        node.GetSegmentation().AddSegment(segment, identifier)
        display = node.GetDisplayNode()
        display.SetSegmentVisibility2DFill(identifier, fill)
        display.SetSegmentOpacity2DFill(identifier, FILL)
        display.SetSegmentVisibility2DOutline(identifier, True)
        display.SetSegmentOpacity2DOutline(identifier, 1.0)

    def _fill(self, node: Any, identifier: str, frame: np.ndarray | None) -> None:
        if not self.whole:
            return
        segment = node.GetSegmentation().GetSegment(identifier)
        labelmap = segment.GetRepresentation(LABELMAP)
        if labelmap is None:
            segment.AddRepresentation(LABELMAP, self._image(frame))
        else:
            labelmap.ShallowCopy(self._image(frame))
        segment.SetLabelValue(1)
        segment.Modified()

    def _image(self, frame: np.ndarray | None) -> Any:
        """A labelmap on the grid of the frames, uint8; None: all 0."""
        values = np.zeros(self._shape, np.uint8) if frame is None else frame
        image = slicer.vtkOrientedImageData()
        image.SetDimensions(self._shape[1], self._shape[0], 1)
        image.SetGeometryFromImageToWorldMatrix(self._matrix)
        scalars = numpy_support.numpy_to_vtk(values.reshape(-1), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR)
        image.GetPointData().SetScalars(scalars)
        return image

    def _on_grid(self, labelmap: Any) -> Any:
        """The labelmap when it lies on the grid of the frames, as the Segment Editor leaves it; else resampled."""
        matrix = vtk.vtkMatrix4x4()
        labelmap.GetImageToWorldMatrix(matrix)
        elements = [(row, column) for row in range(4) for column in range(4)]
        if all(abs(matrix.GetElement(*at) - self._matrix.GetElement(*at)) < 1e-6 for at in elements):
            return labelmap
        moved = slicer.vtkOrientedImageData()
        slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
            labelmap, self._image(None), moved, False
        )
        return moved

    def _read(self, labelmap: Any, label: int, frame: np.ndarray) -> None:
        """Write the foreground of a labelmap, which may be cut to it, into a frame."""
        first_x, last_x, first_y, last_y, first_z, last_z = labelmap.GetExtent()
        scalars = labelmap.GetPointData().GetScalars()
        if scalars is None or last_x < first_x or last_y < first_y or not first_z <= 0 <= last_z:
            return
        values = numpy_support.vtk_to_numpy(scalars).reshape(last_z - first_z + 1, last_y - first_y + 1, -1)
        rows = slice(max(first_y, 0), min(last_y + 1, self._shape[0]))
        columns = slice(max(first_x, 0), min(last_x + 1, self._shape[1]))
        inside = values[-first_z, rows.start - first_y :, columns.start - first_x :] == label
        height, width = max(rows.stop - rows.start, 0), max(columns.stop - columns.start, 0)
        frame[rows, columns] = inside[:height, :width]
