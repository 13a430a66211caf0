"""The workspace without Slicer against a real server: sample cases, demo model, real sockets."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from app_harness import Server
from demo_server import CASES
from FetalIQALib.frame_annotations import ANNOTATED, EMPTY
from workspaces import connected, opened, settle, wait_for


def label_file(server: Server, case: str, tag: str, tmp_path: Path) -> sitk.Image:
    answer = server.raw("GET", f"/datastore/label?label={case}&tag={tag}")
    assert answer.status == 200
    (tmp_path / "sent.mha").write_bytes(answer.body)
    return sitk.ReadImage(str(tmp_path / "sent.mha"))


def test_connecting_shows_models_and_worklist(server: Server, tmp_path: Path) -> None:
    workspace = connected(tmp_path, server.url)
    assert "demo" in workspace.session.info.models["fetalclip_seg"]
    assert {*CASES} <= {row.case for row in workspace.worklist.rows}
    assert "random" in workspace.session.info.strategies


def test_exactly_the_labelled_frames_are_submitted(server: Server, tmp_path: Path) -> None:
    workspace = connected(tmp_path, server.url, tag="exact")
    controller, annotation = workspace.controller, opened(workspace, CASES[0])
    sweep = annotation.sweep
    assert sweep.assessment.best is not None
    assert sweep.ranges == ((0, 48), (48, 96))
    best, other = sweep.assessment.best, sorted(sweep.assessment.proposals)[0]
    assert controller.position == best

    assert controller.apply("accept", lambda annotation: annotation.accept(best))
    drawn = np.zeros(sweep.shape, np.uint8)
    drawn[0, 0] = drawn[-1, -1] = 1  # the corners: a grid that is off by one loses them
    drawn[100:150, 100:200] = 1
    assert controller.apply("draw", lambda annotation: annotation.correct(other, drawn) and None)
    assert controller.apply("empty", lambda annotation: annotation.mark_empty(3))
    assert controller.apply("grade", lambda annotation: annotation.grade(best, "optimal"))
    assert controller.submit()
    settle(workspace)
    assert annotation.based_on == 1
    assert not annotation.unsaved

    sent = label_file(server, CASES[0], "exact", tmp_path)
    image = sitk.ReadImage(str(server.images / f"{CASES[0]}.mha"))
    for grid in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(sent, grid)() == getattr(image, grid)()
    stack = sitk.GetArrayFromImage(sent)
    assert np.flatnonzero(stack.any(axis=(1, 2))).tolist() == sorted([best, other])
    assert np.array_equal(stack[other], drawn)
    assert np.array_equal(stack[best], sweep.assessment.proposals[best].mask.full())
    record = server.raw("GET", f"/datastore/label/info?label={CASES[0]}&tag=exact").json()["frame_record"]
    states = {int(frame): entry["state"] for frame, entry in record["frames"].items()}
    assert states == {best: ANNOTATED, other: ANNOTATED, 3: EMPTY}
    assert record["frames"][str(best)]["plane"] == "optimal"
    assert record["frames"][str(best)]["rater"] == "anna"
    assert record["frames"][str(best)]["model"] == "demo"
    row = workspace.worklist.row(CASES[0])
    assert (row.state, row.annotated, row.empty, row.version) == ("submitted", 2, 1, 1)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_rotated_grid_is_kept_in_every_format(server: Server, tmp_path: Path, suffix: str) -> None:
    """LPS files with a rotated direction, unusual spacing and origin: the label is on the image's own grid."""
    stack = np.random.default_rng(1).integers(20, 90, (5, 40, 50), dtype=np.uint8)
    image = sitk.GetImageFromArray(stack)
    image.SetSpacing((0.28123456789, 0.3100001, 1.5))
    image.SetOrigin((3.1234567, -4.0, 5.0))
    image.SetDirection((0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0))
    case = f"turned-{suffix.strip('.').replace('.', '-')}"
    sitk.WriteImage(image, str(tmp_path / f"image{suffix}"))
    with open(tmp_path / f"image{suffix}", "rb") as file:
        put = server.call("PUT", f"/datastore/image?image={case}", files={"file": (f"{case}{suffix}", file)})
    assert put.status == 200, put.body
    workspace = connected(tmp_path, server.url)
    annotation = opened(workspace, case)
    assert np.array_equal(annotation.sweep.stack.frames, stack)
    drawn = np.zeros((40, 50), np.uint8)
    drawn[7, 9] = drawn[39, 49] = 1
    workspace.controller.apply("draw", lambda annotation: annotation.correct(2, drawn) and None)
    assert workspace.controller.submit()
    settle(workspace)
    assert annotation.based_on == 1, workspace.session.status
    received = sitk.ReadImage(str(tmp_path / f"image{suffix}"))
    sent = label_file(server, case, "final", tmp_path)
    assert sent.GetSize() == received.GetSize()
    for grid in ("GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(sent, grid)() == pytest.approx(getattr(received, grid)(), rel=1e-12, abs=1e-12)
    assert np.array_equal(sitk.GetArrayFromImage(sent)[2], drawn)


def test_a_submitted_case_can_be_reopened(server: Server, tmp_path: Path) -> None:
    workspace = connected(tmp_path, server.url, tag="again")
    annotation = opened(workspace, CASES[0])
    frame = sorted(annotation.sweep.assessment.proposals)[0]
    workspace.controller.apply("accept", lambda annotation: annotation.accept(frame))
    workspace.controller.submit()
    settle(workspace)
    opened(workspace, CASES[1])
    annotation = opened(workspace, CASES[0])
    assert (annotation.based_on, annotation.frame(frame).state, annotation.unsaved) == (1, ANNOTATED, False)
    workspace.controller.apply("empty", lambda annotation: annotation.mark_empty(0))
    assert workspace.controller.submit()
    settle(workspace)
    assert annotation.based_on == 2


def test_a_reopened_case_resumes_unsubmitted_work(server: Server, tmp_path: Path) -> None:
    workspace = connected(tmp_path, server.url, tag="reopened")
    opened(workspace, CASES[0])
    for frame in (1, 2):
        assert workspace.controller.apply("empty", lambda annotation, frame=frame: annotation.mark_empty(frame))

    def labelled() -> list[int]:
        assert workspace.controller.annotation is not None
        return sorted(number for number, frame in workspace.controller.annotation.frames.items() if frame.labelled)

    opened(workspace, CASES[1])
    assert labelled() == []
    opened(workspace, CASES[0])  # another case between
    assert labelled() == [1, 2]
    opened(workspace, CASES[0])  # the row that is open
    assert labelled() == [1, 2]
    assert workspace.controller.close()  # the scene was closed
    opened(workspace, CASES[0])
    assert labelled() == [1, 2]
    assert workspace.connect(server.url, rater="anna", tag="elsewhere")  # another label, and back
    settle(workspace)
    assert workspace.connect(server.url, rater="anna", tag="reopened")
    settle(workspace)
    annotation = opened(workspace, CASES[0])
    assert labelled() == [1, 2]
    assert annotation.unsaved
    assert workspace.controller.apply("empty", lambda annotation: annotation.mark_empty(4))
    assert workspace.controller.submit()
    settle(workspace)
    record = server.raw("GET", f"/datastore/label/info?label={CASES[0]}&tag=reopened").json()["frame_record"]
    assert sorted(map(int, record["frames"])) == [1, 2, 4]
    opened(workspace, CASES[1])
    opened(workspace, CASES[0])
    assert not workspace.controller.annotation.unsaved
    assert not workspace.controller.autosave.offered, "what was submitted was offered again"


def test_a_case_that_cannot_be_saved_stays_open(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = connected(tmp_path, server.url, tag="refused")
    opened(workspace, CASES[0])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("FetalIQALib.journal.write_atomically", full)
    workspace.controller.apply("empty", lambda annotation: annotation.mark_empty(7))
    assert not workspace.controller.close()
    assert workspace.controller.annotation is not None
    assert workspace.controller.annotation.frame(7).state == EMPTY
    assert "No space left" in workspace.session.status.text


def test_a_conflict_of_two_raters_is_resolved(server: Server, tmp_path: Path) -> None:
    places = [connected(tmp_path / name, server.url, rater=name, tag="shared") for name in ("anna", "ben")]
    works = [opened(workspace, CASES[1]) for workspace in places]
    frame = sorted(works[0].sweep.assessment.proposals)[0]
    for workspace in places:
        workspace.controller.apply("accept", lambda annotation: annotation.accept(frame))
    places[1].controller.apply("empty", lambda annotation: annotation.mark_empty(1))
    for workspace in places:
        assert workspace.controller.submit()
        settle(workspace)
    anna, ben = places
    conflict = ben.controller.conflict
    assert (conflict.version, conflict.who) == (1, "anna")
    assert sorted(conflict.frames) == [frame]
    assert works[1].unsaved  # nothing of ben's is lost or sent
    assert ben.journals.path(CASES[1], "shared").exists()

    assert ben.controller.resolve("both", "shared-ben")
    settle(ben)
    assert not works[1].unsaved
    for tag, version in (("shared", 1), ("shared-ben", 1)):
        history = server.raw("GET", f"/datastore/label/history?label={CASES[1]}&tag={tag}").json()
        assert [entry["version"] for entry in history] == [version]

    ben.controller.apply("empty", lambda annotation: annotation.mark_empty(2))
    ben.controller.submit()
    settle(ben)
    assert ben.controller.conflict.version == 1
    assert ben.controller.resolve("mine")
    settle(ben)
    assert works[1].based_on == 2
    anna.controller.apply("empty", lambda annotation: annotation.mark_empty(5))
    anna.controller.submit()
    settle(anna)
    assert anna.controller.resolve("theirs")
    assert sorted(works[0].frames) == [1, 2, frame]
    assert works[0].based_on == 2
    assert [path.name.split("-")[-1] for path in (anna.journals.folder / "archived").iterdir()] != []


def test_a_lost_response_is_no_conflict(server: Server, tmp_path: Path) -> None:
    """The server saved, but its response was lost: the next submission succeeds."""
    workspace = connected(tmp_path, server.url, tag="lost")
    annotation = opened(workspace, CASES[1])
    workspace.controller.apply("empty", lambda annotation: annotation.mark_empty(1))
    assert workspace.controller.submit()
    while workspace.worklist.session.runner._results.empty():  # the answer is here, but it is never delivered
        pass
    workspace.runner.cancel("submit")
    assert annotation.unsaved
    workspace.controller.apply("empty", lambda annotation: annotation.mark_empty(2))
    assert workspace.controller.submit()
    settle(workspace)
    assert workspace.controller.conflict is None
    assert (annotation.based_on, annotation.unsaved) == (2, False)


CRASHING = """
    import os, sys, time
    sys.path[:0] = {paths!r}
    from pathlib import Path
    from workspaces import connected, opened
    workspace = connected(Path({folder!r}), {url!r}, tag="crash")
    annotation = opened(workspace, {case!r})
    first, second = sorted(annotation.sweep.assessment.proposals)[:2]
    workspace.controller.go_to(first)
    workspace.controller.apply("accept", lambda annotation: annotation.accept(first))
    workspace.controller.apply("accept", lambda annotation: annotation.accept(second))
    workspace.controller.apply("empty", lambda annotation: annotation.mark_empty(2))
    workspace.controller.apply("undo", lambda annotation: annotation.undo() and None)
    workspace.controller.apply("grade", lambda annotation: annotation.grade(second, "suboptimal"))
    workspace.controller.go_to(second)
    print("ready", first, second, flush=True)
    time.sleep(600)
"""


def test_a_killed_slicer_loses_nothing(server: Server, tmp_path: Path) -> None:
    script = textwrap.dedent(CRASHING).format(paths=sys.path, folder=str(tmp_path), url=server.url, case=CASES[1])
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    _, first, second = process.stdout.readline().split()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    workspace = connected(tmp_path, server.url, tag="crash")
    assert [row.case for row in workspace.worklist.shown("in progress")] == [CASES[1]]
    annotation = opened(workspace, CASES[1])
    assert annotation.frames == {}  # offered, not forced
    assert len(workspace.controller.autosave.offered) == 1
    assert workspace.controller.resume()
    assert {number: frame.state for number, frame in annotation.frames.items()} == {
        int(first): ANNOTATED,
        int(second): ANNOTATED,
    }
    assert annotation.frame(int(second)).plane == "suboptimal"
    assert annotation.frame(int(first)).mask == annotation.sweep.assessment.proposals[int(first)].mask
    assert workspace.controller.position == int(first)  # where the last decision was made
    assert workspace.controller.submit()
    settle(workspace)
    assert annotation.based_on == 1
    assert workspace.worklist.shown("in progress") == []


def test_the_next_case_comes_from_the_servers_strategy(server: Server, tmp_path: Path) -> None:
    # cases that other tests labelled or hold are not offered
    image = sitk.GetImageFromArray(np.random.default_rng(2).integers(20, 90, (3, 40, 50), dtype=np.uint8))
    sitk.WriteImage(image, str(tmp_path / "fresh.mha"))
    with open(tmp_path / "fresh.mha", "rb") as file:
        put = server.call("PUT", "/datastore/image?image=fresh", files={"file": ("fresh.mha", file)})
    assert put.status == 200, put.body
    workspace = connected(tmp_path, server.url)
    assert workspace.open_next("random")
    wait_for(workspace, lambda: workspace.controller.annotation is not None)
    assert workspace.controller.annotation.sweep.case in [row.case for row in workspace.worklist.rows]
    settle(workspace)
    assert not workspace.open_next("no-such") or settle(workspace) is None
    assert workspace.session.status.kind == "problem"
    assert "no-such" in workspace.session.status.text
    assert workspace.controller.annotation is not None
