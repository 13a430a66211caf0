"""The Training section against a fake server that trains."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_server import FakeServer, an_idle_server
from FetalIQALib.client_errors import FetalIQAError
from FetalIQALib.model_training import TrainingStatus, duration, parse_training
from workspaces import connected, settle, wait_for

GATE = "candidate 7: it finds next to nothing: Dice 0.000 -> 0.000: not published. Next: confirm outlined frames"


def stats(**values: Any) -> dict[str, Any]:
    told = {"name": "FetalIQA", "version": "9", "models": {}, "strategies": {"random": {}, "fetaliqa": {}}}
    return {**told, "trainers": {"fetalclip_seg": {"stats": values}}}


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    server = an_idle_server()
    yield server
    server.close()


def test_a_training_is_started_followed_and_judged(fake: FakeServer, tmp_path: Path) -> None:
    fake.on("GET", "/info/", stats(state="none", labels_since=14))
    history = [
        {"time": "2026-01-31T14:05:00+00:00", "action": "publish", "version": "6", "reason": "better"},
        {"time": "2026-02-01T09:00:00+00:00", "action": "rollback", "version": None},
        {"time": "2026-02-02T09:00:00+00:00", "action": "publish", "version": "7", "forced": True, "by": "berta"},
    ]
    fake.on("GET", "/models/history", history)
    workspace = connected(tmp_path, fake.url)
    training = workspace.training
    settle(workspace)
    assert (training.status.available, training.status.labels_since) == (True, 14)
    assert [(one.action, one.version) for one in training.history] == [
        ("publish, gate overridden", "7"),
        ("rollback", "default"),
        ("publish", "6"),
    ]

    fake.on("POST", "/train/fetalclip_seg", {"id": "x", "status": "SUBMITTED"})
    fake.on(
        "GET",
        "/info/",
        stats(state="running", stage="train", epoch=3, epochs=12, eta_seconds=540.0, losses=[0.9, 0.4213]),
    )
    assert training.start("quick")
    settle(workspace)
    sent = [(path, json.loads(body)) for method, path, body, _ in fake.asked if method == "POST"]
    assert sent == [("/train/fetalclip_seg", {"mode": "quick"})]
    assert all(value in training.status.message() for value in ("train", "3 of 12", "0.421", "9 min"))
    assert training.status.progress() == 0.25

    fake.on("GET", "/info/", stats(state="done", gate={"published": False, "sentence": GATE}))
    wait_for(workspace, lambda: not training.status.running, 10)  # polled by the timer alone
    assert training.status.message() == GATE
    assert workspace.session.status.text == GATE


def test_stopping_and_rolling_back(fake: FakeServer, tmp_path: Path) -> None:
    fake.on("GET", "/info/", stats(state="none"))
    fake.on("DELETE", "/train/", {"status": "STOPPED"})
    fake.on("POST", "/models/rollback", {"version": "5"})
    workspace = connected(tmp_path, fake.url)
    assert workspace.training.stop()
    settle(workspace)
    assert workspace.session.status.kind == "info"
    assert workspace.training.roll_back()
    settle(workspace)
    assert workspace.session.status.kind == "info"


def test_a_server_without_training_is_supported(fake: FakeServer, tmp_path: Path) -> None:
    workspace = connected(tmp_path, fake.url)
    assert not workspace.training.status.available
    assert workspace.training.status.message() != TrainingStatus().message()
    assert workspace.training.start("full")
    settle(workspace)
    assert type(workspace.session.status.error) is FetalIQAError
    assert workspace.session.online


@pytest.mark.parametrize(
    ("status", "detail", "expected"),
    [
        (400, "12 labelled frames are needed, there are 3", "12 labelled frames are needed"),
        (429, "busy", "already running"),
    ],
)
def test_a_refused_training_is_reported(
    fake: FakeServer, tmp_path: Path, status: int, detail: str, expected: str
) -> None:
    fake.on("GET", "/info/", stats(state="none"))
    fake.on("POST", "/train/fetalclip_seg", {"detail": detail}, status)
    workspace = connected(tmp_path, fake.url)
    workspace.training.start("quick")
    settle(workspace)
    assert expected in workspace.session.status.text


@pytest.mark.parametrize(
    "told",
    [
        {},
        {"state": None},
        {"epoch": "3", "epochs": 0, "losses": "x", "gate": 3},
        {"state": "running", "losses": []},
    ],
)
def test_absent_and_odd_fields_are_left_out(told: dict[str, Any]) -> None:
    status = parse_training(told, {"status": "RUNNING", "details": "text"})
    assert status.running
    assert status.progress() is None
    assert status.running
    assert not TrainingStatus().running


def test_the_strategys_frames_are_suggested(fake: FakeServer, tmp_path: Path) -> None:
    frames = [{"frame": 7, "sweep": 0, "reason": "uncertain", "score": 0.8}, {"frame": "x"}, {"frame": -1}, 5]
    fake.on("POST", "/activelearning/fetaliqa", {"id": "case_a", "frames": frames})
    workspace = connected(tmp_path, fake.url)
    workspace.open_next("fetaliqa")
    settle(workspace)
    assert [(one.frame, one.reason) for one in workspace.worklist.suggested["case_a"].frames] == [(7, "uncertain")]
    body = next(body for method, path, body, _ in fake.asked if path == "/activelearning/fetaliqa")
    assert json.loads(body) == {"user": "anna"}


def test_durations_have_readable_units() -> None:
    assert [duration(seconds) for seconds in (5, 300, 7260)] == ["5 s", "5 min", "2 h 1 min"]
