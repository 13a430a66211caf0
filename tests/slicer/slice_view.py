"""Slicer's slice view without a window: real MRML, real displayable managers, images as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
import slicer
import vtk
from vtk.util import numpy_support


class Mrml:
    """A scene with the logics that the module uses."""

    def __init__(self) -> None:
        self.scene = slicer.vtkMRMLScene()
        self.application = slicer.vtkMRMLApplicationLogic()
        self.application.SetMRMLScene(self.scene)
        colours = slicer.vtkMRMLColorLogic()
        colours.SetMRMLScene(self.scene)
        colours.AddDefaultColorNodes()
        self.sequences = slicer.vtkSlicerSequencesLogic()
        self.sequences.SetMRMLScene(self.scene)
        self._kept = [colours]
        self.scene.RegisterNodeClass(slicer.vtkMRMLSegmentEditorNode())  # by its module, in a whole Slicer


class SliceView:
    """A slice view, drawn into memory.

    Args:
        mrml: the scene.
        size: width and height in pixels.
        name: of the view; not one of the layout, if a layout manager is used, too.
    """

    def __init__(self, mrml: Mrml, size: tuple[int, int] = (744, 562), name: str = "Red") -> None:
        self._size = size
        self._logic = slicer.vtkMRMLSliceLogic()
        self._logic.SetMRMLApplicationLogic(mrml.application)
        self._logic.SetMRMLScene(mrml.scene)
        node = self._logic.AddSliceNode(name)
        node.SetOrientationToAxial()
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetSize(*size)
        self.window.SetNumberOfLayers(2)
        self.window.SetAlphaBitPlanes(1)  # the layer with the masks is translucent
        image, masks = vtk.vtkRenderer(), vtk.vtkRenderer()
        masks.SetLayer(1)
        for renderer in (image, masks):
            self.window.AddRenderer(renderer)
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        actor = vtk.vtkActor2D()
        actor.SetMapper(self._mapper)
        image.AddViewProp(actor)
        interactor = vtk.vtkRenderWindowInteractor()
        interactor.SetRenderWindow(self.window)
        group: Any = slicer.vtkMRMLDisplayableManagerGroup()
        group.SetRenderer(masks)
        group.SetMRMLDisplayableNode(node)
        manager: Any = slicer.vtkMRMLSegmentationsDisplayableManager2D()
        manager.SetMRMLApplicationLogic(mrml.application)
        group.AddDisplayableManager(manager)
        self._kept: list[Any] = [group, manager, interactor, node]

    def browse_by_wheel(self, mrml: Mrml) -> Any:
        """Add Slicer's own interaction, which moves the slice with the wheel; returns the interactor."""
        group, _manager, interactor, _node = self._kept
        logics = vtk.vtkCollection()
        logics.AddItem(self._logic)
        mrml.application.SetSliceLogics(logics)
        crosshair: Any = slicer.vtkMRMLCrosshairDisplayableManager()
        crosshair.SetMRMLApplicationLogic(mrml.application)
        group.AddDisplayableManager(crosshair)
        style = slicer.vtkMRMLSliceViewInteractorStyle()
        style.SetDisplayableManagers(group)
        style.SetSliceLogic(self._logic)
        style.SetInteractor(interactor)
        interactor.SetEventInformation(self._size[0] // 2, self._size[1] // 2, 0, 0)
        for event in ("EnterEvent", "MouseMoveEvent"):
            interactor.InvokeEvent(event)
        self._kept += [logics, crosshair, style]
        return interactor

    def show_markups(self, mrml: Mrml) -> None:
        """Show markups, too."""
        logic = slicer.vtkSlicerMarkupsLogic()
        logic.SetMRMLApplicationLogic(mrml.application)
        logic.SetMRMLScene(mrml.scene)
        mrml.application.SetModuleLogic("Markups", logic)
        manager: Any = slicer.vtkMRMLMarkupsDisplayableManager()
        manager.SetMRMLApplicationLogic(mrml.application)
        self._kept[0].AddDisplayableManager(manager)
        self._kept += [logic, manager]

    @property
    def offset(self) -> float:
        """Position of the slice."""
        return float(self._kept[3].GetSliceOffset())

    def show(self, volume: Any) -> None:
        """Show a volume, fitted to the view."""
        self._logic.GetSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
        self._logic.ResizeSliceNode(*self._size)
        self._logic.FitSliceToBackground(True)
        self._mapper.SetInputConnection(self._logic.GetImageDataConnection())  # another one for each set of layers

    def picture(self) -> np.ndarray:
        """What the view shows: uint8 [H, W, 3]."""
        self.window.Render()
        grab = vtk.vtkWindowToImageFilter()
        grab.SetInput(self.window)
        grab.ReadFrontBufferOff()
        grab.Update()
        image = grab.GetOutput()
        width, height, _ = image.GetDimensions()
        values = numpy_support.vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)
        return values[::-1, :, :3].copy()
