"""Wrong arguments are refused before torch is loaded: on a busy machine that import takes minutes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = [
    "score nowhere.mha",
    "score nowhere.mha --json",
    "score . --model no-such-model",
    "score . --top 0",
    "score . --shard 5/3",
    "score . --device banana",
    "score . --resume",
    "best nowhere.mha",
    "best . --model no-such-model",
    "serve nowhere",
    "serve . --conf no_such_setting 1",
    "distill nowhere",
    "distill --steps 0",
    "distill --model no-such-model",
    "evaluate no-such-model .",
    "evaluate demo nowhere",
    "experiment table1 nowhere --work work",
    "experiment table1 --work work --cases 0",
    "export nowhere out",
    "labels list --studies nowhere",
    "labels import nowhere --from coco --rater anna --studies .",
    "models show no-such-model",
    "retrain nowhere",
    "retrain . --devices 0",
    "simulate out --data nowhere",
    "simulate out --seeds 0",
    "train nowhere",
    "train",
    "weights import nowhere.pt",
    "data hc18 nowhere",
    "data acouslic nowhere",
    "data split nowhere --out split.json",
    "demo images nowhere",
]

PROGRAM = """
import contextlib, io, json, sys
from fetaliqa.cli.main import main
for command in json.loads(sys.argv[1]):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        code = main(command.split())
    print(json.dumps([command, code, said.getvalue(), "torch" in sys.modules]), flush=True)
"""


@pytest.fixture(scope="module")
def refusals(tmp_path_factory) -> dict[str, tuple[int, str, bool]]:
    """Exit code, standard error, and whether torch was loaded by then, of each command; all in one process."""
    folder = tmp_path_factory.mktemp("empty")
    repository = Path(__file__).parents[2]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path.insert(0, {str(repository)!r})\n{PROGRAM}",
            json.dumps(COMMANDS),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert list(folder.iterdir()) == []
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {command: (code, stderr, torch) for command, code, stderr, torch in rows}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_argument_is_one_sentence_before_torch_is_loaded(command, refusals):
    code, stderr, torch = refusals[command]
    assert code == 2
    assert stderr.count("\n") == 1
    assert stderr.startswith(f"fetaliqa {command.split()[0]}: ")
    assert not torch


def test_the_package_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "fetaliqa", "--version"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert done.stdout.startswith("fetaliqa ")


def test_serve_is_refused_by_name_without_the_packages_of_the_server(monkeypatch, capsys, tmp_path):
    from fetaliqa import extras
    from fetaliqa.cli.main import main

    monkeypatch.setattr(extras, "find_spec", lambda name: None)
    assert main(["serve", str(tmp_path)]) == 2
    assert "pip install fetaliqa[server]" in capsys.readouterr().err
