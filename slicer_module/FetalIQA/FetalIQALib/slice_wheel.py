"""Mouse wheel over a slice view: changes the frame instead of moving the slice out of the one-slice volume."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

FORWARD, BACKWARD = "MouseWheelForwardEvent", "MouseWheelBackwardEvent"
PRIORITY = 10.0  # before Slicer's own slice browsing, which has 0


class SliceWheel:
    """Observes the wheel in slice views.

    With Ctrl (zoom), Shift (brush size) or Alt the wheel is left to Slicer.

    Args:
        step: called with 1 (wheel towards the user: next frame) or -1.
    """

    def __init__(self, step: Callable[[int], None]) -> None:
        self._step = step
        self._observed: list[tuple[Any, int]] = []

    def observe(self, interactor: Any, shows_frames: Callable[[], bool]) -> None:
        """Observe one view.

        Args:
            interactor: the view's ``vtkRenderWindowInteractor``.
            shows_frames: whether the view shows the frames of the current case.
        """
        if any(observed is interactor for observed, _tag in self._observed):
            return
        for event, by in ((FORWARD, -1), (BACKWARD, 1)):
            tags: list[int] = []

            def turned(caller: Any, _event: str, by: int = by, tags: list[int] = tags) -> None:
                if caller.GetControlKey() or caller.GetShiftKey() or caller.GetAltKey() or not shows_frames():
                    return
                caller.GetCommand(tags[0]).SetAbortFlag(1)  # Slicer must not move the slice as well
                self._step(by)

            tags.append(interactor.AddObserver(event, turned, PRIORITY))
            self._observed.append((interactor, tags[0]))

    def end(self) -> None:
        """Leave the wheel to Slicer."""
        for interactor, tag in self._observed:
            interactor.RemoveObserver(tag)
        self._observed = []
