"""The workplace without Slicer against a real server: sample cases, demo model, real sockets."""

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
from FetalIQALib.decisions import ANNOTATED, EMPTY
from workplaces import connected, opened, settle, wait_for


def label_file(server: Server, case: str, tag: str, tmp_path: Path) -> sitk.Image:
    answer = server.raw("GET", f"/datastore/label?label={case}&tag={tag}")
    assert answer.status == 200
    (tmp_path / "sent.mha").write_bytes(answer.body)
    return sitk.ReadImage(str(tmp_path / "sent.mha"))


def test_connecting_shows_models_and_worklist(server: Server, tmp_path: Path) -> None:
    place = connected(tmp_path, server.url)
    assert "demo" in place.hub.info.models["fetalclip_seg"]
    assert {*CASES} <= {row.case for row in place.worklist.rows}
    assert "random" in place.hub.info.strategies


def test_what_is_submitted_is_exactly_what_was_decided(server: Server, tmp_path: Path) -> None:
    place = connected(tmp_path, server.url, tag="exact")
    desk, work = place.desk, opened(place, CASES[0])
    sweep = work.sweep
    assert sweep.assessment.best is not None
    assert sweep.ranges == ((0, 48), (48, 96))
    best, other = sweep.assessment.best, sorted(sweep.assessment.proposals)[0]
    assert desk.position == best

    assert desk.act("accept", lambda work: work.accept(best))
    drawn = np.zeros(sweep.shape, np.uint8)
    drawn[0, 0] = drawn[-1, -1] = 1  # the corners: a grid that is off by one loses them
    drawn[100:150, 100:200] = 1
    assert desk.act("draw", lambda work: work.correct(other, drawn) and None)
    assert desk.act("empty", lambda work: work.mark_empty(3))
    assert desk.act("grade", lambda work: work.grade(best, "optimal"))
    assert desk.submit()
    settle(place)
    assert work.based_on == 1
    assert not work.unsaved

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
    row = place.worklist.row(CASES[0])
    assert (row.state, row.annotated, row.empty, row.version) == ("submitted", 2, 1, 1)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_a_turned_grid_survives_every_format(server: Server, tmp_path: Path, suffix: str) -> None:
    """LPS files with a turned direction, odd spacing and origin: the label lies on the image's own grid."""
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
    place = connected(tmp_path, server.url)
    work = opened(place, case)
    assert np.array_equal(work.sweep.stack.frames, stack)
    drawn = np.zeros((40, 50), np.uint8)
    drawn[7, 9] = drawn[39, 49] = 1
    place.desk.act("draw", lambda work: work.correct(2, drawn) and None)
    assert place.desk.submit()
    settle(place)
    assert work.based_on == 1, place.hub.status
    received = sitk.ReadImage(str(tmp_path / f"image{suffix}"))
    sent = label_file(server, case, "final", tmp_path)
    assert sent.GetSize() == received.GetSize()
    for grid in ("GetSpacing", "GetOrigin", "GetDirection"):
        assert getattr(sent, grid)() == pytest.approx(getattr(received, grid)(), rel=1e-12, abs=1e-12)
    assert np.array_equal(sitk.GetArrayFromImage(sent)[2], drawn)


def test_a_submitted_case_is_reopened_and_goes_on(server: Server, tmp_path: Path) -> None:
    place = connected(tmp_path, server.url, tag="again")
    work = opened(place, CASES[0])
    frame = sorted(work.sweep.assessment.proposals)[0]
    place.desk.act("accept", lambda work: work.accept(frame))
    place.desk.submit()
    settle(place)
    opened(place, CASES[1])
    work = opened(place, CASES[0])
    assert (work.based_on, work.frame(frame).state, work.unsaved) == (1, ANNOTATED, False)
    place.desk.act("empty", lambda work: work.mark_empty(0))
    assert place.desk.submit()
    settle(place)
    assert work.based_on == 2


def test_a_case_opened_again_goes_on_with_what_was_not_submitted(server: Server, tmp_path: Path) -> None:
    place = connected(tmp_path, server.url, tag="reopened")
    opened(place, CASES[0])
    for frame in (1, 2):
        assert place.desk.act("empty", lambda work, frame=frame: work.mark_empty(frame))

    def decided() -> list[int]:
        assert place.desk.work is not None
        return sorted(number for number, frame in place.desk.work.frames.items() if frame.decided)

    opened(place, CASES[1])
    assert decided() == []
    opened(place, CASES[0])  # another case between
    assert decided() == [1, 2]
    opened(place, CASES[0])  # the row that is open
    assert decided() == [1, 2]
    assert place.desk.close()  # the scene was closed
    opened(place, CASES[0])
    assert decided() == [1, 2]
    assert place.connect(server.url, rater="anna", tag="elsewhere")  # another label, and back
    settle(place)
    assert place.connect(server.url, rater="anna", tag="reopened")
    settle(place)
    work = opened(place, CASES[0])
    assert decided() == [1, 2]
    assert work.unsaved
    assert place.desk.act("empty", lambda work: work.mark_empty(4))
    assert place.desk.submit()
    settle(place)
    record = server.raw("GET", f"/datastore/label/info?label={CASES[0]}&tag=reopened").json()["frame_record"]
    assert sorted(map(int, record["frames"])) == [1, 2, 4]
    opened(place, CASES[1])
    opened(place, CASES[0])
    assert not place.desk.work.unsaved
    assert not place.desk.keeper.offered, "what was submitted was offered again"


def test_a_disk_that_refuses_leaves_the_work_on_the_desk(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = connected(tmp_path, server.url, tag="refused")
    opened(place, CASES[0])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("FetalIQALib.journal.write_atomically", full)
    place.desk.act("empty", lambda work: work.mark_empty(7))
    assert not place.desk.close()
    assert place.desk.work is not None
    assert place.desk.work.frame(7).state == EMPTY
    assert "No space left" in place.hub.status.text


def test_two_raters_meet_and_choose(server: Server, tmp_path: Path) -> None:
    places = [connected(tmp_path / name, server.url, rater=name, tag="shared") for name in ("anna", "ben")]
    works = [opened(place, CASES[1]) for place in places]
    frame = sorted(works[0].sweep.assessment.proposals)[0]
    for place in places:
        place.desk.act("accept", lambda work: work.accept(frame))
    places[1].desk.act("empty", lambda work: work.mark_empty(1))
    for place in places:
        assert place.desk.submit()
        settle(place)
    anna, ben = places
    conflict = ben.desk.conflict
    assert (conflict.version, conflict.who) == (1, "anna")
    assert sorted(conflict.frames) == [frame]
    assert works[1].unsaved  # nothing of ben's is lost or sent
    assert ben.journals.path(CASES[1], "shared").exists()

    assert ben.desk.resolve("both", "shared-ben")
    settle(ben)
    assert not works[1].unsaved
    for tag, version in (("shared", 1), ("shared-ben", 1)):
        history = server.raw("GET", f"/datastore/label/history?label={CASES[1]}&tag={tag}").json()
        assert [entry["version"] for entry in history] == [version]

    ben.desk.act("empty", lambda work: work.mark_empty(2))
    ben.desk.submit()
    settle(ben)
    assert ben.desk.conflict.version == 1
    assert ben.desk.resolve("mine")
    settle(ben)
    assert works[1].based_on == 2
    anna.desk.act("empty", lambda work: work.mark_empty(5))
    anna.desk.submit()
    settle(anna)
    assert anna.desk.resolve("theirs")
    assert sorted(works[0].frames) == [1, 2, frame]
    assert works[0].based_on == 2
    assert [path.name.split("-")[-1] for path in (anna.journals.folder / "aside").iterdir()] != []


def test_a_lost_answer_is_no_conflict(server: Server, tmp_path: Path) -> None:
    """The server saved, its answer never came (killed, or the network broke): the next submit just goes on."""
    place = connected(tmp_path, server.url, tag="lost")
    work = opened(place, CASES[1])
    place.desk.act("empty", lambda work: work.mark_empty(1))
    assert place.desk.submit()
    while place.worklist.hub.runner._results.empty():  # the answer is here, but it is never delivered
        pass
    place.runner.cancel("submit")
    assert work.unsaved
    place.desk.act("empty", lambda work: work.mark_empty(2))
    assert place.desk.submit()
    settle(place)
    assert place.desk.conflict is None
    assert (work.based_on, work.unsaved) == (2, False)


CRASHING = """
    import os, sys, time
    sys.path[:0] = {paths!r}
    from pathlib import Path
    from workplaces import connected, opened
    place = connected(Path({folder!r}), {url!r}, tag="crash")
    work = opened(place, {case!r})
    first, second = sorted(work.sweep.assessment.proposals)[:2]
    place.desk.go_to(first)
    place.desk.act("accept", lambda work: work.accept(first))
    place.desk.act("accept", lambda work: work.accept(second))
    place.desk.act("empty", lambda work: work.mark_empty(2))
    place.desk.act("undo", lambda work: work.undo() and None)
    place.desk.act("grade", lambda work: work.grade(second, "suboptimal"))
    place.desk.go_to(second)
    print("ready", first, second, flush=True)
    time.sleep(600)
"""


def test_a_killed_slicer_loses_nothing(server: Server, tmp_path: Path) -> None:
    script = textwrap.dedent(CRASHING).format(paths=sys.path, folder=str(tmp_path), url=server.url, case=CASES[1])
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    _, first, second = process.stdout.readline().split()
    os.kill(process.pid, signal.SIGKILL)
    process.wait()

    place = connected(tmp_path, server.url, tag="crash")
    assert [row.case for row in place.worklist.shown("in progress")] == [CASES[1]]
    work = opened(place, CASES[1])
    assert work.frames == {}  # offered, not forced
    assert len(place.desk.keeper.offered) == 1
    assert place.desk.resume()
    assert {number: frame.state for number, frame in work.frames.items()} == {
        int(first): ANNOTATED,
        int(second): ANNOTATED,
    }
    assert work.frame(int(second)).plane == "suboptimal"
    assert work.frame(int(first)).mask == work.sweep.assessment.proposals[int(first)].mask
    assert place.desk.position == int(first)  # where the last decision was made
    assert place.desk.submit()
    settle(place)
    assert work.based_on == 1
    assert place.worklist.shown("in progress") == []


def test_the_next_case_comes_from_the_servers_strategy(server: Server, tmp_path: Path) -> None:
    # cases that other tests labelled or hold are not offered
    image = sitk.GetImageFromArray(np.random.default_rng(2).integers(20, 90, (3, 40, 50), dtype=np.uint8))
    sitk.WriteImage(image, str(tmp_path / "fresh.mha"))
    with open(tmp_path / "fresh.mha", "rb") as file:
        put = server.call("PUT", "/datastore/image?image=fresh", files={"file": ("fresh.mha", file)})
    assert put.status == 200, put.body
    place = connected(tmp_path, server.url)
    assert place.open_next("random")
    wait_for(place, lambda: place.desk.work is not None)
    assert place.desk.work.sweep.case in [row.case for row in place.worklist.rows]
    settle(place)
    assert not place.open_next("no-such") or settle(place) is None
    assert place.hub.status.kind == "problem"
    assert "no-such" in place.hub.status.text
    assert place.desk.work is not None
