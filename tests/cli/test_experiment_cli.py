"""``fetaliqa experiment`` as a user runs it."""

import json
import subprocess
import sys

import pytest
import torch
from paper_study import tiny_base

from fetaliqa.cli import main as command_line
from fetaliqa.cli.experiment import NAMES
from fetaliqa.datasets.acouslic_layout import Circumferences, write_case, write_circumferences
from fetaliqa.lab.paper import model_tables, study_setup
from fetaliqa.lab.paper.table_rows import fetalclip_row
from fetaliqa.lab.paper_tables import EXPERIMENTS
from fetaliqa.model import BaseReference, BundleCard, TrainingData, build_segmentation, save_bundle

QUICK = [
    "--set",
    "batch_size=8",
    "--set",
    "copies=0",
    "--set",
    "frame_step=1",
    "--seeds",
    "1",
    "--accelerator",
    "cpu",
]


def write_discs(folder):
    from disc_data import DiscData

    data, rows = DiscData(cases=10), []
    for entry in data.entries():
        case = data.read(entry.case_id)
        write_case(folder, entry.case_id, case.frames, case.masks, (1.0, 1.0))
        rows.append(Circumferences(entry.case_id, entry.case_id, (2 * 3.1416 * 14, None, None, None, None, None)))
    write_circumferences(folder, rows)


def write_stand_in(folder):
    base = tiny_base()
    model = build_segmentation(base.architecture, weights=base.weights, encoder="full")
    card = BundleCard(
        "tiny", "1.0", "segmentation", base.architecture, None, BaseReference("included", ""), "abdomen",
        TrainingData("phantom discs", "0" * 64, "none"), "Apache-2.0", "tests", "all",
    )  # fmt: skip
    save_bundle(model, card, folder)


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    """Ten cases of discs in the ACOUSLIC-AI layout."""
    folder = tmp_path_factory.mktemp("discs")
    write_discs(folder)
    return folder


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "stand-in"
    write_stand_in(folder)
    return folder


@pytest.fixture(autouse=True)
def _small(monkeypatch, tmp_path):
    """One model per table, one thread, no weights on this machine."""
    monkeypatch.setitem(command_line.VERBS, "experiment", "run the paper's tables and figures anew")
    monkeypatch.setattr(model_tables, "full_parameters", lambda row, as_released: 1)
    for name in model_tables.ROWS:
        monkeypatch.setitem(model_tables.ROWS, name, (fetalclip_row("classification"),))
    monkeypatch.setenv("FETALIQA_HOME", str(tmp_path / "home"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def run(*words):
    return command_line.main(["experiment", *map(str, words)])


def test_the_names_are_those_of_the_library():
    assert sorted(NAMES) == sorted(EXPERIMENTS)


def test_help_needs_no_heavy_import():
    code = (
        "import argparse, sys; from fetaliqa.cli import experiment; "
        "experiment.configure(argparse.ArgumentParser()); print('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_table_is_run_printed_and_reported_and_a_second_run_trains_nothing(discs, stand_in, tmp_path, capsys):
    words = ["table1", discs, "--work", tmp_path / "work", "--reduced", "--stand-in", stand_in, *QUICK]
    assert run(*words) == 0
    first = capsys.readouterr()
    assert "| FetalCLIP_CLS | LoRA |" in first.out
    assert "train FetalCLIP_CLS (lora, paper, seed 0)" in first.err
    report = (tmp_path / "work/report/README.md").read_text()
    assert "fetaliqa experiment table1 DATA --work WORK --stand-in STAND_IN --reduced --seeds 1" in report
    assert "--set batch_size=8" in report
    assert "small stand-ins with random weights" in report
    assert str(tmp_path) not in report
    assert run(*words, "--json") == 0
    second = capsys.readouterr()
    assert "train FetalCLIP_CLS" not in second.err
    held = json.loads(second.out)
    assert held["experiments"]["table1"]["table"]["rows"][0]["f1"]["trials"] == 1


def test_without_data_phantoms_and_a_stand_in_are_made_once(monkeypatch, tmp_path, capsys):
    made = []

    def dataset(folder, cases, seed, settings, progress, *, workers):
        made.append(("phantoms", cases, settings.scale))
        write_discs(folder)

    def encoder(folder, report, *, processes):
        made.append(("stand-in", processes))
        write_stand_in(folder)

    monkeypatch.setattr(study_setup, "write_dataset", dataset)
    monkeypatch.setattr(study_setup, "train_stand_in", encoder)
    for _ in range(2):
        assert run("table4", "--work", tmp_path, "--reduced", "--cases", "10", *QUICK) == 0
    assert made == [("phantoms", 10, "half"), ("stand-in", 1)]


def test_without_any_weights_the_command_says_why_and_ends_with_1(discs, tmp_path, capsys):
    assert run("table1", discs, "--work", tmp_path / "work", *QUICK) == 1
    out = capsys.readouterr().out
    assert "| FetalCLIP_CLS | LoRA | 2.4 | 1 | 0.7570 ± 0.007 | not run | not run |" in out
    assert "- FetalCLIP_CLS (LoRA): not run: " in out


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["table1"], "no data set was named; name its folder, or add --reduced to make phantoms"),
        (["table1", "DISCS", "--stand-in", "x"], "a stand-in encoder belongs to --reduced"),
        (["table1", "DISCS", "--reduced", "--weights", "x"], "leave weights out"),
        (["table1", "DISCS", "--seeds", "0"], "0 seeds; 1 to 100 are accepted"),
        (["table1", "DISCS", "--set", "epoch=1"], "recipe has no field 'epoch'"),
        (["table1", "DISCS", "--set", "epochs"], "write FIELD=VALUE"),
        (["table1", "DISCS", "--processes", "0"], "--processes 0"),
        (["table1", "nowhere"], "no such folder"),
        (["table1", "DISCS", "--reduced", "--stand-in", "nowhere"], "nowhere"),
    ],
)
def test_bad_input_ends_with_one_sentence(words, sentence, discs, tmp_path, capsys):
    words = [str(discs) if word == "DISCS" else word for word in words]
    assert run(*words, "--work", tmp_path / "work") == 2
    error = capsys.readouterr().err.strip()
    assert sentence in error
    assert "\n" not in error
    assert not (tmp_path / "work").exists()
