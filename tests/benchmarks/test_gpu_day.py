"""``gpu_day.py`` runs all its steps without a card, keeps what it has, and goes on after a step that fails."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture
def gpu_day(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(TESTS.parent / "benchmarks"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return __import__("gpu_day")


@pytest.mark.long  # minutes: each step is a process; test_gpu_scripts.py runs what most of them do
def test_every_step_runs_on_a_cpu_in_small(gpu_day, tmp_path, capsys):
    out = tmp_path / "results.json"
    code = gpu_day.main(["--device", "cpu", "--small", "--out", str(out), "--seconds", "9000"])
    report = json.loads(out.read_text())
    steps = report["steps"]
    assert {name: one["state"] for name, one in steps.items()} == dict.fromkeys(steps, "done"), steps
    assert code == 0
    assert steps["versions"]["result"]["cannot_be_imported"] == {}
    assert "skipped" in steps["cuda tests"]["output"][-1]
    assert steps["case"]["result"]["agreement with fp32"]["dice_mean"] > 0.9
    assert steps["training"]["result"]["computed"]["deterministic"]
    assert not steps["training, any kernels"]["result"]["computed"]["deterministic"]
    retrained = steps["retraining beside a server"]["result"]
    assert retrained["trained"]["steps_run"] == 20
    assert retrained["request_seconds_beside"]["requests"] > 0
    assert 0 < retrained["checkpoint_gib_at_most"] < 1
    check_full_card(steps["full card"]["result"])
    assert steps["compact model"]["result"]["compact"]["frames_per_second"] > 0
    assert set(report["goals"]) == {
        "encoder's share of the peak",
        "seconds of a case from file to masks",
        "training: share of the peak",
        "training, any kernels: share of the peak",
    }
    assert json.loads(capsys.readouterr().out) == report["goals"]


def check_full_card(found: dict[str, Any]) -> None:
    little = found["with_little_memory"]
    assert [one["state"] for one in little] == ["answered", "answered", "refused"]
    assert [one.get("frames_at_once") for one in little] == [4, 1, None]
    assert found["afterwards"]["frames_at_once"] == 16


@pytest.mark.slow
@pytest.mark.long
def test_one_step_runs_on_a_cpu_in_small(gpu_day, tmp_path):
    out = tmp_path / "results.json"
    options = ["--device", "cpu", "--small", "--out", str(out), "--seconds", "9000"]
    assert gpu_day.main([*options, "--only", "full card"]) == 0
    steps = json.loads(out.read_text())["steps"]
    assert [(name, one["state"]) for name, one in steps.items()] == [("full card", "done")], steps
    check_full_card(steps["full card"]["result"])


def a_step(gpu_day, name: str, code: str, seconds: float = 60.0):
    return gpu_day.Step(name, [sys.executable, "-c", code], seconds)


def test_steps_that_fail_hang_or_find_no_time_take_nothing_from_the_others(gpu_day, tmp_path):
    steps = [
        a_step(gpu_day, "works", "print('hello'); print('{\"answer\": 42}'); print('bye')"),
        a_step(gpu_day, "fails", "import sys; print('{\"answer\": 1}'); sys.exit('no such kernel')"),
        a_step(gpu_day, "hangs", "import time; print('begun', flush=True); time.sleep(600)", 3.0),
        a_step(gpu_day, "after", "print('{\"answer\": 43}')"),
    ]
    out = tmp_path / "results.json"
    outcome = gpu_day.measure(steps, out, 600.0, {"device": "cpu"})["steps"]
    assert [one["state"] for one in outcome.values()] == ["done", "failed", "timed out", "done"]
    assert [one["result"] for one in outcome.values()] == [{"answer": 42}, {"answer": 1}, None, {"answer": 43}]
    assert outcome["fails"]["output"][-1] == "no such kernel"
    assert outcome["fails"]["exit_code"] == 1
    assert outcome["hangs"]["output"] == ["begun"]
    assert json.loads(out.read_text())["steps"] == outcome
    assert gpu_day.measure(steps[:1], out, 5.0, {})["steps"]["works"]["state"] == "left out"


def test_a_goal_is_met_or_not_by_what_was_measured(gpu_day):
    case = {"goals": {"share_of_peak": [0.55, 0.5], "seconds": [1.9, 1.5]}}
    training = {"steps_per_second": 20.0, "frames_a_step": 32, "share_of_peak": 0.41, "goal": 0.4}
    outcome = gpu_day.goals({"case": {"result": case}, "training": {"result": training}})
    assert [one["met"] for one in outcome.values()] == [True, False, True]
    assert outcome["training: share of the peak"]["images_per_second"] == 640.0
    assert gpu_day.goals({"case": {"state": "left out"}, "training": {"result": None}}) == {}


def test_packages_for_such_a_machine_are_listed_with_their_sizes(gpu_day, capsys):
    assert gpu_day.main(["--packages"]) == 0
    *lines, together, _, command = capsys.readouterr().out.splitlines()
    assert "SimpleITK==2.5.7  50.33 MiB" in lines
    assert together.startswith("59.4 MiB together")
    assert all(line.split()[0] in command for line in lines)


def test_a_step_that_does_not_exist_is_named(gpu_day, capsys):
    with pytest.raises(SystemExit) as ended:
        gpu_day.main(["--device", "cpu", "--only", "everything"])
    assert ended.value.code == 2
    assert "--only everything: the steps are versions, cuda tests, case" in capsys.readouterr().err


def test_every_test_that_needs_a_card_is_run_on_one(gpu_day):
    needing = {
        file.relative_to(TESTS.parent).as_posix()
        for file in TESTS.rglob("test_*.py")
        if "@pytest.mark.cuda" in file.read_text() and file != Path(__file__)
    }
    assert needing == set(gpu_day.CUDA_TESTS)
