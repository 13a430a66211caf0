"""An annotator's session in the window against a real server with the demo model, in one test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from app_harness import Server
from demo_server import CASES

pytest.importorskip(
    "slicer", reason="slicer-core cannot be imported: pip install -e '.[dev]'", exc_type=ImportError
)
pytest.importorskip("PySide6", reason="PySide6 cannot be imported: pip install -e '.[dev]'", exc_type=ImportError)

from workspaces import settle, wait_for

pytestmark = pytest.mark.slow

FIRST_HALF = """
    import sys, time
    sys.path[:0] = {paths!r}
    from pathlib import Path
    from test_slicer_hour import begin, open_case, stroke, wheel
    module = begin(Path({folder!r}), {url!r})
    annotation = open_case(module, {case!r})
    run, controller = module.panel.actions.run, module.logic.workspace.controller
    best = annotation.sweep.assessment.best
    assert controller.position == best, "the case opens at the best frame"
    run("accept"); run("optimal")
    others = [frame for frame in sorted(annotation.sweep.assessment.proposals) if frame != best]
    controller.go_to(others[0])
    run("accept")
    stroke(module, annotation.proposal(others[0]).mask.full()[::-1].copy())   # corrected
    for frame in (1, 2, 3):
        controller.go_to(frame); run("empty")
    run("undo")
    module.ui.frameCommentEdit.setText("shadow on the left")
    wheel(annotation.sweep.count)                                     # scrolls to the end: labels nothing
    assert controller.position == max(frame for frame in range(annotation.sweep.count)
                                      if not annotation.sweep.padding[frame])
    assert annotation.frame(3).comment == "shadow on the left"        # of the frame that it was typed for
    controller.go_to(best)
    print("ready", best, others[0], flush=True)
    time.sleep(600)
"""


def begin(folder: Path, url: str):
    """The module's window, connected."""
    from slice_view import Mrml
    from stand_ins import FakeSlicer

    mrml = Mrml()
    fake = FakeSlicer(mrml, folder)
    import FetalIQA

    module = FetalIQA.FetalIQAWidget(fake.holder)
    module.setup()
    fake.window.show()
    module.enter()
    module.references = (mrml, fake)
    module.ui.addressEdit.setText(url)
    module.ui.raterEdit.setText("anna")
    module.ui.tagEdit.setText("hour")
    module.panel.connect_server()
    settle(module.logic.workspace)
    assert module.logic.workspace.session.online, module.logic.workspace.session.status
    return module


def open_case(module, case: str):
    """Double-click a case in the list and wait for its assessment."""
    table = module.ui.caseTable
    rows = [row for row in range(table.rowCount()) if table.item(row, 0).text() == case]
    table.cellDoubleClicked.emit(rows[0], 0)
    workspace = module.logic.workspace
    settle(workspace)
    annotation = workspace.controller.annotation
    assert annotation is not None, workspace.session.status
    assert (annotation.sweep.case, annotation.sweep.assessment is not None) == (case, True)
    return annotation


def wheel(turns: int) -> None:
    """Turn the mouse wheel over the Red slice view, away from the user if negative."""
    import slicer

    interactor = slicer.app.layoutManager().sliceWidget("Red").sliceView().interactor()
    for _turn in range(abs(turns)):
        interactor.InvokeEvent("MouseWheelBackwardEvent" if turns > 0 else "MouseWheelForwardEvent")


def stroke(module, mask: np.ndarray) -> None:
    """A stroke of the Segment Editor, and the timer after it."""
    import slicer

    overlay, logic = module.logic.scene.overlay, slicer.vtkSlicerSegmentationsModuleLogic
    image = slicer.vtkOrientedImageData()
    image.DeepCopy(overlay._image(mask))
    assert logic.SetBinaryLabelmapToSegment(image, overlay.human, "abdomen", logic.MODE_REPLACE)
    module.panel.tick()


def test_an_annotators_hour(server: Server, tmp_path: Path) -> None:
    script = textwrap.dedent(FIRST_HALF).format(
        paths=[str(Path(__file__).parent), *sys.path], folder=str(tmp_path), url=server.url, case=CASES[0]
    )
    with open(tmp_path / "first.log", "w") as log:
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=log, text=True)
    output = process.stdout.readline().split()
    assert output[:1] == ["ready"], (tmp_path / "first.log").read_text()[-3000:]
    best, other = int(output[1]), int(output[2])
    os.kill(process.pid, signal.SIGKILL)  # Slicer crashes
    process.wait()

    module = begin(tmp_path, server.url)
    workspace, ui, run = module.logic.workspace, module.ui, module.panel.actions.run
    annotation = open_case(module, CASES[0])
    assert annotation.frames == {}
    assert ui.resumeFrame.isVisibleTo(ui.resumeFrame.parentWidget())
    ui.resumeButton.click()
    assert {number: frame.state for number, frame in annotation.frames.items()} == {
        best: "annotated",
        other: "annotated",
        1: "empty",
        2: "empty",
        3: "untouched",
    }  # the third was undone; it has a comment
    assert annotation.frame(3).comment == "shadow on the left"
    corrected = annotation.sweep.assessment.proposals[other].mask.full()[::-1]
    assert np.array_equal(annotation.masks()[other].full(), corrected)
    workspace.controller.go_to(best - 2)
    wheel(3)
    wheel(-1)
    assert workspace.controller.position == best
    assert float(ui.measureLabel.text().split()[1]) > 100  # mm, the phantom's
    assert "(proposed)" not in ui.measureLabel.text()

    run("submit")
    settle(workspace)
    assert "version 1" in ui.statusLabel.text()
    record = server.raw("GET", f"/datastore/label/info?label={CASES[0]}&tag=hour").json()["frame_record"]
    assert {int(key): value["state"] for key, value in record["frames"].items()} == {
        best: "annotated",
        other: "annotated",
        1: "empty",
        2: "empty",
        3: "proposed",  # a comment confirms nothing
    }
    assert record["frames"]["3"]["comment"] == "shadow on the left"
    assert record["frames"][str(best)]["plane"] == "optimal"
    assert not workspace.journals.path(CASES[0], "hour").exists()
    row = workspace.worklist.row(CASES[0])
    assert (row.state, row.annotated, row.empty) == ("submitted", 2, 2)

    messages = []
    workspace.session.add_listener(
        lambda topic: messages.append(workspace.session.status) if topic == "status" else None
    )
    index = server.raw("GET", "/datastore/?output=all").json()["objects"]
    final = [case for case, output in index.items() if "final" in output["labels"]]
    run("train")
    settle(workspace)
    started = any(status.text == "Training started." for status in messages)
    refused = [status.text for status in messages if status.kind == "problem"]
    assert started != bool(refused), messages
    assert final or "no frame is confirmed" in refused[0], messages  # a sentence, and work goes on
    if started:
        assert workspace.training.stop()
        settle(workspace)
    assert json.dumps(annotation.record()) == json.dumps(workspace.controller.annotation.record())

    run("nextCase")
    wait_for(workspace, lambda: workspace.session.status.text != "")
    settle(workspace)
    annotation = open_case(module, CASES[1])
    assert CASES[1][:8] in ui.positionLabel.text()
    run("best")
    best = workspace.controller.position
    run("accept")
    run("copyNext")
    assert str(best + 1) in ui.statusLabel.text()
    wheel(1)
    assert ui.statusLabel.text() == ""  # the message was about the other frame
    ui.caseCommentEdit.setText("probe lifted in the second sweep")
    run("submit")
    settle(workspace)
    row = workspace.worklist.row(CASES[1])
    assert (row.version, row.state) == (1, "submitted"), workspace.session.status
    assert row.note == "probe lifted in the second sweep"
    assert "2 cases" in ui.countsLabel.text()

    run("previousCase")
    wait_for(workspace, lambda: workspace.controller.annotation.sweep.case != CASES[1])
    settle(workspace)
    ui.skipCombo.setCurrentIndex(0)
    ui.skipButton.click()
    wait_for(workspace, lambda: workspace.worklist.row(CASES[0]).state == "skipped")
    settle(workspace)
    assert workspace.worklist.row(CASES[0]).version == 2
    run("closeCase")
    assert workspace.controller.annotation is None
    assert not ui.workFrame.isVisibleTo(ui.workFrame.parentWidget())
    module.cleanup()
