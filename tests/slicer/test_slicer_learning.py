"""The Learn panel against a server that trains (a small fake one that keeps the agreed answers)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_server import FakeServer, an_idle_server
from FetalIQALib.learning import Training, duration, training_of
from workplaces import connected, settle, wait_for

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
    place = connected(tmp_path, fake.url)
    learning = place.learning
    settle(place)
    assert (learning.training.possible, learning.training.labels_since) == (True, 14)
    assert [(one.action, one.version) for one in learning.history] == [
        ("publish, against the gate", "7"),
        ("rollback", "default"),
        ("publish", "6"),
    ]

    fake.on("POST", "/train/fetalclip_seg", {"id": "x", "status": "SUBMITTED"})
    fake.on(
        "GET",
        "/info/",
        stats(state="running", stage="train", epoch=3, epochs=12, eta_seconds=540.0, losses=[0.9, 0.4213]),
    )
    assert learning.start("quick")
    settle(place)
    sent = [(path, json.loads(body)) for method, path, body, _ in fake.asked if method == "POST"]
    assert sent == [("/train/fetalclip_seg", {"mode": "quick"})]
    assert learning.training.sentence() == "Training, train, epoch 3 of 12, loss 0.421, about 9 min left."
    assert learning.training.share() == 0.25

    fake.on("GET", "/info/", stats(state="done", gate={"published": False, "sentence": GATE}))
    wait_for(place, lambda: not learning.training.running, 10)  # polled by the timer alone
    assert learning.training.sentence() == GATE
    assert place.hub.status.text == GATE


def test_stopping_and_going_back(fake: FakeServer, tmp_path: Path) -> None:
    fake.on("GET", "/info/", stats(state="none"))
    fake.on("DELETE", "/train/", {"status": "STOPPED"})
    fake.on("POST", "/models/rollback", {"version": "5"})
    place = connected(tmp_path, fake.url)
    assert place.learning.stop()
    settle(place)
    assert "stopped" in place.hub.status.text
    assert place.learning.roll_back()
    settle(place)
    assert "before is in use again" in place.hub.status.text


def test_a_server_that_cannot_train_says_so_and_nothing_breaks(fake: FakeServer, tmp_path: Path) -> None:
    place = connected(tmp_path, fake.url)
    assert not place.learning.training.possible
    assert place.learning.training.sentence() == "This server cannot train."
    assert place.learning.start("full")
    settle(place)
    assert "cannot do that" in place.hub.status.text
    assert place.hub.online


@pytest.mark.parametrize(
    ("status", "detail", "expected"),
    [
        (400, "12 labelled frames are needed, there are 3", "12 labelled frames are needed"),
        (429, "busy", "A training runs already"),
    ],
)
def test_a_refused_training_is_told_in_words(
    fake: FakeServer, tmp_path: Path, status: int, detail: str, expected: str
) -> None:
    fake.on("GET", "/info/", stats(state="none"))
    fake.on("POST", "/train/fetalclip_seg", {"detail": detail}, status)
    place = connected(tmp_path, fake.url)
    place.learning.start("quick")
    settle(place)
    assert expected in place.hub.status.text


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
    found = training_of(told, {"status": "RUNNING", "details": "text"})
    assert found.running
    assert found.share() is None
    assert found.sentence().startswith("Training")
    assert Training().sentence() == "No training yet."


def test_the_strategys_frames_reach_the_desk(fake: FakeServer, tmp_path: Path) -> None:
    frames = [{"frame": 7, "sweep": 0, "reason": "uncertain", "score": 0.8}, {"frame": "x"}, {"frame": -1}, 5]
    fake.on("POST", "/activelearning/fetaliqa", {"id": "case_a", "frames": frames})
    place = connected(tmp_path, fake.url)
    place.open_next("fetaliqa")
    settle(place)
    assert [(one.frame, one.reason) for one in place.worklist.suggested["case_a"].frames] == [(7, "uncertain")]
    body = next(body for method, path, body, _ in fake.asked if path == "/activelearning/fetaliqa")
    assert json.loads(body) == {"user": "anna"}


def test_durations_are_told_as_people_say_them() -> None:
    assert [duration(seconds) for seconds in (5, 300, 7260)] == ["5 s", "5 min", "2 h 1 min"]
