"""Left clicks and drags in slice views, as positions in the world."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

PRESS, MOVE, RELEASE = "LeftButtonPressEvent", "MouseMoveEvent", "LeftButtonReleaseEvent"
PRIORITY = 20.0  # before Slicer's own handling, which has 0, and the Segment Editor's effects
MIN_DRAG = 5  # display pixels; a shorter movement is a click

World = tuple[float, float, float]


class SliceClicks:
    """Observes the left mouse button in slice views; meanwhile Slicer does not see it.

    Args:
        clicked: called with a position (RAS), and whether Shift or Ctrl was pressed.
        dragged: called with the start and current position of a drag, and whether the button was released.
    """

    def __init__(
        self, clicked: Callable[[World, bool], None], dragged: Callable[[World, World, bool], None]
    ) -> None:
        self._clicked = clicked
        self._dragged = dragged
        self._observed: list[tuple[Any, int]] = []
        self._pressed: tuple[int, int, bool] | None = None
        self._dragging = False

    def observe(self, interactor: Any, slice_node: Any, shows_frames: Callable[[], bool]) -> None:
        """Observe one view.

        Args:
            interactor: the view's ``vtkRenderWindowInteractor``.
            slice_node: the view's slice node.
            shows_frames: whether the view shows the frames of the current case.
        """
        for event in (PRESS, MOVE, RELEASE):
            tags: list[int] = []

            def happened(caller: Any, event: str, tags: list[int] = tags) -> None:
                if self._handle(caller, event, slice_node, shows_frames):
                    caller.GetCommand(tags[0]).SetAbortFlag(1)

            tags.append(interactor.AddObserver(event, happened, PRIORITY))
            self._observed.append((interactor, tags[0]))

    def end(self) -> None:
        """Leave the mouse to Slicer."""
        for interactor, tag in self._observed:
            interactor.RemoveObserver(tag)
        self._observed, self._pressed, self._dragging = [], None, False

    def _handle(self, caller: Any, event: str, slice_node: Any, shows_frames: Callable[[], bool]) -> bool:
        """Handle an event; returns whether it is this tool's."""
        if event == PRESS:
            if not shows_frames():
                return False
            x, y = caller.GetEventPosition()
            self._pressed, self._dragging = (x, y, bool(caller.GetShiftKey() or caller.GetControlKey())), False
            return True
        if self._pressed is None:
            return False
        first_x, first_y, modified = self._pressed
        x, y = caller.GetEventPosition()
        self._dragging = self._dragging or math.hypot(x - first_x, y - first_y) >= MIN_DRAG
        start, position = world_position(slice_node, first_x, first_y), world_position(slice_node, x, y)
        if event == RELEASE:
            self._pressed = None
        if self._dragging:
            self._dragged(start, position, event == RELEASE)
        elif event == RELEASE:
            self._clicked(position, modified)
        return True


def world_position(slice_node: Any, x: int, y: int) -> World:
    """Position (RAS) of a pixel of a slice view."""
    right, anterior, superior, _one = slice_node.GetXYToRAS().MultiplyPoint((x, y, 0.0, 1.0))
    return (right, anterior, superior)
