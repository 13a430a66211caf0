"""Requests that nobody waits for any more, and the lease on a case that is left: what the server is asked."""

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
from FetalIQALib.casework import CaseWork
from FetalIQALib.workplace import Workplace
from workplaces import a_sweep, connected, opened, settle, wait_for


@pytest.fixture
def place(fake: FakeServer, tmp_path: Path) -> Workplace:
    """Connected, with decided work on the desk."""
    made = connected(tmp_path, fake.url)
    made.desk.work = CaseWork(a_sweep(), "anna")
    made.desk.keeper.begin(made.desk.work, "final", 0)
    made.desk.act("empty", lambda work: work.mark_empty(3))
    return made


class SlowLabels:
    """A server that saves a label, and says so only when it is let."""

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


def test_a_submit_that_was_given_up_and_saved_is_known_as_saved(place: Workplace, fake: FakeServer) -> None:
    labels = SlowLabels(fake)
    labels.may_save.set()
    assert place.desk.submit()
    wait_for(place, lambda: bool(labels.saved))
    place.hub.cancel()
    assert "nothing was changed" not in place.hub.status.text
    assert "the submission: the server may have done it" in place.hub.status.text
    wait_for(place, lambda: place.desk.work.based_on == 1)
    assert not place.desk.work.unsaved
    assert not place.journals.path("case_a", "final").exists()
    assert "version 1" in place.hub.status.text
    labels.may_answer.set()


def test_a_submit_that_is_saved_after_it_was_given_up_is_known_as_saved(
    place: Workplace, fake: FakeServer
) -> None:
    labels = SlowLabels(fake)
    labels.saved = {"version": 7, "submission": "somebody else's"}
    assert place.desk.submit()
    assert labels.arrived.wait(10)
    place.hub.cancel()
    settle(place)  # asked at once: it is not there yet
    assert place.hub.status.text == "The server has not saved case_a so far."
    assert place.desk.work.unsaved
    assert place.desk.work.based_on == 0
    assert place.journals.path("case_a", "final").exists()
    labels.may_save.set()
    labels.may_answer.set()
    wait_for(place, lambda: place.desk.work.based_on == 1)  # asked again when the request had ended
    assert not place.desk.work.unsaved


def test_a_late_answer_says_nothing_of_what_was_decided_and_sent_since(place: Workplace, fake: FakeServer) -> None:
    labels = SlowLabels(fake)
    labels.may_save.set()
    assert place.desk.submit()
    wait_for(place, lambda: bool(labels.saved))
    place.hub.cancel()
    place.desk.act("empty", lambda work: work.mark_empty(4))
    settle(place)
    assert place.desk.work.based_on == 1
    assert place.desk.work.unsaved  # frame 4
    assert '"4"' in place.journals.path("case_a", "final").read_text()
    labels.may_answer.set()


def waits(answer: bytes, seconds: float = 0.4) -> Callable[[Handler], tuple[int, bytes, dict[str, str]]]:
    def rule(handler: Handler) -> tuple[int, bytes, dict[str, str]]:
        time.sleep(seconds)
        return 200, answer, {}

    return rule


@pytest.mark.parametrize(
    ("path", "act", "asked"),
    [
        ("/train/fetalclip_seg", lambda place: place.learning.start("quick"), "/info/"),
        ("/models/rollback", lambda place: place.learning.roll_back(), "/info/"),
        ("/datastore/label/pick", lambda place: place.reviewing.pick(), "/datastore/?output=all"),
        ("/datastore/label/review", lambda place: place.reviewing.accept(), "/datastore/?output=all"),
    ],
)
def test_other_changes_that_are_given_up_are_asked_for_at_once_and_when_they_ended(
    place: Workplace, fake: FakeServer, path: str, act: Callable[[Workplace], bool], asked: str
) -> None:
    fake.on("POST", path, waits(b'{"version": 1}'))
    place.reviewing.tag, place.reviewing.version, place.reviewing._work = "ben", 1, place.desk.work
    assert act(place)
    wait_for(place, lambda: fake.asked[-1][1].startswith(path))
    before = len(fake.asked)
    place.hub.cancel()
    assert "the server may have done it all the same" in place.hub.status.text
    settle(place)
    first = [one[1] for one in fake.asked[before:]]
    assert asked in first
    assert not any(one.startswith(path) for one in first)  # asked, not done again
    wait_for(place, lambda: [one[1] for one in fake.asked[before:]].count(asked) >= 2)
    settle(place)


def test_giving_up_what_only_reads_changes_nothing_and_says_so(place: Workplace, fake: FakeServer) -> None:
    fake.on("GET", "/datastore/image", waits(b""))
    assert place.desk.open("case_a")
    place.hub.cancel()
    assert place.hub.status.text == "Given up; nothing was changed."
    assert not place.runner.busy()


# -- leases ---------------------------------------------------------------------------------------------


def released(fake: FakeServer) -> list[str]:
    return [path for method, path, _body, _headers in fake.asked if method == "DELETE"]


@pytest.fixture
def leasing(fake: FakeServer, tmp_path: Path) -> Workplace:
    """A workplace whose server leased case_a, which is on the desk."""
    stack = sitk.GetImageFromArray(np.full((4, 20, 30), 50, np.uint8))
    sitk.WriteImage(stack, str(tmp_path / "made.mha"))
    content = (tmp_path / "made.mha").read_bytes()
    for case in ("case_b", "case_a"):  # first a, then b
        fake.on("POST", "/activelearning/", {"id": case})
    objects = {case: {"image": {"ext": ".mha"}, "labels": {}} for case in ("case_a", "case_b")}
    fake.on("GET", "/datastore/?output=all", {"objects": objects})
    fake.on("GET", "/datastore/image", content)
    fake.on("DELETE", "/activelearning/lease", {"released": "anna"})
    place = connected(tmp_path / "kept", fake.url)
    place.open_next("fetaliqa")
    wait_for(place, lambda: place.desk.work is not None)
    settle(place)
    assert released(fake) == []
    return place


ANNA = "/activelearning/lease?user_name=anna"


def test_a_leased_case_that_is_left_for_another_is_given_back(leasing: Workplace, fake: FakeServer) -> None:
    assert leasing.desk.open("case_a")  # again: it is not left
    settle(leasing)
    assert released(fake) == []
    assert leasing.desk.open("case_b")
    settle(leasing)
    leasing.worklist.lease.settle()
    assert released(fake) == [ANNA]
    leasing.desk.close()
    leasing.leave()
    assert released(fake) == [ANNA]  # once


def test_the_next_lease_takes_the_place_of_the_one_before(leasing: Workplace, fake: FakeServer) -> None:
    fake.on("POST", "/activelearning/", {"id": "case_b"})
    leasing.open_next("fetaliqa")
    wait_for(leasing, lambda: leasing.desk.work.sweep.case == "case_b")
    settle(leasing)
    leasing.worklist.lease.settle()
    assert released(fake) == []  # it would be the new one that is given back
    leasing.desk.close()
    leasing.worklist.lease.settle()
    assert released(fake) == [ANNA]


def test_a_leased_case_is_given_back_when_it_is_submitted_or_the_module_closes(
    leasing: Workplace, fake: FakeServer
) -> None:
    fake.on("PUT", "/datastore/label", {"version": 1})
    leasing.desk.act("empty", lambda work: work.mark_empty(1))
    leasing.desk.submit()
    settle(leasing)
    leasing.worklist.lease.settle()
    assert released(fake) == [ANNA]
    assert leasing.desk.work is not None
    leasing.open_next("fetaliqa")
    settle(leasing)
    leasing.leave()
    assert released(fake) == [ANNA, ANNA]


def test_giving_back_comes_before_the_next_case_and_holds_nobody_up(leasing: Workplace, fake: FakeServer) -> None:
    ended = []

    def slow(handler: Handler) -> tuple[int, bytes, dict[str, str]]:
        time.sleep(0.4)
        ended.append("given back")
        return 200, b"{}", {}

    def offer(handler: Handler) -> tuple[int, bytes, dict[str, str]]:
        ended.append("asked")
        return 200, b'{"id": "case_a"}', {}

    fake.on("DELETE", "/activelearning/lease", slow)
    fake.on("POST", "/activelearning/", offer)
    leasing.desk.close()
    assert ended == []  # the main thread waits for nothing
    leasing.open_next("fetaliqa")
    settle(leasing)
    assert ended == ["given back", "asked"]
    assert leasing.worklist.lease.case == "case_a"


@pytest.mark.parametrize("status", [404, 500])
def test_a_server_that_takes_no_lease_back_is_no_error(
    leasing: Workplace, fake: FakeServer, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems: list[object] = []
    monkeypatch.setattr(threading, "excepthook", problems.append)
    fake.on("DELETE", "/activelearning/lease", {"detail": "no"}, status)
    said = leasing.hub.status
    leasing.desk.close()
    leasing.worklist.lease.settle()
    leasing.pump()
    assert (leasing.hub.status, problems) == (said, [])
    assert len(released(fake)) == 1


def test_a_next_case_that_nobody_waits_for_is_given_back(fake: FakeServer, tmp_path: Path) -> None:
    fake.on("POST", "/activelearning/", waits(b'{"id": "case_a"}'))
    fake.on("DELETE", "/activelearning/lease", {})
    place = connected(tmp_path, fake.url)
    place.open_next("fetaliqa")
    wait_for(place, lambda: fake.asked[-1][0] == "POST")
    place.hub.cancel()
    assert place.hub.status.text == "Given up; nothing was changed."
    time.sleep(0.6)
    place.pump()
    place.worklist.lease.settle()
    assert released(fake)[-1] == ANNA
    assert place.desk.work is None


def test_a_real_server_frees_the_case(server: Server, tmp_path: Path) -> None:
    place = connected(tmp_path, server.url, rater="lease-tester", tag="leases")
    place.desk.assess = lambda: True  # which takes most of the time, and nothing here depends on

    def leased() -> int:
        return server.raw("GET", "/activelearning/").json()["leased"]

    before = leased()
    assert place.open_next("random")
    settle(place)
    assert place.worklist.lease.case, place.hub.status
    assert leased() == before + 1
    other = next(case for case in CASES if case != place.worklist.lease.case)
    opened(place, other)
    place.worklist.lease.settle()
    assert leased() == before
