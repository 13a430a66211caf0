"""Click to correct, on a fake server with the interactive endpoints."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from FetalIQALib.case_annotation import CaseAnnotation
from FetalIQALib.click_session import Click, ClickSession
from FetalIQALib.client_errors import InvalidAction, InvalidResponse, RequestRefused
from FetalIQALib.frame_annotations import EMPTY, INTERACTIVE, Origin, parse_frames
from FetalIQALib.frame_masks import Mask
from FetalIQALib.journal import read_journal
from FetalIQALib.run_lengths import from_runs, to_runs
from FetalIQALib.user_actions import Actions
from FetalIQALib.workspace import Workspace
from interactive_server import SEGMENT, InteractiveServer, disc
from workspaces import SHAPE, a_sweep, connected, ellipse_mask, settle, wait_for

FRAME = 15  # has the model's proposal; frame 2 has none


@pytest.fixture
def server() -> Iterator[InteractiveServer]:
    running = InteractiveServer()
    yield running
    running.proceed.set()
    running.close()


@pytest.fixture
def workspace(server: InteractiveServer, tmp_path: Path) -> Workspace:
    connection = connected(tmp_path, server.url)
    connection.controller.annotation = CaseAnnotation(a_sweep(), "anna")
    connection.controller.autosave.start_case(connection.controller.annotation, "final", 0)
    connection.controller.go_to(FRAME)
    return connection


@pytest.fixture
def clicks(workspace: Workspace) -> ClickSession:
    assert workspace.clicks.start()
    return workspace.clicks


def click(workspace: Workspace, column: float, row: float, positive: bool = True) -> None:
    assert workspace.clicks.add(Click((column, row), positive)), workspace.session.status
    settle(workspace)


def mask_of(workspace: Workspace, frame: int = FRAME) -> np.ndarray:
    mask = workspace.controller.annotation.frame(frame).mask
    return np.zeros(SHAPE, np.uint8) if mask is None else mask.full()


def undo(workspace: Workspace) -> None:
    Actions(workspace).run("undo")


@pytest.mark.parametrize(
    "mask",
    [
        ellipse_mask(),
        np.ones(SHAPE),
        np.eye(*SHAPE),
        np.pad(np.ones((1, 1)), ((0, 59), (0, 79))),
        np.pad(np.ones((1, 1)), ((59, 0), (79, 0))),
    ],
    ids=["ellipse", "full", "diagonal", "first pixel", "last pixel"],
)
def test_run_lengths_are_the_mask(mask: np.ndarray) -> None:
    runs = to_runs(Mask.of(mask))
    assert sum(runs["runs"]) == mask.size
    assert sum(runs["runs"][1::2]) == np.count_nonzero(mask)
    assert from_runs(json.loads(json.dumps(runs)), SHAPE) == Mask.of(mask)


@pytest.mark.parametrize(
    "value",
    [
        None,
        {"rows": 60, "columns": 80, "runs": [4799]},
        {"rows": 80, "columns": 60, "runs": [4800]},
        {"rows": 60, "columns": 80, "runs": [-1, 4801]},
        {"rows": 60, "columns": 80, "runs": [4800.0]},
        {"rows": 60, "columns": 80, "runs": "4800"},
    ],
)
def test_run_lengths_of_another_form_are_refused(value: object) -> None:
    with pytest.raises(InvalidResponse):
        from_runs(value, SHAPE)


def test_clicks_extend_and_reduce_the_proposed_mask(
    workspace: Workspace, clicks: ClickSession, server: InteractiveServer
) -> None:
    proposed = workspace.controller.annotation.proposal(FRAME).mask.full()
    click(workspace, 10, 10)
    assert np.array_equal(mask_of(workspace), proposed | disc((10, 10)))
    click(workspace, 45, 30, positive=False)
    assert np.array_equal(mask_of(workspace), (proposed | disc((10, 10))) & ~disc((45, 30)))
    first, second = server.prompts
    assert (first["frame"], first["foreground"], first["background"]) == (FRAME, [[10, 10]], [])
    assert from_runs(first["mask"], SHAPE).full().tolist() == proposed.tolist()
    assert (second["foreground"], second["background"]) == ([[10, 10]], [[45, 30]])
    assert from_runs(second["mask"], SHAPE) == Mask.of(proposed | disc((10, 10)))


def test_the_answer_is_the_annotators_own_mask_with_its_origin(workspace: Workspace, clicks: ClickSession) -> None:
    click(workspace, 10, 10)
    click(workspace, 12, 12)
    entry = workspace.controller.annotation.record()["frames"][str(FRAME)]
    expected = ("annotated", "anna", "interactive", "abc123", "interactive", 2)
    keys = ("state", "rater", "model", "model_version", "origin", "clicks")
    assert tuple(entry[key] for key in keys) == expected
    assert "0.93" in workspace.session.status.text


def test_undo_takes_back_one_click_and_redo_brings_it_back(workspace: Workspace, clicks: ClickSession) -> None:
    click(workspace, 10, 10)
    after_one = mask_of(workspace)
    click(workspace, 60, 50)
    undo(workspace)
    assert np.array_equal(mask_of(workspace), after_one)
    assert [one.point for one in clicks.clicks()] == [(10, 10)]
    assert workspace.controller.annotation.frame(FRAME).origin == Origin(INTERACTIVE, 1)
    undo(workspace)
    assert not workspace.controller.annotation.frame(FRAME).labelled
    assert clicks.clicks() == []
    Actions(workspace).run("redo")
    assert np.array_equal(mask_of(workspace), after_one)
    assert [one.point for one in clicks.clicks()] == [(10, 10)]
    assert clicks.active


def test_undo_first_drops_a_click_without_answer(
    workspace: Workspace, clicks: ClickSession, server: InteractiveServer
) -> None:
    click(workspace, 10, 10)
    after_one = mask_of(workspace)
    server.pause = True
    clicks.add(Click((60, 50)))
    clicks.add(Click((62, 50)))
    assert len(clicks.clicks()) == 3
    undo(workspace)
    assert len(clicks.clicks()) == 2
    undo(workspace)
    assert [one.point for one in clicks.clicks()] == [(10, 10)]
    server.pause = False
    server.proceed.set()
    click(workspace, 30, 50)
    assert np.array_equal(mask_of(workspace), after_one.astype(bool) | disc((30, 50)))


def test_quick_clicks_are_answered_one_after_the_other(
    workspace: Workspace, clicks: ClickSession, server: InteractiveServer
) -> None:
    for column in (5, 40, 75):
        assert clicks.add(Click((column, 5)))
    settle(workspace)
    assert [len(prompt["foreground"]) for prompt in server.prompts] == [1, 2, 3]
    assert workspace.controller.annotation.frame(FRAME).origin.clicks == 3
    undo(workspace)
    assert not mask_of(workspace)[5, 75]
    assert mask_of(workspace)[5, 40]


def test_a_box_is_one_prompt(workspace: Workspace, server: InteractiveServer) -> None:
    workspace.controller.go_to(2)
    assert workspace.clicks.start()
    assert workspace.clicks.add(Click(box=(10, 20, 30, 40)))
    settle(workspace)
    click(workspace, 50, 30)
    assert server.prompts[0]["roi"] == [10, 20, 30, 40]
    assert server.prompts[0]["mask"] is None
    assert mask_of(workspace, 2)[20:41, 10:31].all()
    assert workspace.controller.annotation.frame(2).origin.clicks == 2


def test_an_answer_for_a_frame_that_was_left_is_dropped(
    workspace: Workspace, clicks: ClickSession, server: InteractiveServer
) -> None:
    server.pause = True
    clicks.add(Click((10, 10)))
    wait_for(workspace, lambda: bool(server.prompts))
    workspace.controller.go_to(FRAME + 1)
    assert not clicks.active
    server.proceed.set()
    settle(workspace)
    workspace.controller.go_to(FRAME)
    assert workspace.controller.annotation.frames == {}
    assert not clicks.active


def test_an_answer_of_the_server_for_another_frame_is_refused(
    workspace: Workspace, clicks: ClickSession, server: InteractiveServer
) -> None:
    server.change = lambda answer: {**answer, "frame": FRAME + 1}
    click(workspace, 10, 10)
    assert isinstance(workspace.session.status.error, InvalidResponse)
    assert workspace.controller.annotation.frames == {}
    assert clicks.clicks() == []


def test_a_decision_made_before_the_answer_is_kept(
    workspace: Workspace, clicks: ClickSession, server: InteractiveServer
) -> None:
    server.pause = True
    clicks.add(Click((10, 10)))
    wait_for(workspace, lambda: bool(server.prompts))
    Actions(workspace).run("empty")
    server.proceed.set()
    settle(workspace)
    assert workspace.controller.annotation.frame(FRAME).state == EMPTY
    assert clicks.clicks() == []


def test_clicks_before_a_stroke_are_in_the_mask_and_not_sent_again(
    workspace: Workspace, clicks: ClickSession, server: InteractiveServer
) -> None:
    click(workspace, 10, 10)
    workspace.controller.draw_mask(FRAME, mask_of(workspace) & ~disc((10, 10)), "drawn")
    click(workspace, 60, 50)
    assert server.prompts[-1]["foreground"] == [[60, 50]]
    assert not mask_of(workspace)[10, 10]
    assert workspace.controller.annotation.frame(FRAME).origin.clicks == 2
    undo(workspace)
    undo(workspace)
    assert mask_of(workspace)[10, 10]
    assert [one.point for one in clicks.clicks()] == [(10, 10)]


def test_work_continues_from_the_journal_with_the_saved_mask(
    workspace: Workspace, clicks: ClickSession, server: InteractiveServer
) -> None:
    click(workspace, 10, 10)
    saved = read_journal(workspace.journals.path("case_a", "final"), 30)
    assert saved.frames[FRAME].origin == Origin(INTERACTIVE, 1)
    resumed = CaseAnnotation(a_sweep(), "anna")
    resumed.replace_all(saved.frames, 0, saved=False)
    workspace.controller.annotation = resumed
    workspace.session.notify("case")
    assert not clicks.active
    assert clicks.start()
    before = mask_of(workspace)
    click(workspace, 60, 50)
    assert from_runs(server.prompts[-1]["mask"], SHAPE).full().tolist() == before.tolist()
    assert server.prompts[-1]["foreground"] == [[60, 50]]
    assert resumed.frame(FRAME).origin.clicks == 2


def test_the_origin_survives_the_servers_record(workspace: Workspace, clicks: ClickSession) -> None:
    click(workspace, 10, 10)
    annotation = workspace.controller.annotation
    frames = parse_frames(annotation.record(), annotation.masks(), 30)
    assert frames[FRAME].origin == Origin(INTERACTIVE, 1)


def test_a_mask_that_is_drawn_anew_has_no_origin(workspace: Workspace, clicks: ClickSession) -> None:
    click(workspace, 10, 10)
    workspace.controller.draw_mask(FRAME, ellipse_mask(), "ellipse", Origin())
    assert "origin" not in workspace.controller.annotation.record()["frames"][str(FRAME)]


def test_an_empty_answer_changes_nothing(
    workspace: Workspace, clicks: ClickSession, server: InteractiveServer
) -> None:
    server.change = lambda answer: {**answer, "mask": {"rows": 60, "columns": 80, "runs": [4800]}}
    click(workspace, 10, 10)
    assert workspace.session.status.kind == "problem"
    assert workspace.controller.annotation.frames == {}
    assert clicks.clicks() == []
    assert clicks.active


def test_a_server_without_the_model_says_so(
    workspace: Workspace, clicks: ClickSession, server: InteractiveServer
) -> None:
    server.on("POST", SEGMENT, {"detail": "no interactive model is installed"}, 503)
    clicks.add(Click((10, 10)))
    clicks.add(Click((12, 10)))
    settle(workspace)
    assert isinstance(workspace.session.status.error, RequestRefused)
    assert "no interactive model is installed" in workspace.session.status.text
    assert clicks.clicks() == []


def test_a_server_that_announces_no_model_is_not_asked(tmp_path: Path, fake) -> None:
    connection = connected(tmp_path, fake.url)
    connection.controller.annotation = CaseAnnotation(a_sweep(), "anna")
    assert not connection.clicks.start()
    assert isinstance(connection.session.status.error, InvalidAction)
    assert not connection.clicks.active


def test_clicks_that_make_no_sense_are_refused(workspace: Workspace, server: InteractiveServer) -> None:
    workspace.controller.go_to(2)  # no mask, no proposal
    assert workspace.clicks.start()
    assert not workspace.clicks.add(Click((10, 10), positive=False))
    assert not workspace.clicks.add(Click((90, 10)))
    assert not workspace.clicks.add(Click((10, -2)))
    assert server.prompts == []


def test_cancel_drops_the_clicks_and_keeps_the_tool(
    workspace: Workspace, clicks: ClickSession, server: InteractiveServer
) -> None:
    server.pause = True
    clicks.add(Click((10, 10)))
    wait_for(workspace, lambda: bool(server.prompts))
    workspace.session.cancel()
    assert clicks.clicks() == []
    server.pause = False
    server.proceed.set()
    click(workspace, 30, 50)
    assert mask_of(workspace)[50, 30]
    assert not mask_of(workspace)[10, 10]
