"""How few frames a training computes at a time can be said to each that trains: commands and server."""

from __future__ import annotations

from pathlib import Path

import pytest

from fetaliqa.cli import main as commands
from fetaliqa.cli.train import _machine
from fetaliqa.retraining import pipeline as retraining
from monailabel_app.lib.startup.conf import ServerConf
from monailabel_app.lib.tasks.retraining_task import RetrainTask


@pytest.fixture
def machines(monkeypatch) -> list:
    """Those that retrainings are asked to compute on; none begins."""
    found: list = []

    def retrain(studies, request, *, machine, **_):
        found.append(machine)
        return {"sentence": "candidate 1: kept"}

    monkeypatch.setattr(retraining, "retrain", retrain)
    return found


def told(machine) -> tuple:
    return machine.micro_batch, machine.recompute


def test_a_run_takes_what_the_command_says():
    options = ["train", ".", "--accelerator", "cpu", "--micro-batch", "4", "--recompute"]
    assert told(_machine(commands.build_parser().parse_args(options))) == (4, True)
    assert told(_machine(commands.build_parser().parse_args(options[:4]))) == (None, False)


def test_a_retraining_takes_what_the_command_says_also_when_it_goes_on(machines, tmp_path: Path, capsys):
    for options in (["--micro-batch", "8", "--recompute"], ["--resume", "--micro-batch", "2"], []):
        assert commands.main(["retrain", str(tmp_path), "--accelerator", "cpu", *options]) == 0
    assert [told(machine) for machine in machines] == [(8, True), (2, False), (None, False)]
    assert commands.main(["retrain", str(tmp_path), "--micro-batch", "0"]) == 2
    assert "--micro-batch is 0; 1 or more is needed" in capsys.readouterr().err


@pytest.mark.parametrize(("conf", "frames"), [({}, None), ({"train_batch": "4"}, 4), ({"train_batch": "0"}, None)])
def test_a_servers_retraining_takes_what_the_server_was_started_with(conf, frames, machines, tmp_path: Path):
    task = RetrainTask(tmp_path, ServerConf.from_conf({"device": "cpu", **conf}), lambda: False)
    task({"mode": "quick"}, None)
    assert [told(machine) for machine in machines] == [(frames, False)]
