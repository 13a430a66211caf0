"""Flow of cases on a real server: next, previous, skipped with a reason; the annotator's own counts; comments."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from app_harness import Server
from demo_server import CASES
from FetalIQALib.work_counts import Counts, WorkCounts, duration
from workspaces import connected, opened, settle

TAG = "flow"


@pytest.mark.slow
def test_cases_are_skipped_with_a_reason_and_reached_again(server: Server, tmp_path: Path) -> None:
    workspace = connected(tmp_path, server.url, tag=TAG)
    flow, controller = workspace.flow, workspace.controller
    assert not flow.previous()
    assert "before this one" in workspace.session.status.text
    opened(workspace, CASES[0])
    assert controller.download.percent() == 100
    shown = [row.case for row in workspace.worklist.rows]
    assert flow.position_line(shown).startswith(f"{shown.index(CASES[0]) + 1} of {len(shown)} · ")
    controller.apply("empty", lambda annotation: annotation.mark_empty(2))
    annotation = controller.annotation
    annotation.comment_frame(3, "shadow over the whole frame")
    annotation.comment_case("twins?")
    asked: list[list[str]] = []
    next_case = workspace.worklist.next_case
    workspace.worklist.next_case = lambda strategy, done, skip: (
        asked.append([*skip]) or next_case(strategy, lambda case: done(CASES[1]), skip)
    )
    assert flow.skip("cannot judge", "random")
    settle(workspace)
    assert controller.annotation.sweep.case == CASES[1], workspace.session.status
    assert asked == [[CASES[0]]]
    row = workspace.worklist.row(CASES[0])
    assert (row.state, row.version, row.empty) == ("skipped", 1, 1)
    assert row.note == "cannot judge: twins?"
    info = server.raw("GET", f"/datastore/label/info?label={CASES[0]}&tag={TAG}").json()
    assert (info["skipped"], info["comment"]) == ("cannot judge", "twins?")
    frames = info["frame_record"]["frames"]
    assert (frames["3"]["state"], frames["3"]["comment"]) == ("proposed", "shadow over the whole frame")
    assert (frames["2"]["state"], "comment" in frames["2"]) == ("empty", False)

    assert flow.previous()
    settle(workspace)
    again = controller.annotation
    assert (again.sweep.case, again.comment) == (CASES[0], "twins?")
    assert (again.frame(3).comment, again.frame(3).labelled) == ("shadow over the whole frame", False)
    assert flow.next("random")  # forward again, no other case
    settle(workspace)
    assert (controller.annotation.sweep.case, len(asked)) == (CASES[1], 1)

    flow.previous()
    settle(workspace)
    assert controller.submit()  # not skipped any more
    settle(workspace)
    assert workspace.worklist.row(CASES[0]).state == "submitted"
    today = workspace.counts.of_day("anna")
    assert (today.cases, today.frames, today.skipped) == (1, 1, 0)
    assert today.seconds > 0


def test_a_case_without_any_label_can_be_skipped(server: Server, tmp_path: Path) -> None:
    workspace = connected(tmp_path, server.url, tag=f"{TAG}-none")
    opened(workspace, CASES[1])
    assert not workspace.controller.submit()
    assert workspace.controller.submit(skipped="poor image quality")
    settle(workspace)
    assert workspace.worklist.row(CASES[1]).state == "skipped", workspace.session.status
    assert workspace.counts.of_day("anna").skipped == 1


def test_the_servers_worklist_states_versions_counts_and_reviews(server: Server, tmp_path: Path) -> None:
    tag = f"{TAG}-list"
    workspace = connected(tmp_path, server.url, tag=tag)
    opened(workspace, CASES[1])
    workspace.controller.apply("empty", lambda annotation: annotation.mark_empty(1))
    assert workspace.controller.submit()
    settle(workspace)
    review = f"/datastore/label/review?label={CASES[1]}&tag={tag}&version=1"
    assert server.call("POST", review, data={"state": "returned", "comment": "look again"}).status == 200
    reply = server.raw("GET", f"/datastore/worklist?tag={tag}").json()
    assert reply["tag"] == tag
    [entry] = [case for case in reply["cases"] if case["case"] == CASES[1]]
    assert (entry["ext"], entry["labels"][tag], entry["label"]["frames"]) == (".mha", 1, {"empty": 1})
    [other] = [case for case in reply["cases"] if case["case"] == CASES[0]]
    assert other["label"] is None
    assert server.raw("GET", "/datastore/worklist?tag=..%2Fx").status == 400
    workspace.worklist.refresh()
    settle(workspace)
    row = workspace.worklist.row(CASES[1])
    assert (row.state, row.comment, row.empty) == ("changes requested", "look again", 1)


def test_counts_are_kept_by_day_and_rater_and_a_case_counts_once_a_day(tmp_path: Path) -> None:
    day = [date(2026, 5, 4)]
    counts = WorkCounts(tmp_path, lambda: day[0])
    counts.add("anna", "a", 3, 120.0, skipped=False)
    counts.add("anna", "a", 5, 150.0, skipped=False)  # submitted again
    counts.add("anna", "b", 0, 30.0, skipped=True)
    counts.add("ben", "a", 7, 60.0, skipped=False)
    assert counts.of_day("anna") == Counts(1, 5, 1, 180.0)
    assert "1 cases, 5 frames, 1 skipped, 1:30 per case" in counts.line("anna")
    day[0] = date(2026, 5, 5)
    counts.add("anna", "a", 6, 100.0, skipped=False)
    later = WorkCounts(tmp_path, lambda: day[0])
    assert (later.of_day("anna").frames, later.of_all("anna").cases) == (6, 2)
    assert later.of_day("eva") == Counts()
    for damaged in ("", "[1]", '{"anna": 3}', '{"anna": {"2026-05-05": {"cases": "x"}}}'):
        (tmp_path / "counts.json").write_text(damaged)
        assert WorkCounts(tmp_path, lambda: day[0]).of_all("anna") == Counts()
    assert (duration(59.9), duration(3725)) == ("0:59", "1:02:05")
