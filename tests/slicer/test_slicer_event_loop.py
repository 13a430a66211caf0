"""Inside Slicer's event loop: threads that starve, wheel, plot, closing, *Reload*, translations."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip(
    "slicer", reason="slicer-core cannot be imported: pip install -e '.[dev]'", exc_type=ImportError
)

import slicer
from fake_server import FakeServer
from FetalIQALib import self_test, translation
from FetalIQALib.client_errors import FetalIQAError, InvalidResponse
from FetalIQALib.task_runner import TaskRunner
from FetalIQALib.translation import _
from workspaces import a_sweep, connected, settle

STUCK_SECONDS = 20.0


@pytest.fixture
def held_lock() -> Any:
    """A main thread that never gives up the interpreter lock by itself, as around Slicer's event loop."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1000.0)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("held_lock")
def test_requests_make_progress_in_a_loop_that_never_releases_the_lock(
    window: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    panel, runner, seen = window.module.panel, window.workspace.runner, []
    section = panel.frame_section  # Qt's calls release the lock here, but not in Slicer
    for owner, name in (
        *((section, "draw_strip"), (section, "follow_window"), (panel.scene, "sync_from_scene")),
        *((panel, "_show_tools"), (panel, "_show_download")),
    ):
        monkeypatch.setattr(owner, name, lambda: None)

    def request(cancel: Any) -> str:
        for _packet in range(30):
            time.sleep(0.001)  # waits for the network, then needs the lock again
        return "answer"

    assert runner.start("open", request, seen.append, seen.append)
    start = time.monotonic()
    while not seen and time.monotonic() < start + STUCK_SECONDS:
        panel.tick()
        pause = time.monotonic() + 0.03
        while time.monotonic() < pause:  # Qt's event loop, with the lock held
            pass
    assert seen == ["answer"]


@pytest.mark.usefixtures("held_lock")
def test_a_result_ends_the_wait_and_nothing_is_waited_for_without_threads() -> None:
    runner, seen = TaskRunner(), []
    start = time.monotonic()
    assert runner.pump(30.0) == 0
    assert runner.start("a", lambda cancel: 1, seen.append, seen.append)
    assert runner.pump(30.0) == 1
    assert time.monotonic() < start + 10
    assert seen == [1]
    assert runner.start("b", lambda cancel: 2, seen.append, seen.append)
    runner.cancel("b")
    late: list[str] = []
    runner.on_late_result = late.append
    runner.pump(30.0)  # a canceled thread is waited for, too
    assert (late, seen) == (["b"], [1])


def test_the_worklist_is_one_request(fake: FakeServer, tmp_path: Path) -> None:
    summary = {
        "version": 3,
        "frames": {"annotated": 2, "empty": 1},
        "reviews": [{"state": "returned", "comment": "too small"}],
    }
    cases = [
        {"case": f"case_{number:03}", "ext": ".mha", "labels": {"final": 3, "original": 0}, "label": summary}
        for number in range(40)
    ]
    labels = {"final": {"info": {"version": 3}}}
    fake.on("GET", "/datastore/worklist", {"tag": "final", "cases": cases})
    index = {case["case"]: {"image": {"ext": ".mha"}, "labels": labels} for case in cases}
    fake.on("GET", "/datastore/?output=all", {"objects": index})
    fake.on("GET", "/datastore/label/history", [summary])
    workspace = connected(tmp_path, fake.url)
    paths = [path for _method, path, _body, _headers in fake.asked if "datastore" in path]
    assert paths == ["/datastore/worklist?tag=final"]
    row = workspace.worklist.row("case_007")
    assert row is not None
    assert (row.state, row.annotated, row.empty, row.version) == ("changes requested", 2, 1, 3)
    assert (row.comment, row.tags) == ("too small", ("final",))


def test_a_server_without_that_request_still_lists_its_cases(fake: FakeServer, tmp_path: Path) -> None:
    labels = {"final": {"info": {"version": 3}}}
    fake.on("GET", "/datastore/?output=all", {"objects": {"a": {"image": {"ext": ".mha"}, "labels": labels}}})
    [row] = connected(tmp_path, fake.url).worklist.rows
    assert (row.case, row.state, row.version) == ("a", "submitted", 3)


# -- wheel ------------------------------------------------------------------------------------------


def turn(window: Any, event: str = "MouseWheelBackwardEvent", view: str = "Red", **keys: int) -> None:
    interactor = window.views()[view].interactor()
    interactor.SetControlKey(keys.get("control", 0))
    interactor.SetShiftKey(keys.get("shift", 0))
    interactor.InvokeEvent(event)


def test_the_wheel_over_a_view_of_the_frames_changes_the_frame(window: Any) -> None:
    position = lambda: window.workspace.controller.position  # noqa: E731
    for _turn in range(3):
        turn(window)
    assert position() == 18
    turn(window, "MouseWheelForwardEvent")
    turn(window, view="Yellow")
    assert position() == 18
    for keys in ({"control": 1}, {"shift": 1}):  # zoom, size of the brush
        turn(window, **keys)
    assert position() == 18
    window.views()["Yellow"].mrmlSliceCompositeNode().SetBackgroundVolumeID("other")
    turn(window, view="Yellow")
    assert position() == 18
    assert window.annotation.frames == {}


def test_the_wheel_is_slicers_outside_the_module_and_after_it(window: Any) -> None:
    window.module.exit()
    turn(window)
    assert window.workspace.controller.position == 15
    window.module.enter()
    turn(window)
    turn(window)
    assert window.workspace.controller.position == 17
    window.put(a_sweep(24))
    turn(window)
    assert window.workspace.controller.position == 16  # from 15, once


def test_the_wheel_works_in_views_of_another_layout(window: Any) -> None:
    from stand_ins import SliceWidget

    manager = window.manager()
    manager.slices["Compare1"] = SliceWidget(window.mrml.scene, "Compare1")
    volume = window.module.logic.scene.frames.volume
    manager.slices["Compare1"].mrmlSliceCompositeNode().SetBackgroundVolumeID(volume.GetID())
    turn(window, view="Compare1")
    assert window.workspace.controller.position == 15
    manager.setLayout(3)
    window.fake.process()
    turn(window, view="Compare1")
    assert window.workspace.controller.position == 16
    window.module.exit()
    manager.setLayout(6)
    window.fake.process()
    turn(window, view="Compare1")
    assert window.workspace.controller.position == 16


def test_slicers_own_slice_browsing_does_not_move_the_slice_as_well() -> None:
    from FetalIQALib.slice_wheel import SliceWheel
    from slice_view import Mrml, SliceView

    mrml = Mrml()
    volume = mrml.scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", "v")
    slicer.util.updateVolumeFromArray(volume, np.zeros((20, 60, 80), np.uint8))
    view = SliceView(mrml)
    view.show(volume)
    interactor = view.browse_by_wheel(mrml)
    before = view.offset
    interactor.InvokeEvent("MouseWheelForwardEvent")
    moved = view.offset
    assert moved != before  # Slicer's own
    steps: list[int] = []
    wheel = SliceWheel(steps.append)
    wheel.observe(interactor, lambda: True)
    for event in ("MouseWheelForwardEvent", "MouseWheelBackwardEvent"):
        interactor.InvokeEvent(event)
    assert (steps, view.offset) == ([-1, 1], moved)
    wheel.end()
    interactor.InvokeEvent("MouseWheelForwardEvent")
    assert (len(steps), view.offset != moved) == (2, True)


# -- plot, layout, closing --------------------------------------------------------------------------


def test_the_plot_keeps_the_image_and_has_a_way_back(window: Any) -> None:
    manager = window.manager()
    red = manager.layout
    window.ui.plotButton.click()
    description = manager.layoutLogic().GetLayoutNode().GetCurrentLayoutDescription()
    assert 'singletontag="Red"' in description
    assert "vtkMRMLPlotViewNode" in description
    assert manager.plot.node.GetPlotChartNodeID() == window.module.logic.scene.plots.chart.GetID()
    window.ui.plotButton.click()
    assert manager.layout == red


def test_the_layout_of_the_user_is_kept(window: Any) -> None:
    manager = window.manager()
    manager.layoutLogic().GetLayoutNode().SetViewArrangement(3)
    window.put(a_sweep(24))
    assert manager.layout == 3
    window.mrml.scene.RemoveNode(window.module.logic.scene.overlay.human)
    window.module.panel.tick()  # made again
    assert window.module.logic.scene.complete
    assert manager.layout == 3


def test_a_case_can_be_closed_and_its_nodes_stay_away(window: Any) -> None:
    from FetalIQALib.image_sequence import OWNER

    manager = window.manager()
    manager.layoutLogic().GetLayoutNode().SetViewArrangement(3)
    window.press("D")
    window.press("Ctrl+Shift+W")
    window.module.panel.tick()
    nodes = window.mrml.scene.GetNodes()
    assert not [
        node.GetName()
        for node in (nodes.GetItemAsObject(number) for number in range(nodes.GetNumberOfItems()))
        if node.GetAttribute(OWNER)
    ]
    assert (window.annotation, manager.layout) == (None, 3)
    assert "case_a is closed" in window.ui.statusLabel.text()
    assert '"15"' in window.workspace.journals.path("case_a", "final").read_text()


def test_nodes_deleted_in_another_module_do_not_come_back(window: Any) -> None:
    from PySide6.QtTest import QTest

    window.press("D")
    window.module.exit()
    scene = window.module.logic.scene
    for node in (scene.frames.sequence, scene.frames.volume, scene.overlay.human):
        window.mrml.scene.RemoveNode(node)
    QTest.qWait(150)
    assert window.mrml.scene.GetNumberOfNodesByClass("vtkMRMLSequenceNode") == 0
    window.module.enter()
    window.module.panel.tick()
    assert window.annotation is None
    assert "case_a" in window.ui.statusLabel.text()
    assert window.mrml.scene.GetNumberOfNodesByClass("vtkMRMLSequenceNode") == 0


def test_the_timer_runs_only_inside_the_module(window: Any) -> None:
    assert window.module.panel._timer.isActive()
    window.module.exit()
    assert not window.module.panel._timer.isActive()
    window.module.enter()
    assert window.module.panel._timer.isActive()


# -- reload, self-test, translation -----------------------------------------------------------------


def test_reload_loads_the_library_again(window: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    library = {name: module for name, module in sys.modules.items() if name.split(".")[0] == "FetalIQALib"}
    old = {"FetalIQA": sys.modules["FetalIQA"], **library}
    assert "FetalIQALib.main_panel" in library
    try:
        window.module.onReload()
        assert sys.modules["FetalIQA"] is not old["FetalIQA"]
        loaded_again = {name for name in library if sys.modules.get(name) not in (None, library[name])}
        assert {"FetalIQALib.main_panel", "FetalIQALib.sweep_scene", "FetalIQALib.translation"} <= loaded_again
        assert sys.modules["FetalIQA"].MainPanel is sys.modules["FetalIQALib.main_panel"].MainPanel
        assert sys.modules["FetalIQA"].MainPanel is not library["FetalIQALib.main_panel"].MainPanel
    finally:
        for name in [name for name in sys.modules if name.split(".")[0] == "FetalIQALib"]:
            del sys.modules[name]
        sys.modules.update(old)


def test_the_self_test_leaves_no_open_file_in_its_folder(window: Any, tmp_path: Path) -> None:
    window.workspace.controller.close()
    folder = tmp_path / "self-test"
    self_test.run(window.mrml.scene, window.mrml.sequences, folder)
    open_files = [str(link.resolve()) for link in Path("/proc/self/fd").iterdir() if link.exists()]
    assert list(folder.rglob("*.json"))
    assert [name for name in open_files if name.startswith(str(folder))] == []


def test_the_translator_is_called_on_the_main_thread_only(monkeypatch: pytest.MonkeyPatch) -> None:
    callers: list[threading.Thread] = []

    def translator(text: str) -> str:
        callers.append(threading.current_thread())
        return {"Only {done} of {total}.": "Nur {done} von {total}."}.get(text, text)

    monkeypatch.setattr(translation, "_translator", translator)

    def fail(cancel: Any) -> None:
        raise InvalidResponse(_("Only {done} of {total}.").format(done=1, total=2))

    runner, errors = TaskRunner(), []
    assert runner.start("a", fail, errors.append, errors.append)
    deadline = time.monotonic() + 10
    while not errors and time.monotonic() < deadline:
        runner.pump(0.1)
    assert str(errors[0]) == "Nur 1 von 2."
    assert {*callers} == {threading.main_thread()}


def test_the_translator_is_not_called_by_the_threads_of_requests(
    fake: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    callers: set[str] = set()
    monkeypatch.setattr(
        translation, "_translator", lambda text: callers.add(threading.current_thread().name) or text
    )
    workspace = connected(tmp_path, fake.url)
    fake.on("GET", "/datastore/worklist", lambda handler: (500, b"{}", {}))
    assert workspace.worklist.refresh()
    settle(workspace)
    assert "500" in workspace.session.status.text
    assert isinstance(workspace.session.status.error, FetalIQAError)
    assert callers == {threading.main_thread().name}
    assert json.dumps(workspace.session.status.text)
