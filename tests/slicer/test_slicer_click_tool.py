"""Clicks and boxes in a real slice view (VTK's interactor, MRML's slice node), on a fake server."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip(
    "slicer", reason="slicer-core cannot be imported: pip install -e '.[dev]'", exc_type=ImportError
)
vtk = pytest.importorskip("vtk", reason="vtk cannot be imported: pip install -e '.[dev]'", exc_type=ImportError)

from FetalIQALib.case_annotation import CaseAnnotation  # noqa: E402
from FetalIQALib.click_tool import ClickTool  # noqa: E402
from FetalIQALib.image_sequence import OWNER  # noqa: E402
from FetalIQALib.slice_clicks import SliceClicks  # noqa: E402
from FetalIQALib.sweep_scene import SweepScene  # noqa: E402
from FetalIQALib.user_actions import Actions  # noqa: E402
from interactive_server import InteractiveServer, disc  # noqa: E402
from slice_view import Mrml  # noqa: E402
from workspaces import a_sweep, connected, settle  # noqa: E402

FRAME = 15


class Bench:
    """A case on a slice view with the click tool, connected to a fake server."""

    def __init__(self, folder: Path, server: InteractiveServer) -> None:
        self.mrml = Mrml()
        self.server = server
        self.workspace = connected(folder, server.url)
        self.controller = self.workspace.controller
        self.scene = SweepScene(self.mrml.scene, self.mrml.sequences, self.controller)
        self.controller.annotation = CaseAnnotation(a_sweep(), "anna")
        self.controller.position = FRAME
        self.workspace.session.notify("case")
        self.node = slicer.vtkMRMLSliceNode()
        self.node.SetLayoutName("Red")
        self.mrml.scene.AddNode(self.node)
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.node.GetScene())
        self.node.SetOrientationToAxial()
        self.node.SetDimensions(400, 300, 1)
        self.node.SetFieldOfView(24.8, 18.6, 1)  # the frame's 80 columns of 0.31 mm are as wide as the view
        self.node.SetSliceOrigin(-12.4, -9.0, 0)
        self.interactor = vtk.vtkRenderWindowInteractor()
        self.shown = True
        self.tool = ClickTool(
            self.mrml.scene,
            self.workspace.clicks,
            lambda: self.scene.frames.volume,
            lambda: [(self.interactor, self.node, lambda: self.shown)],
        )
        self.seen: list[str] = []  # events that reach Slicer
        for event in ("LeftButtonPressEvent", "LeftButtonReleaseEvent", "MouseMoveEvent"):
            self.interactor.AddObserver(event, lambda caller, event: self.seen.append(event), 0.0)

    @property
    def annotation(self) -> CaseAnnotation:
        return self.controller.annotation

    def mouse(self, event: str, column: float, row: float, shift: bool = False, control: bool = False) -> None:
        """An event of the mouse over a pixel of the frame."""
        to_world, to_view = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
        self.scene.frames.volume.GetIJKToRASMatrix(to_world)
        vtk.vtkMatrix4x4.Invert(self.node.GetXYToRAS(), to_view)
        x, y, _z, _one = to_view.MultiplyPoint(to_world.MultiplyPoint((column, row, 0, 1)))
        self.interactor.SetEventInformation(round(x), round(y), int(control), int(shift))
        self.interactor.InvokeEvent(event)

    def click(self, column: float, row: float, shift: bool = False, control: bool = False) -> None:
        for event in ("MouseMoveEvent", "LeftButtonPressEvent", "LeftButtonReleaseEvent"):
            self.mouse(event, column, row, shift, control)
        settle(self.workspace)

    def drag(self, start: tuple[float, float], stop: tuple[float, float]) -> None:
        self.mouse("LeftButtonPressEvent", *start)
        self.mouse("MouseMoveEvent", *stop)
        self.mouse("LeftButtonReleaseEvent", *stop)
        settle(self.workspace)

    def marks(self, name: str) -> list[tuple[float, float]]:
        """Control points of a node, in pixels."""
        node, matrix = self.tool.nodes.get(name), vtk.vtkMatrix4x4()
        self.scene.frames.volume.GetIJKToRASMatrix(matrix)
        matrix.Invert()
        found, position = [], [0.0] * 3
        for number in range(0 if node is None else node.GetNumberOfControlPoints()):
            node.GetNthControlPointPositionWorld(number, position)
            found.append(matrix.MultiplyPoint((*position, 1.0))[:2])
        return found


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    server = InteractiveServer()
    yield Bench(tmp_path, server)
    server.close()
    gc.collect()  # in this thread, which VTK's objects need


def test_a_click_is_at_the_pixel_under_the_mouse(bench: Bench) -> None:
    assert bench.tool.toggle()
    bench.click(10, 12)
    (point,) = bench.server.prompts[0]["foreground"]
    assert point == pytest.approx([10, 12], abs=0.3)  # a pixel of the view is 0.2 of the frame's
    assert bench.annotation.masks()[FRAME].full()[12, 10]
    assert bench.marks("positive") == [pytest.approx(tuple(point))]


@pytest.mark.parametrize("key", ["shift", "control"])
def test_shift_or_ctrl_makes_a_click_negative(bench: Bench, key: str) -> None:
    bench.tool.toggle()
    bench.click(45, 30, **{key: True})
    assert bench.server.prompts[0]["foreground"] == []
    (point,) = bench.server.prompts[0]["background"]
    assert not bench.annotation.masks()[FRAME].full()[30, 45]
    assert bench.marks("negative") == [pytest.approx(tuple(point))]
    assert bench.marks("positive") == []


def test_a_drag_is_a_box_that_is_shown_while_it_is_drawn(bench: Bench) -> None:
    bench.tool.toggle()
    bench.mouse("LeftButtonPressEvent", 60, 50)
    bench.mouse("MouseMoveEvent", 20, 10)
    assert sorted(bench.marks("box"))[0] == pytest.approx((20, 10), abs=0.3)
    bench.mouse("LeftButtonReleaseEvent", 20, 10)
    settle(bench.workspace)
    (prompt,) = bench.server.prompts
    assert prompt["roi"] == pytest.approx([20, 10, 60, 50], abs=0.3)
    assert (prompt["foreground"], prompt["background"]) == ([], [])
    assert len(bench.marks("box")) == 4


def test_a_box_ends_at_the_border_of_the_frame(bench: Bench) -> None:
    bench.tool.toggle()
    bench.drag((40, 30), (200, 200))
    assert bench.server.prompts[0]["roi"][2:] == [79, 59]


def test_the_left_button_is_the_tools_only_while_it_is_on(bench: Bench) -> None:
    bench.tool.toggle()
    bench.click(10, 12)
    assert bench.seen == ["MouseMoveEvent"]  # hovering is left to Slicer
    assert not bench.tool.toggle()
    bench.click(10, 12)
    assert len(bench.seen) == 4
    assert len(bench.server.prompts) == 1


def test_another_view_is_left_to_slicer(bench: Bench) -> None:
    bench.tool.toggle()
    bench.shown = False
    bench.click(10, 12)
    assert len(bench.seen) == 3
    assert bench.server.prompts == []


def test_undo_removes_the_mark_with_the_mask(bench: Bench) -> None:
    bench.tool.toggle()
    bench.click(10, 12)
    bench.click(60, 50)
    Actions(bench.workspace).run("undo")
    assert len(bench.marks("positive")) == 1
    assert not bench.annotation.masks()[FRAME].full()[50, 60]
    Actions(bench.workspace).run("undo")
    assert bench.marks("positive") == []
    assert bench.annotation.frames == {}


def test_leaving_the_frame_ends_the_tool_and_removes_its_nodes(bench: Bench) -> None:
    switched: list[bool] = []
    bench.tool.switched = switched.append
    bench.tool.toggle()
    bench.click(10, 12)
    nodes = list(bench.tool.nodes.values())
    assert all(node.GetAttribute(OWNER) for node in nodes)
    bench.controller.go_to(FRAME + 1)
    assert switched == [True, False]
    assert all(node.GetScene() is None for node in nodes)
    bench.click(10, 12)
    assert len(bench.server.prompts) == 1
    assert sorted(bench.annotation.frames) == [FRAME]


def test_a_stroke_that_the_timer_has_not_seen_is_part_of_the_mask(bench: Bench) -> None:
    bench.tool.toggle()
    image = slicer.vtkOrientedImageData()
    image.DeepCopy(bench.scene.overlay._image(disc((60, 50)).astype(np.uint8)))
    logic = slicer.vtkSlicerSegmentationsModuleLogic
    assert logic.SetBinaryLabelmapToSegment(image, bench.scene.overlay.human, "abdomen", logic.MODE_REPLACE)
    bench.click(10, 12)
    mask = bench.annotation.masks()[FRAME].full()
    assert mask[50, 60]
    assert mask[12, 10]
    assert sum(bench.server.prompts[0]["mask"]["runs"][1::2]) == np.count_nonzero(disc((60, 50)))


def test_deleted_marks_come_back_with_the_next_click(bench: Bench) -> None:
    bench.tool.toggle()
    bench.click(10, 12)
    bench.mrml.scene.RemoveNode(bench.tool.nodes["positive"])
    bench.click(60, 50)
    assert len(bench.marks("positive")) == 2


def test_closing_the_case_ends_the_tool(bench: Bench) -> None:
    bench.tool.toggle()
    bench.click(10, 12)
    assert bench.controller.close()
    assert not bench.workspace.clicks.active
    assert bench.tool.nodes == {}


def test_a_press_outside_of_a_drag_leaves_nothing_behind(bench: Bench) -> None:
    """A button that is released after the tool has ended."""
    bench.tool.toggle()
    bench.mouse("LeftButtonPressEvent", 10, 10)
    bench.tool.toggle()
    bench.mouse("LeftButtonReleaseEvent", 10, 10)
    bench.tool.toggle()
    bench.mouse("MouseMoveEvent", 40, 40)
    assert bench.seen[-1] == "MouseMoveEvent"
    assert bench.server.prompts == []


def test_events_are_positions_of_their_own_view() -> None:
    found: list[tuple] = []
    clicks = SliceClicks(lambda position, modified: found.append((position, modified)), lambda *drag: None)
    interactor, node = vtk.vtkRenderWindowInteractor(), slicer.vtkMRMLSliceNode()
    clicks.observe(interactor, node, lambda: True)
    interactor.SetEventInformation(7, 9, 0, 0)
    interactor.InvokeEvent("LeftButtonPressEvent")
    interactor.InvokeEvent("LeftButtonReleaseEvent")
    assert found == [(node.GetXYToRAS().MultiplyPoint((7, 9, 0, 1))[:3], False)]
