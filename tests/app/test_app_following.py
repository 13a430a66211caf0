"""Which bundle is served while others are published or damaged; and when a training starts by itself."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from fetaliqa.errors import BundleError, TooFewLabels
from monailabel_app.lib.tasks import auto_retrain
from monailabel_app.lib.tasks.auto_retrain import AutoRetrain
from monailabel_app.lib.tasks.served_model import ServedModel


class Service:
    """Stands in for an assessment service; ``damaged`` ones cannot be used."""

    damaged: tuple[str, ...] = ()

    def __init__(self, spec: str, may_load: threading.Event) -> None:
        self.spec, self._may_load = spec, may_load
        self.fingerprint = spec

    def check(self) -> None:
        if self.spec in self.damaged:
            raise BundleError(f"{self.spec} is damaged")

    def model_info(self) -> dict[str, str]:
        return {"task": "segmentation", "anatomy": "abdomen", "version": self.spec}

    def load(self) -> None:
        assert self._may_load.wait(10)


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_question_never_waits_for_a_new_version_to_load() -> None:
    published, may_load = ["seg@1"], threading.Event()
    serving = ServedModel(lambda spec: Service(spec, may_load), lambda: published[0])  # type: ignore[arg-type, return-value]
    published[0] = "seg@2"
    assert serving.peek().fingerprint == "seg@1"  # at once, though the new one cannot be loaded yet
    asked: list[str] = []
    request = threading.Thread(target=lambda: asked.append(serving.current().fingerprint))
    request.start()  # the first to ask for an answer waits for the new one
    request.join(0.2)
    assert asked == []
    may_load.set()
    until(lambda: serving.peek().fingerprint == "seg@2")
    request.join(10)
    assert asked == ["seg@2"]


def test_a_damaged_published_version_does_not_keep_a_server_from_starting(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Service, "damaged", ("seg@3", "seg@2"))
    ready = threading.Event()
    ready.set()

    def make(spec: str) -> Any:
        return Service(spec, ready)

    with pytest.raises(BundleError, match="seg@3 is damaged"):
        ServedModel(make, lambda: "seg@3")
    serving = ServedModel(make, lambda: "seg@3", lambda: ["seg@2", "seg@1", "demo"])
    assert serving.current().fingerprint == "seg@1"
    assert "seg@3 is published, but cannot be served; seg@1 is: seg@3 is damaged" in caplog.text


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The trainings that were started."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(auto_retrain.AsyncTask, "run", lambda _, request: found.append(request))
    monkeypatch.setattr(auto_retrain, "processes", lambda _: {})
    return found


def watched(monkeypatch: pytest.MonkeyPatch, counts: list[int], check: Callable[..., None]) -> AutoRetrain:
    monkeypatch.setattr(auto_retrain, "newly_confirmed", lambda _: counts[-1])
    return AutoRetrain(SimpleNamespace(studies="s", check=check), 10)  # type: ignore[arg-type]


def test_labels_that_came_without_a_save_start_a_training_too(
    monkeypatch: pytest.MonkeyPatch, started: list[dict[str, Any]]
) -> None:
    monkeypatch.setattr(auto_retrain, "WATCH_SECONDS", 0.02)
    counts = [3]
    task = watched(monkeypatch, counts, lambda _: None)
    task.watch()
    time.sleep(0.2)
    assert started == []
    counts.append(12)  # picked by a reviewer, or imported
    until(lambda: len(started) == 1)
    time.sleep(0.2)
    assert len(started) == 1  # one that failed at once is not tried again and again
    counts.append(13)
    until(lambda: len(started) == 2)
    task.close()


def test_what_is_missing_for_a_training_is_said_once(
    monkeypatch: pytest.MonkeyPatch, started: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_: Any) -> None:
        raise TooFewLabels("all confirmed frames are of one case")

    task = watched(monkeypatch, [12], refuse)
    with caplog.at_level("INFO"):
        for _ in range(3):
            task._count()
    assert started == []
    assert caplog.text.count("all confirmed frames are of one case") == 1


def test_the_watch_outlives_what_cannot_be_counted(
    monkeypatch: pytest.MonkeyPatch, started: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(auto_retrain, "WATCH_SECONDS", 0.02)
    counted: list[int] = []
    task = watched(monkeypatch, [12], lambda _: None)

    def damaged_at_first(_: Any) -> int:
        counted.append(0)
        if len(counted) < 3:
            raise ValueError("a damaged record")
        return 12

    monkeypatch.setattr(auto_retrain, "newly_confirmed", damaged_at_first)
    task.watch()
    until(lambda: len(started) == 1)
    task.close()
    assert caplog.text.count("could not be counted") == 1


def test_a_training_that_could_not_be_started_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, started: list[dict[str, Any]]
) -> None:
    task = watched(monkeypatch, [12], lambda _: None)
    start = auto_retrain.AsyncTask.run

    def no_process(*_args: Any, **_how: Any) -> None:
        raise RuntimeError("no process")

    monkeypatch.setattr(auto_retrain.AsyncTask, "run", no_process)
    task._count()
    monkeypatch.setattr(auto_retrain.AsyncTask, "run", start)
    task._count()
    assert len(started) == 1


def test_a_version_that_breaks_the_loading_is_not_tried_at_every_request(
    caplog: pytest.LogCaptureFixture,
) -> None:
    published, tried = ["seg@1"], []

    def make(spec: str) -> Any:
        tried.append(spec)
        if spec == "seg@2":
            raise KeyError("a bug")
        return Service(spec, threading.Event())

    serving = ServedModel(make, lambda: published[0])
    published[0] = "seg@2"
    for _ in range(3):
        assert serving.current().fingerprint == "seg@1"
    assert tried == ["seg@1", "seg@2"]
    assert "cannot be served; seg@1 stays" in caplog.text
