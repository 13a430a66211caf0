"""An annotator's hour against a real server with the demo model: the whole way in one test, in the real window."""

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

from workplaces import settle, wait_for

FIRST_HALF = """
    import sys, time
    sys.path[:0] = {paths!r}
    from pathlib import Path
    from test_slicer_hour import begin, open_case, stroke
    module = begin(Path({folder!r}), {url!r})
    work = open_case(module, {case!r})
    run, desk = module.panel.actions.run, module.logic.place.desk
    best = work.sweep.assessment.best
    assert desk.position == best, "the desk opens at the best frame"
    run("accept"); run("optimal")
    others = [frame for frame in sorted(work.sweep.assessment.proposals) if frame != best]
    desk.go_to(others[0])
    run("accept")
    stroke(module, work.proposal(others[0]).mask.full()[::-1].copy())   # corrected
    for frame in (1, 2, 3):
        desk.go_to(frame); run("empty")
    run("undo")
    for _ in range(work.sweep.count):
        run("next")                                                   # scrolls to the end: decides nothing
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
    module.kept = (mrml, fake)
    module.ui.addressEdit.setText(url)
    module.ui.raterEdit.setText("anna")
    module.ui.tagEdit.setText("hour")
    module.panel.connect_server()
    settle(module.logic.place)
    assert module.logic.place.hub.online, module.logic.place.hub.status
    return module


def open_case(module, case: str):
    """Double-click a case in the list, wait until the model has looked at it."""
    table = module.ui.caseTable
    rows = [row for row in range(table.rowCount()) if table.item(row, 0).text() == case]
    table.cellDoubleClicked.emit(rows[0], 0)
    place = module.logic.place
    settle(place)
    work = place.desk.work
    assert work is not None, place.hub.status
    assert (work.sweep.case, work.sweep.assessment is not None) == (case, True)
    return work


def stroke(module, mask: np.ndarray) -> None:
    """What the Segment Editor does at the end of a stroke, and the timer after it."""
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
    told = process.stdout.readline().split()
    assert told[:1] == ["ready"], (tmp_path / "first.log").read_text()[-3000:]
    best, other = int(told[1]), int(told[2])
    os.kill(process.pid, signal.SIGKILL)  # Slicer crashes
    process.wait()

    module = begin(tmp_path, server.url)
    place, ui, run = module.logic.place, module.ui, module.panel.actions.run
    work = open_case(module, CASES[0])
    assert work.frames == {}
    assert ui.resumeFrame.isVisibleTo(ui.resumeFrame.parentWidget())
    ui.resumeButton.click()
    assert {number: frame.state for number, frame in work.frames.items()} == {
        best: "annotated",
        other: "annotated",
        1: "empty",
        2: "empty",
    }  # the third was undone
    corrected = work.sweep.assessment.proposals[other].mask.full()[::-1]
    assert np.array_equal(work.masks()[other].full(), corrected)
    place.desk.go_to(best)
    assert float(ui.measureLabel.text().split()[1]) > 100  # mm, the phantom's
    assert "(proposed)" not in ui.measureLabel.text()

    run("submit")
    settle(place)
    assert "version 1" in ui.statusLabel.text()
    record = server.raw("GET", f"/datastore/label/info?label={CASES[0]}&tag=hour").json()["frame_record"]
    assert {int(key): value["state"] for key, value in record["frames"].items()} == {
        best: "annotated",
        other: "annotated",
        1: "empty",
        2: "empty",
    }
    assert record["frames"][str(best)]["plane"] == "optimal"
    assert not place.journals.path(CASES[0], "hour").exists()
    row = place.worklist.row(CASES[0])
    assert (row.state, row.annotated, row.empty) == ("submitted", 2, 2)

    said = []
    place.hub.listen(lambda topic: said.append(place.hub.status) if topic == "status" else None)
    index = server.raw("GET", "/datastore/?output=all").json()["objects"]
    final = [case for case, told in index.items() if "final" in told["labels"]]  # of other tests on this server
    run("train")
    settle(place)
    started = any(status.text == "Training was started." for status in said)
    refused = [status.text for status in said if status.kind == "problem"]
    assert started != bool(refused), said
    assert final or "no frame is confirmed" in refused[0], said  # a sentence, and work goes on
    if started:
        assert place.learning.stop()
        settle(place)
    assert json.dumps(work.record()) == json.dumps(place.desk.work.record())

    run("nextCase")
    wait_for(place, lambda: place.hub.status.text != "")
    settle(place)
    work = open_case(module, CASES[1])
    run("best")
    run("accept")
    run("copyNext")
    run("submit")
    settle(place)
    assert place.worklist.row(CASES[1]).version == 1, place.hub.status
    module.cleanup()
