"""Carry along: proposals on the frames around, confirmed by a person, on a fake server with the endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from FetalIQALib.case_annotation import CaseAnnotation
from FetalIQALib.client_errors import InvalidAction, InvalidResponse
from FetalIQALib.frame_annotations import (
    ANNOTATED,
    EMPTY,
    PROPAGATED,
    FrameAnnotation,
    Origin,
    frame_record,
    parse_frames,
)
from FetalIQALib.journal import read_journal
from FetalIQALib.user_actions import Actions
from FetalIQALib.workspace import Workspace
from interactive_server import InteractiveServer
from workspaces import a_sweep, connected, ellipse_mask, settle, wait_for

FRAME = 15
FROM_15 = Origin(PROPAGATED, 0, FRAME)


@pytest.fixture
def server() -> Iterator[InteractiveServer]:
    running = InteractiveServer()
    yield running
    running.proceed.set()
    running.close()


@pytest.fixture
def workspace(server: InteractiveServer, tmp_path: Path) -> Workspace:
    """Frame 15 is outlined, frame 17 is confirmed as empty."""
    connection = connected(tmp_path, server.url)
    connection.controller.annotation = CaseAnnotation(a_sweep(seen=range(0)), "anna")
    connection.controller.autosave.start_case(connection.controller.annotation, "final", 0)
    connection.controller.apply("empty", lambda annotation: annotation.mark_empty(17))
    connection.controller.draw_mask(FRAME, ellipse_mask(), "draw")
    connection.controller.go_to(FRAME)
    return connection


def press(workspace: Workspace, name: str) -> None:
    Actions(workspace).run(name)
    settle(workspace)


def pending(workspace: Workspace) -> list[int]:
    frames = workspace.controller.annotation.frames
    return [number for number in sorted(frames) if frames[number].pending and not frames[number].labelled]


def labelled(workspace: Workspace) -> list[int]:
    frames = workspace.controller.annotation.frames
    return [number for number in sorted(frames) if frames[number].labelled]


def test_the_mask_is_proposed_on_frames_without_a_label(workspace: Workspace, server: InteractiveServer) -> None:
    press(workspace, "carry")
    assert server.prompts[0]["frame"] == FRAME
    assert pending(workspace) == [11, 12, 13, 14, 16, 18, 19]
    assert labelled(workspace) == [FRAME, 17]
    assert workspace.controller.annotation.frame(17).state == EMPTY
    carried = workspace.controller.annotation.proposal(18)
    assert (carried.carried_from, carried.model, carried.version) == (FRAME, "interactive", "abc123")
    assert np.array_equal(carried.mask.full(), np.roll(ellipse_mask(), 3, axis=1))
    assert "anatomy left" in workspace.session.status.text
    assert "low expected Dice" in workspace.session.status.text


def test_carried_masks_are_not_submitted_before_they_are_confirmed(workspace: Workspace) -> None:
    press(workspace, "carry")
    annotation = workspace.controller.annotation
    assert sorted(annotation.record()["frames"]) == ["15", "17"]
    assert sorted(annotation.masks()) == [FRAME]


def test_one_key_confirms_up_to_the_frame_shown(workspace: Workspace) -> None:
    press(workspace, "carry")
    workspace.controller.go_to(18)
    press(workspace, "confirmCarried")
    assert labelled(workspace) == [15, 16, 17, 18]
    assert pending(workspace) == [11, 12, 13, 14, 19]
    entry = workspace.controller.annotation.record()["frames"]["18"]
    expected = {"state": ANNOTATED, "rater": "anna", "origin": PROPAGATED, "source_frame": FRAME}
    assert {key: entry[key] for key in expected} == expected
    assert entry["model"] == "interactive"
    workspace.controller.go_to(13)
    press(workspace, "confirmCarried")
    assert pending(workspace) == [11, 12, 19]
    press(workspace, "undo")
    assert pending(workspace) == [11, 12, 13, 14, 19]
    assert workspace.controller.position == 13


def test_at_the_start_frame_all_are_confirmed(workspace: Workspace) -> None:
    press(workspace, "carry")
    press(workspace, "confirmCarried")
    assert labelled(workspace) == list(range(11, 20))
    assert workspace.controller.annotation.frame(17).state == EMPTY


def test_the_range_is_confirmed_also_from_a_frame_that_was_corrected_on_the_way(workspace: Workspace) -> None:
    press(workspace, "carry")
    workspace.controller.go_to(18)
    workspace.controller.draw_mask(18, ellipse_mask(30), "draw")
    press(workspace, "confirmCarried")
    assert labelled(workspace) == [15, 16, 17, 18]
    assert np.array_equal(workspace.controller.annotation.masks()[18].full(), ellipse_mask(30))


def test_a_single_mask_is_accepted_with_its_origin(workspace: Workspace) -> None:
    press(workspace, "carry")
    workspace.controller.go_to(14)
    press(workspace, "accept")
    assert workspace.controller.annotation.frame(14).origin == FROM_15
    press(workspace, "optimal")
    assert workspace.controller.annotation.frame(14).origin == FROM_15


def test_undo_removes_the_run_and_shows_its_start(workspace: Workspace) -> None:
    press(workspace, "carry")
    workspace.controller.go_to(19)
    press(workspace, "undo")
    assert pending(workspace) == []
    assert labelled(workspace) == [15, 17]
    assert workspace.controller.position == FRAME


def test_carrying_again_replaces_the_run(workspace: Workspace, server: InteractiveServer) -> None:
    press(workspace, "carry")
    server.reach = 2
    workspace.controller.draw_mask(FRAME, ellipse_mask(36), "draw")
    press(workspace, "carry")
    assert pending(workspace) == [13, 14, 16]
    press(workspace, "undo")
    assert pending(workspace) == [11, 12, 13, 14, 16, 18, 19]


def test_an_answer_for_a_mask_that_was_changed_meanwhile_is_dropped(
    workspace: Workspace, server: InteractiveServer
) -> None:
    server.pause = True
    assert workspace.carry.start()
    wait_for(workspace, lambda: bool(server.prompts))
    workspace.controller.draw_mask(FRAME, ellipse_mask(36), "draw")
    server.proceed.set()
    settle(workspace)
    assert pending(workspace) == []
    assert workspace.session.status.kind == "problem"


def test_a_frame_that_is_labelled_before_the_answer_keeps_its_label(
    workspace: Workspace, server: InteractiveServer
) -> None:
    server.pause = True
    assert workspace.carry.start()
    wait_for(workspace, lambda: bool(server.prompts))
    workspace.controller.draw_mask(16, ellipse_mask(30), "draw")
    server.proceed.set()
    settle(workspace)
    assert 16 not in pending(workspace)
    assert np.array_equal(workspace.controller.annotation.masks()[16].full(), ellipse_mask(30))


def test_an_answer_for_a_case_that_was_left_is_dropped(workspace: Workspace, server: InteractiveServer) -> None:
    server.pause = True
    assert workspace.carry.start()
    wait_for(workspace, lambda: bool(server.prompts))
    other = CaseAnnotation(replace(a_sweep(), case="case_b"), "anna")
    workspace.controller.annotation = other
    workspace.session.notify("case")
    server.proceed.set()
    settle(workspace)
    assert other.frames == {}


@pytest.mark.parametrize("frame", [FRAME, 30, -1, "16"])
def test_frames_that_do_not_exist_are_refused(workspace: Workspace, server: InteractiveServer, frame) -> None:
    server.change = lambda answer: {**answer, "frames": [{**answer["frames"][0], "frame": frame}]}
    press(workspace, "carry")
    assert isinstance(workspace.session.status.error, InvalidResponse)
    assert pending(workspace) == []


def test_carrying_needs_a_mask_of_the_annotator(workspace: Workspace, server: InteractiveServer) -> None:
    for frame in (3, 17):
        workspace.controller.go_to(frame)
        assert not workspace.carry.start()
        assert isinstance(workspace.session.status.error, InvalidAction)
    press(workspace, "confirmCarried")
    assert isinstance(workspace.session.status.error, InvalidAction)
    assert server.prompts == []


def test_the_run_is_in_the_journal_with_its_start(workspace: Workspace) -> None:
    press(workspace, "carry")
    saved = read_journal(workspace.journals.path("case_a", "final"), 30)
    assert saved.frames[18].pending == workspace.controller.annotation.frame(18).pending
    assert saved.frames[18].pending.carried_from == FRAME
    resumed = CaseAnnotation(a_sweep(seen=range(0)), "anna")
    resumed.replace_all(saved.frames, 0, saved=False)
    workspace.controller.annotation = resumed
    workspace.controller.go_to(16)
    press(workspace, "confirmCarried")
    assert resumed.frame(16).origin == FROM_15


def test_unconfirmed_masks_of_a_label_keep_their_start(workspace: Workspace) -> None:
    press(workspace, "carry")
    press(workspace, "confirmCarried")
    annotation = workspace.controller.annotation
    record = frame_record(annotation.frames)
    record["frames"]["18"]["state"] = "proposed"  # as another program may save it
    frames = parse_frames(record, annotation.masks(), 30)
    assert frames[14].origin == FROM_15
    assert frames[18] == FrameAnnotation(pending=frames[18].pending)
    assert frames[18].pending.carried_from == FRAME
