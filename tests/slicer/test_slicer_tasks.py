"""The task runner: one task of a kind, results in the calling thread, none of canceled tasks."""

from __future__ import annotations

import threading
import time

from FetalIQALib.client_errors import InvalidAction
from FetalIQALib.task_runner import TaskRunner


def pump(runner: TaskRunner, count: int) -> None:
    deadline = time.monotonic() + 10
    while count and time.monotonic() < deadline:
        count -= runner.pump()
        time.sleep(0.005)
    assert not count


def test_results_are_delivered_in_the_thread_that_pumps() -> None:
    runner, seen = TaskRunner(), []
    assert runner.start("a", lambda cancel: threading.current_thread(), seen.append, seen.append)
    time.sleep(0.1)
    assert seen == []
    assert runner.busy("a")
    pump(runner, 1)
    assert seen[0] is not threading.current_thread()
    assert not runner.busy()


def test_one_task_of_a_kind_runs_at_a_time() -> None:
    runner, seen, gate = TaskRunner(), [], threading.Event()
    assert runner.start("a", lambda cancel: gate.wait(10), seen.append, seen.append)
    assert not runner.start("a", lambda cancel: "second", seen.append, seen.append)
    assert runner.start("b", lambda cancel: "other", seen.append, seen.append)
    pump(runner, 1)
    assert seen == ["other"]
    gate.set()
    pump(runner, 1)
    assert seen == ["other", True]


def test_results_of_canceled_tasks_are_never_delivered() -> None:
    runner, seen, gate = TaskRunner(), [], threading.Event()

    def stubborn(cancel: threading.Event) -> str:
        gate.wait(10)  # pays no attention to being canceled
        assert cancel.is_set()
        return "late"

    assert runner.start("a", stubborn, seen.append, seen.append)
    runner.cancel("a")
    assert not runner.busy()
    assert runner.start("a", lambda cancel: "new", seen.append, seen.append)
    pump(runner, 1)
    gate.set()
    time.sleep(0.1)
    assert runner.pump() == 0
    assert seen == ["new"]


def test_errors_are_delivered_and_a_failing_callback_affects_no_other() -> None:
    runner, seen = TaskRunner(), []

    def refuse(cancel: threading.Event) -> None:
        raise InvalidAction("no")

    def broken(result: object) -> None:
        raise RuntimeError("in a callback")

    assert runner.start("a", refuse, print, seen.append)
    pump(runner, 1)
    assert [str(failure) for failure in seen] == ["no"]
    assert runner.start("b", lambda cancel: 1, broken, print)
    assert runner.start("c", lambda cancel: 2, seen.append, print)
    time.sleep(0.1)
    failed = 0
    for _ in range(5):
        try:
            runner.pump()
        except RuntimeError:
            failed += 1
    assert (failed, seen[1:]) == (1, [2])
    assert not runner.busy()
