"""Masks of the current frame in the scene: the annotator's, which can be edited, and others for reference.

A sequence of segmentations would by default copy a mask to every frame that is scrolled through. Instead there is
one segmentation of one frame, refilled for each frame; labels are stored in ``case_annotation``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support

from FetalIQALib import display_colours
from FetalIQALib.frame_masks import Mask
from FetalIQALib.image_sequence import mark_owned
from FetalIQALib.translation import _

LABELMAP = "Binary labelmap"  # name of the representation in all versions of Slicer
ABDOMEN = "abdomen"
PROPOSAL, ELLIPSE, OTHER = "proposal", "ellipse", "other"
FILL = 0.25  # fill opacity of the annotator's mask; keeps the speckle visible
LINE = 2  # pixels


class MaskOverlay:
    """Two segmentations of one frame: the annotator's mask, and the reference masks.

    Args:
        scene: MRML scene.

    Attributes:
        edited: whether the annotator's mask was edited since it was last shown.
    """

    def __init__(self, scene: Any) -> None:
        self.scene = scene
        self.human: Any = None
        self.reference: Any = None
        self.edited = False
        self._shape = (0, 0)
        self._matrix = vtk.vtkMatrix4x4()
        self._written: Mask | None = None
        self._busy = False
        self._observer = 0

    def load(self, case: str, volume: Any, shape: tuple[int, int]) -> None:
        """Make empty masks on the grid of ``volume``; ``shape``: rows and columns."""
        self.remove()
        self._shape = shape
        volume.GetIJKToRASMatrix(self._matrix)
        self.human = self._node(_("{case} mask").format(case=case), volume)
        self._add(self.human, ABDOMEN, _("Abdomen"), display_colours.HUMAN, fill=True)
        self.reference = self._node(_("{case} proposal").format(case=case), volume)
        self._add(self.reference, PROPOSAL, _("Proposed"), display_colours.PROPOSAL)
        self._add(self.reference, ELLIPSE, _("Measured ellipse"), display_colours.ELLIPSE)
        self._add(self.reference, OTHER, _("Other rater"), display_colours.OTHER)
        self._written = None
        event = slicer.vtkSegmentation.SourceRepresentationModified
        self._observer = self.human.GetSegmentation().AddObserver(event, self._edited)

    @property
    def complete(self) -> bool:
        """Whether both segmentations, with their segments, are still in the scene."""
        for node, segments in ((self.human, (ABDOMEN,)), (self.reference, (PROPOSAL, ELLIPSE, OTHER))):
            if node is None or node.GetScene() is not self.scene:
                return False
            if any(node.GetSegmentation().GetSegment(segment) is None for segment in segments):
                return False
        return True

    def show(
        self, mask: Mask | None, proposal: Mask | None, interpolated: bool, ellipse: np.ndarray | None
    ) -> None:
        """Show the masks of a frame; ``interpolated``: colour of the proposal."""
        self._busy = True
        try:
            self._fill(self.human, ABDOMEN, None if mask is None else mask.full())
            self._fill(self.reference, PROPOSAL, None if proposal is None else proposal.full())
            self._fill(self.reference, ELLIPSE, ellipse)
            segment = self.reference.GetSegmentation().GetSegment(PROPOSAL)
            segment.SetColor(
                *display_colours.unit_rgb(
                    display_colours.INTERPOLATED if interpolated else display_colours.PROPOSAL
                )
            )
        finally:
            self._busy = False
        self._written, self.edited = mask, False

    def show_other(self, mask: Mask | None) -> None:
        """Show another rater's mask; None hides it."""
        self._fill(self.reference, OTHER, None if mask is None else mask.full())

    def set_reference_visible(self, visible: bool) -> None:
        """Show or hide the reference masks."""
        if self.reference is not None and self.reference.GetDisplayNode() is not None:
            self.reference.GetDisplayNode().SetVisibility(visible)

    def edited_mask(self) -> np.ndarray | None:
        """The annotator's mask in the scene, uint8 [H, W]; None if it has not changed since ``show``."""
        frame = np.zeros(self._shape, np.uint8)
        segment = self.human.GetSegmentation().GetSegment(ABDOMEN)
        labelmap = segment.GetRepresentation(LABELMAP)
        if labelmap is not None:
            self._read(self._on_grid(labelmap), segment.GetLabelValue(), frame)
        same = not frame.any() if self._written is None else np.array_equal(frame, self._written.full())
        return None if same else frame

    def merge_segments(self) -> list[str]:
        """Merge segments that were added to the annotator's mask into it; returns their names."""
        segmentation = self.human.GetSegmentation()
        added = [name for name in segmentation.GetSegmentIDs() if name != ABDOMEN]
        if not added:
            return []
        frame = np.zeros(self._shape, np.uint8)
        names = [segmentation.GetSegment(identifier).GetName() for identifier in added]
        for identifier in (ABDOMEN, *added):
            segment = segmentation.GetSegment(identifier)
            labelmap = segment.GetRepresentation(LABELMAP)
            if labelmap is not None:
                part = np.zeros(self._shape, np.uint8)
                self._read(self._on_grid(labelmap), segment.GetLabelValue(), part)
                frame |= part
        for identifier in added:
            segmentation.RemoveSegment(identifier)
        self._fill(self.human, ABDOMEN, frame)
        return names

    def remove(self) -> None:
        """Remove the nodes from the scene."""
        if self.human is not None and self._observer:
            self.human.GetSegmentation().RemoveObserver(self._observer)
        for node in (self.human, self.reference):
            if node is not None and node.GetScene() is self.scene:
                self.scene.RemoveNode(node)
        self.human = self.reference = self._written = None
        self._observer = 0

    # -- helpers ------------------------------------------------------------------------------------

    def _edited(self, caller: Any, event: Any) -> None:
        self.edited = self.edited or not self._busy

    def _node(self, name: str, volume: Any) -> Any:
        node = mark_owned(self.scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name))
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
        segment.SetColor(*display_colours.unit_rgb(colour))
        segment.AddRepresentation(LABELMAP, self._image(None))
        node.GetSegmentation().AddSegment(segment, identifier)
        display = node.GetDisplayNode()
        display.SetSegmentVisibility2DFill(identifier, fill)
        display.SetSegmentOpacity2DFill(identifier, FILL)
        display.SetSegmentVisibility2DOutline(identifier, True)
        display.SetSegmentOpacity2DOutline(identifier, 1.0)

    def _fill(self, node: Any, identifier: str, frame: np.ndarray | None) -> None:
        if not self.complete:
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
        """A labelmap on the grid of the frames, uint8; None: empty."""
        values = np.zeros(self._shape, np.uint8) if frame is None else frame
        image = slicer.vtkOrientedImageData()
        image.SetDimensions(self._shape[1], self._shape[0], 1)
        image.SetGeometryFromImageToWorldMatrix(self._matrix)
        scalars = numpy_support.numpy_to_vtk(values.reshape(-1), deep=True, array_type=vtk.VTK_UNSIGNED_CHAR)
        image.GetPointData().SetScalars(scalars)
        return image

    def _on_grid(self, labelmap: Any) -> Any:
        """The labelmap on the grid of the frames; resampled if necessary."""
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
        """Write the foreground of a labelmap, whose extent may be smaller, into a frame."""
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
