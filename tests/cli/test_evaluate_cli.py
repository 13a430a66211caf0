"""``fetaliqa evaluate`` as a user runs it: real data set, real bundle files, wrong input."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch
from bundle_cards import a_card

from fetaliqa.cli.main import VERBS, main
from fetaliqa.datasets.splits import Split, write_split
from fetaliqa.labels.dataset_kinds import open_labelled
from fetaliqa.model import Architecture, DecoderConfig, VisionConfig, build_segmentation, save_bundle

TINY = Architecture("tiny", VisionConfig(32, 8, 32, 4, 2, 16, 4.0), DecoderConfig((1, 2, 3, 4), 4))


@pytest.fixture(autouse=True)
def the_verb(monkeypatch, tmp_path):
    monkeypatch.setitem(VERBS, "evaluate", "measure a model on labelled cases")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def cases(sample_data):
    return [entry.case_id for entry in open_labelled(sample_data).entries()]


@pytest.fixture
def run_folder(tmp_path, cases):
    """A run of two trials with random models."""
    folder = tmp_path / "my-run"
    write_split(folder / "split.json", Split("thirds", "case", None, (cases[0],), (cases[1],), (cases[2],)))
    for trial in range(2):
        torch.manual_seed(trial)
        model = build_segmentation(TINY, random_init=True)
        save_bundle(model, a_card(model), folder / f"trial-{trial}" / "bundle")
    return folder


def evaluate(*arguments):
    return main(["evaluate", *map(str, arguments), "--device", "cpu"])


def test_a_run_is_evaluated_on_its_test_cases_into_a_folder_of_its_name(run_folder, sample_data, cases, capsys):
    assert evaluate(run_folder, sample_data, "--bootstrap", 20) == 0
    captured = capsys.readouterr()
    assert "mean ± standard deviation over 2 trial(s)" in captured.out
    assert "says nothing about patients" in captured.out
    metrics = json.loads((run_folder.parent / "evaluation-my-run" / "metrics.json").read_text())
    assert list(metrics["trials"]) == ["trial-0", "trial-1"]
    assert metrics["trials"]["trial-0"]["case_ids"] == [cases[2]]
    assert metrics["trials"]["trial-0"]["settings"]["part"] == "test"
    page = (run_folder.parent / "evaluation-my-run" / "report.html").read_text()
    assert "SYNTHETIC DATA" in page
    assert "Over trials" in page


def test_a_bundle_prints_json_and_is_never_overwritten_unasked(run_folder, sample_data, cases, tmp_path, capsys):
    bundle = run_folder / "trial-0" / "bundle"
    write_split(tmp_path / "own.json", Split("own", "case", None, (), (), (cases[2],)))
    options = ["--split", tmp_path / "own.json", "--out", tmp_path / "out", "--bootstrap", 0, "--json"]
    assert evaluate(bundle, sample_data, *options) == 0
    metrics = json.loads(capsys.readouterr().out)
    assert metrics["settings"]["split"] == "own"
    assert metrics["protocols"]["all_sweeps"]["figures"]["accuracy"]["low"] is None
    assert evaluate(bundle, sample_data, *options) == 2
    assert "add --force" in capsys.readouterr().err
    assert evaluate(bundle, sample_data, "--part", "train", *options[2:], "--force") == 0
    assert any("training cases" in note for note in json.loads(capsys.readouterr().out)["notes"])


def test_training_cases_are_refused_unless_asked_for(run_folder, sample_data, capsys):
    bundle = run_folder / "trial-0" / "bundle"
    assert evaluate(bundle, sample_data, "--part", "all") == 2
    assert "1 of the 3 selected cases were trained on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no-such-run", "DATA"], "no-such-run"),
        (["RUN", "nowhere"], "no such folder"),
        (["RUN", "DATA", "--kind", "dicom"], "dicom"),
        (["RUN", "DATA", "--bootstrap", "-3"], "bootstrap -3"),
        (["RUN", "DATA", "--split", "none.json"], "none.json"),
        (["RUN", "DATA", "--device", "cuda:77"], "cuda:77"),
        (["demo", "DATA", "--part", "test"], "needs a split"),
        (["RUN", "DATA", "--out", "RUN/split.json"], "is a file"),
    ],
)
def test_wrong_input_is_one_sentence(arguments, said, run_folder, sample_data, capsys):
    given = [part.replace("RUN", str(run_folder)).replace("DATA", str(sample_data)) for part in arguments]
    assert main(["evaluate", *given]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert error.startswith("fetaliqa evaluate: ")


def test_help_imports_nothing_heavy():
    code = (
        "import argparse, sys; from fetaliqa.cli.evaluate import configure; "
        "configure(argparse.ArgumentParser()); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'sklearn', 'matplotlib', 'jinja2', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
