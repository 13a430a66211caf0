"""Window/level by dragging the mouse over the image: Slicer's own mouse mode, switched on and off."""

from __future__ import annotations

from typing import Any


class WindowLevelMouse:
    """Slicer's mouse mode *Adjust window/level*.

    Args:
        scene: MRML scene.
    """

    def __init__(self, scene: Any) -> None:
        self.scene = scene

    @property
    def active(self) -> bool:
        """Whether the mode is on; Slicer's tool bar changes it, too."""
        interaction = self._interaction()
        return interaction is not None and interaction.GetCurrentInteractionMode() == interaction.AdjustWindowLevel

    def toggle(self) -> None:
        """Switch the mode on or off."""
        interaction = self._interaction()
        if interaction is not None:
            mode = interaction.ViewTransform if self.active else interaction.AdjustWindowLevel
            interaction.SetCurrentInteractionMode(mode)

    def end(self) -> None:
        """Switch the mode off."""
        if self.active:
            self.toggle()

    def _interaction(self) -> Any:
        return self.scene.GetNodeByID("vtkMRMLInteractionNodeSingleton")
