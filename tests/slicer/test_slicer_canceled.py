"""Canceled requests and released leases: which requests the server receives."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from app_harness import Server
from demo_server import CASES
from fake_server import FakeServer, Handler
from FetalIQALib.case_annotation import CaseAnnotation
from FetalIQALib.workspace import Workspace
from workspaces import a_sweep, connected, opened, settle, wait_for


@pytest.fixture
def workspace(fake: FakeServer, tmp_path: Path) -> Workspace:
    """Connected, with a labelled frame."""
    connection = connected(tmp_path, fake.url)
    connection.controller.annotation = CaseAnnotation(a_sweep(), "anna")
    connection.controller.autosave.start_case(connection.controller.annotation, "final", 0)
    connection.controller.apply("empty", lambda annotation: annotation.mark_empty(3))
    return connection


class SlowLabels:
    """A server that saves a label and responds only when allowed."""

    def __init__(self, fake: FakeServer) -> None:
        self.saved: dict[str, object] = {}
        self.arrived, self.may_save, self.may_answer = threading.Event(), threading.Event(), threading.Event()
        fake.on("PUT", "/datastore/label", self.save)
        fake.on("GET", "/datastore/label/info", self.info)

    def save(self, handler: Handler) -> tuple[int, bytes, dict[str, str]]:
        self.arrived.set()
        self.may_save.wait(10)
        token = re.search(rb'"submission": "(\w+)"', handler.body)
        self.saved = {"version": 1, "submission": token.group(1).decode()}
        self.may_answer.wait(10)
        return 200, b'{"version": 1}', {}

    def info(self, handler: Handler) -> tuple[int, bytes, dict[str, str]]:
        return (200, json.dumps(self.saved).encode(), {}) if self.saved else (404, b'{"detail": "no label"}', {})


def test_a_canceled_submission_that_was_saved_counts_as_saved(workspace: Workspace, fake: FakeServer) -> None:
    labels = SlowLabels(fake)
    labels.may_save.set()
    assert workspace.controller.submit()
    wait_for(workspace, lambda: bool(labels.saved))
    workspace.session.cancel()
    assert workspace.session.status.kind == "problem"  # it may have been saved
    assert "the submission" in workspace.session.status.text
    wait_for(workspace, lambda: workspace.controller.annotation.based_on == 1)
    assert not workspace.controller.annotation.unsaved
    assert not workspace.journals.path("case_a", "final").exists()
    assert "version 1" in workspace.session.status.text
    labels.may_answer.set()


def test_a_submission_that_is_saved_after_its_cancellation_counts_as_saved(
    workspace: Workspace, fake: FakeServer
) -> None:
    labels = SlowLabels(fake)
    labels.saved = {"version": 7, "submission": "of another rater"}
    assert workspace.controller.submit()
    assert labels.arrived.wait(10)
    workspace.session.cancel()
    settle(workspace)  # read at once: not saved yet
    assert workspace.session.status.kind == "problem"
    assert "case_a" in workspace.session.status.text
    assert workspace.controller.annotation.unsaved
    assert workspace.controller.annotation.based_on == 0
    assert workspace.journals.path("case_a", "final").exists()
    labels.may_save.set()
    labels.may_answer.set()
    wait_for(
        workspace, lambda: workspace.controller.annotation.based_on == 1
    )  # read again after the request has ended
    assert not workspace.controller.annotation.unsaved


def test_a_late_response_does_not_confirm_later_labels(workspace: Workspace, fake: FakeServer) -> None:
    labels = SlowLabels(fake)
    labels.may_save.set()
    assert workspace.controller.submit()
    wait_for(workspace, lambda: bool(labels.saved))
    workspace.session.cancel()
    workspace.controller.apply("empty", lambda annotation: annotation.mark_empty(4))
    settle(workspace)
    assert workspace.controller.annotation.based_on == 1
    assert workspace.controller.annotation.unsaved  # frame 4
    assert '"4"' in workspace.journals.path("case_a", "final").read_text()
    labels.may_answer.set()


def waits(answer: bytes, seconds: float = 0.4) -> Callable[[Handler], tuple[int, bytes, dict[str, str]]]:
    def rule(handler: Handler) -> tuple[int, bytes, dict[str, str]]:
        time.sleep(seconds)
        return 200, answer, {}

    return rule


@pytest.mark.parametrize(
    ("path", "act", "asked"),
    [
        ("/train/fetalclip_seg", lambda workspace: workspace.training.start("quick"), "/info/"),
        ("/models/rollback", lambda workspace: workspace.training.roll_back(), "/info/"),
        ("/datastore/label/pick", lambda workspace: workspace.review.make_final(), "/datastore/?output=all"),
        ("/datastore/label/review", lambda workspace: workspace.review.accept(), "/datastore/?output=all"),
    ],
)
def test_after_other_canceled_changes_the_state_is_read_at_once_and_at_their_end(
    workspace: Workspace, fake: FakeServer, path: str, act: Callable[[Workspace], bool], asked: str
) -> None:
    fake.on("POST", path, waits(b'{"version": 1}'))
    workspace.review.tag, workspace.review.version, workspace.review._work = (
        "ben",
        1,
        workspace.controller.annotation,
    )
    assert act(workspace)
    wait_for(workspace, lambda: fake.asked[-1][1].startswith(path))
    before = len(fake.asked)
    workspace.session.cancel()
    assert workspace.session.status.kind == "problem"  # it may have been done
    settle(workspace)
    first = [request[1] for request in fake.asked[before:]]
    assert asked in first
    assert not any(request.startswith(path) for request in first)  # read, not repeated
    wait_for(workspace, lambda: [request[1] for request in fake.asked[before:]].count(asked) >= 2)
    settle(workspace)


def test_canceling_a_read_request_changes_nothing(workspace: Workspace, fake: FakeServer) -> None:
    fake.on("GET", "/datastore/image", waits(b""))
    assert workspace.controller.open("case_a")
    workspace.session.cancel()
    assert workspace.session.status.kind == "info"
    assert not workspace.runner.busy()


# -- leases ---------------------------------------------------------------------------------------------


def released(fake: FakeServer) -> list[str]:
    return [path for method, path, _body, _headers in fake.asked if method == "DELETE"]


@pytest.fixture
def leasing(fake: FakeServer, tmp_path: Path) -> Workspace:
    """A workspace with case_a open and leased."""
    stack = sitk.GetImageFromArray(np.full((4, 20, 30), 50, np.uint8))
    sitk.WriteImage(stack, str(tmp_path / "made.mha"))
    content = (tmp_path / "made.mha").read_bytes()
    for case in ("case_b", "case_a"):  # first a, then b
        fake.on("POST", "/activelearning/", {"id": case})
    objects = {case: {"image": {"ext": ".mha"}, "labels": {}} for case in ("case_a", "case_b")}
    fake.on("GET", "/datastore/?output=all", {"objects": objects})
    fake.on("GET", "/datastore/image", content)
    fake.on("DELETE", "/activelearning/lease", {"released": "anna"})
    workspace = connected(tmp_path / "kept", fake.url)
    workspace.open_next("fetaliqa")
    wait_for(workspace, lambda: workspace.controller.annotation is not None)
    settle(workspace)
    assert released(fake) == []
    return workspace


ANNA = "/activelearning/lease?user_name=anna"


def test_opening_another_case_releases_the_lease(leasing: Workspace, fake: FakeServer) -> None:
    assert leasing.controller.open("case_a")  # the same case
    settle(leasing)
    assert released(fake) == []
    assert leasing.controller.open("case_b")
    settle(leasing)
    leasing.worklist.lease.wait_released()
    assert released(fake) == [ANNA]
    leasing.controller.close()
    leasing.close()
    assert released(fake) == [ANNA]  # once


def test_the_next_lease_replaces_the_previous_one(leasing: Workspace, fake: FakeServer) -> None:
    fake.on("POST", "/activelearning/", {"id": "case_b"})
    leasing.open_next("fetaliqa")
    wait_for(leasing, lambda: leasing.controller.annotation.sweep.case == "case_b")
    settle(leasing)
    leasing.worklist.lease.wait_released()
    assert released(fake) == []  # it would release the new lease
    leasing.controller.close()
    leasing.worklist.lease.wait_released()
    assert released(fake) == [ANNA]


def test_submitting_and_closing_the_module_release_the_lease(leasing: Workspace, fake: FakeServer) -> None:
    fake.on("PUT", "/datastore/label", {"version": 1})
    leasing.controller.apply("empty", lambda annotation: annotation.mark_empty(1))
    leasing.controller.submit()
    settle(leasing)
    leasing.worklist.lease.wait_released()
    assert released(fake) == [ANNA]
    assert leasing.controller.annotation is not None
    leasing.open_next("fetaliqa")
    settle(leasing)
    leasing.close()
    assert released(fake) == [ANNA, ANNA]


def test_a_lease_is_released_in_the_background_before_the_next_request(
    leasing: Workspace, fake: FakeServer
) -> None:
    ended = []

    def slow(handler: Handler) -> tuple[int, bytes, dict[str, str]]:
        time.sleep(0.4)
        ended.append("released")
        return 200, b"{}", {}

    def offer(handler: Handler) -> tuple[int, bytes, dict[str, str]]:
        ended.append("asked")
        return 200, b'{"id": "case_a"}', {}

    fake.on("DELETE", "/activelearning/lease", slow)
    fake.on("POST", "/activelearning/", offer)
    leasing.controller.close()
    assert ended == []  # the main thread does not wait
    leasing.open_next("fetaliqa")
    settle(leasing)
    assert ended == ["released", "asked"]
    assert leasing.worklist.lease.case == "case_a"


@pytest.mark.parametrize("status", [404, 500])
def test_a_failed_release_of_a_lease_is_no_error(
    leasing: Workspace, fake: FakeServer, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems: list[object] = []
    monkeypatch.setattr(threading, "excepthook", problems.append)
    fake.on("DELETE", "/activelearning/lease", {"detail": "no"}, status)
    status_before = leasing.session.status
    leasing.controller.close()
    leasing.worklist.lease.wait_released()
    leasing.pump()
    assert (leasing.session.status, problems) == (status_before, [])
    assert len(released(fake)) == 1


def test_the_lease_of_a_canceled_next_case_is_released(fake: FakeServer, tmp_path: Path) -> None:
    fake.on("POST", "/activelearning/", waits(b'{"id": "case_a"}'))
    fake.on("DELETE", "/activelearning/lease", {})
    workspace = connected(tmp_path, fake.url)
    workspace.open_next("fetaliqa")
    wait_for(workspace, lambda: fake.asked[-1][0] == "POST")
    workspace.session.cancel()
    assert workspace.session.status.kind == "info"
    time.sleep(0.6)
    workspace.pump()
    workspace.worklist.lease.wait_released()
    assert released(fake)[-1] == ANNA
    assert workspace.controller.annotation is None


@pytest.mark.slow  # and before the annotator's hour, which labels all cases of the server
def test_a_real_server_releases_the_case(server: Server, tmp_path: Path) -> None:
    workspace = connected(tmp_path, server.url, rater="lease-tester", tag="leases")
    workspace.controller.assess = lambda: True  # which takes most of the time, and nothing here depends on

    def leased() -> int:
        return server.raw("GET", "/activelearning/").json()["leased"]

    server.raw("DELETE", "/activelearning/lease")  # of other tests: a case must be free
    before = leased()
    assert workspace.open_next("random")
    settle(workspace)
    assert workspace.worklist.lease.case, workspace.session.status
    assert leased() == before + 1
    other = next(case for case in CASES if case != workspace.worklist.lease.case)
    opened(workspace, other)
    workspace.worklist.lease.wait_released()
    assert leased() == before
