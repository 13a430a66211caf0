"""``fetaliqa train`` as a user runs it: a run folder that says everything, and goes on after a kill."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch
from disc_data import TINY, DiscData

from fetaliqa.cli.main import main
from fetaliqa.datasets.acouslic_layout import Circumferences, write_case, write_circumferences
from fetaliqa.model import (
    BaseReference,
    Bundle,
    BundleCard,
    TrainingData,
    build_segmentation,
    load_architecture,
    save_bundle,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data_folder(tmp_path_factory):
    """Ten cases of discs in the ACOUSLIC-AI layout."""
    folder = tmp_path_factory.mktemp("discs")
    data = DiscData(cases=10)
    rows = []
    for entry in data.entries():
        case = data.read(entry.case_id)
        write_case(folder, entry.case_id, case.frames, case.masks, (1.0, 1.0))
        rows.append(Circumferences(entry.case_id, entry.case_id, (2 * 3.1416 * 14, None, None, None, None, None)))
    write_circumferences(folder, rows)
    return folder


@pytest.fixture(scope="module")
def base_bundle(tmp_path_factory):
    """A bundle whose tiny encoder is random: something to start from."""
    torch.manual_seed(0)
    model = build_segmentation(TINY, random_init=True, encoder="full")
    card = BundleCard(
        name="tiny",
        version="1.0",
        task="segmentation",
        architecture=TINY,
        lora=None,
        base=BaseReference("included", ""),
        anatomy="abdomen",
        training_data=TrainingData("phantom discs", "0" * 64, "none"),
        licence="Apache-2.0",
        intended_use="tests",
        limitations="all",
    )
    return save_bundle(model, card, tmp_path_factory.mktemp("base") / "tiny").directory


@pytest.fixture(autouse=True)
def _home(tmp_path, monkeypatch):
    monkeypatch.setenv("FETALIQA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # here as in the processes that are started: other sums round otherwise
    yield
    torch.set_num_threads(threads)


def quick(data, base, out, *more):
    return [
        *("train", str(data), "--base", str(base), "--out", str(out), "--set", "epochs=2"),
        *("--set", "batch_size=8", "--accelerator", "cpu", *more),
    ]


def test_a_run_folder_says_everything(data_folder, base_bundle, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(quick(data_folder, base_bundle, out, "--trials", "2", "--json")) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["run"] == str(out)
    assert [trial["seed"] for trial in printed["trials"]] == [0, 1]
    assert set(printed["val_loss"]) == {"mean", "std"}
    assert printed["trials"][0]["computed"] == {
        "device": "cpu", "devices": 1, "num_nodes": 1, "strategy": "auto", "precision": "32-true",
        "deterministic": True,
    }  # fmt: skip
    for name in ("run", "recipe", "split", "environment", "data", "metrics", "evaluation"):
        assert json.loads((out / f"{name}.json").read_text())
    split = json.loads((out / "split.json").read_text())
    assert [len(split[part]) for part in ("train", "validation", "test")] == [7, 1, 2]
    recorded = json.loads((out / "data.json").read_text())
    assert recorded["labels"] == "any"
    assert recorded["leaks"]["subjects_in_several_parts"] == 0
    assert json.loads((out / "environment.json").read_text())["packages"]["torch"] in torch.__version__
    bundle = Bundle.open(out / "trial-1/bundle")
    assert bundle.card.lora is not None
    assert "recipe fetaliqa" in bundle.card.training_data.description
    bundle.load_model()


def test_a_classifier_is_trained_by_the_same_command(data_folder, base_bundle, tmp_path, capsys):
    out = tmp_path / "run"
    assert main(quick(data_folder, base_bundle, out, "--task", "classification", "--no-test")) == 0
    assert Bundle.open(out / "trial-0/bundle").card.task == "classification"
    assert f"bundle {out / 'trial-0' / 'bundle'}" in capsys.readouterr().out


@pytest.mark.long  # the same of a retraining: tests/retraining/test_retraining.py
def test_a_killed_run_goes_on_to_the_same_figures(data_folder, base_bundle, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    long = ("--set", "epochs=6", "--no-test")
    assert main(quick(data_folder, base_bundle, whole, *long)) == 0
    command = [sys.executable, "-m", "fetaliqa.cli.main", *quick(data_folder, base_bundle, killed, *long)]
    process = subprocess.Popen(command, env=dict(os.environ), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    last = killed / "trial-0/checkpoints/last.ckpt"
    while not last.is_file() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (killed / "trial-0/metrics.json").is_file(), "the run ended before it could be killed"
    assert main(["train", "--resume", str(killed), "--accelerator", "cpu", "--no-test"]) == 0
    figures = [json.loads((run / "trial-0/metrics.json").read_text()) for run in (whole, killed)]
    assert figures[0] == figures[1]


def test_the_cache_of_features_changes_no_figure(data_folder, base_bundle, tmp_path):
    runs = []
    for number, more in enumerate(([], ["--no-feature-cache"])):
        out = tmp_path / str(number)
        recipe = ("--recipe", "released-code", "--set", "copies=1", "--no-test")
        assert main(quick(data_folder, base_bundle, out, *recipe, *more)) == 0
        runs.append(json.loads((out / "trial-0/metrics.json").read_text()))
    assert runs[0]["val_loss"] == pytest.approx(runs[1]["val_loss"], abs=1e-4)
    assert list((tmp_path / "home/frames").glob("features-*/features.f32"))


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--recipe", "best"], "unknown recipe 'best'; known: paper, released-code, fetaliqa, decoder, compact"),
        (["--set", "epochs"], "--set 'epochs': write FIELD=VALUE"),
        (["--set", "epochs=many"], "recipe: epochs is 'many'; int is needed"),
        (["--base", "scratch:tiniest"], "unknown architecture 'tiniest'"),
        (["--base", "scratch:study"], "use --set encoder=full"),
        (["--trials", "0"], "trials is 0; 1 to 100 is accepted"),
        (["--devices", "0"], "--devices is 0; 1 or more is needed"),
        (["--processes", "0"], "--processes is 0; 1 or more is needed"),
        (["--workers", "-1"], "--workers is -1; 0 or more is needed"),
        (["--micro-batch", "0"], "--micro-batch is 0; 1 or more is needed"),
        (["--name", "my model"], "the bundles' name is 'my model'; letters, digits"),
        (["--strategy", "dpd"], "1 device(s) and strategy 'dpd' cannot be used here"),
        (["--task", "classification", "--recipe", "decoder"], "recipe 'decoder' is not for classification"),
        (["--anatomy", "head"], "shows the abdomen, not the head"),
        (["--accelerator", "cuda"], "device 'cuda' cannot be used: this machine has"),
        (["--split", "nowhere.json"], "nowhere.json: no such file"),
        (["--base", "fetalclip"], "FetalCLIP weights"),
    ],
)
def test_wrong_input_is_one_sentence(data_folder, base_bundle, tmp_path, capsys, more, sentence):
    assert main(quick(data_folder, base_bundle, tmp_path / "run", *more)) == 2
    printed = capsys.readouterr().err
    assert sentence in printed
    assert "Traceback" not in printed
    assert not (tmp_path / "run").exists()


def test_a_split_without_validation_is_refused_before_anything_is_made(data_folder, base_bundle, tmp_path, capsys):
    ids = [f"case-{number}" for number in range(10)]
    split = {"name": "mine", "unit": "case", "seed": None, "train": ids[:9], "validation": [], "test": ids[9:]}
    (tmp_path / "split.json").write_text(json.dumps({**split, "schema": 1}))
    assert main(quick(data_folder, base_bundle, tmp_path / "run", "--split", str(tmp_path / "split.json"))) == 2
    assert "split 'mine' has no validation case" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_without_its_extra_the_command_says_what_to_install(
    data_folder, base_bundle, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("fetaliqa.extras.find_spec", lambda name: None)
    assert main(quick(data_folder, base_bundle, tmp_path / "run")) == 2
    assert "lightning not installed; training needs `pip install fetaliqa[train]`" in capsys.readouterr().err


@pytest.mark.long  # two processes: tests/training/test_fit_model.py
def test_torchrun_trains_one_model_with_two_processes(data_folder, base_bundle, tmp_path):
    out = tmp_path / "run"
    asked = quick(data_folder, base_bundle, out, "--devices", "2", "--strategy", "ddp", "--json")
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "29611"]
    done = subprocess.run(
        [*command, "-m", "fetaliqa.cli.main", *asked],
        capture_output=True,
        text=True,
        timeout=300,
        env=dict(os.environ),
    )
    assert done.returncode == 0, done.stderr[-2000:]
    printed = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(printed) == 1  # one of the two speaks
    summary = json.loads(printed[0])
    assert summary["trials"][0]["computed"]["devices"] == 2
    assert summary["trials"][0]["steps_run"] > 0
    assert summary["test"]["summary"]
    Bundle.open(out / "trial-0/bundle").load_model()


def test_a_run_is_never_overwritten(data_folder, base_bundle, tmp_path, capsys):
    (tmp_path / "run").mkdir()
    assert main(quick(data_folder, base_bundle, tmp_path / "run")) == 2
    assert "exists already; choose another folder with --out, or go on with --resume" in capsys.readouterr().err


def test_a_run_does_not_go_on_with_changed_labels_or_other_settings(data_folder, base_bundle, tmp_path, capsys):
    data = tmp_path / "data"
    shutil.copytree(data_folder, data)
    out = tmp_path / "run"
    assert main(quick(data, base_bundle, out, "--set", "epochs=1", "--no-test")) == 0
    assert main(["train", "--resume", str(out), "--set", "epochs=3", "--trials", "5", "--base", "demo"]) == 2
    assert "omit --set, --base, --trials" in capsys.readouterr().err
    recorded = (out / "data.json").read_text()
    (out / "data.json").write_text("{")
    assert main(["train", "--resume", str(out), "--no-test"]) == 2
    assert "data.json: missing or damaged" in capsys.readouterr().err
    (out / "data.json").write_text(recorded)
    table = data / "circumferences/fetal_abdominal_circumferences_per_sweep.csv"
    table.write_text(table.read_text().replace("87.96", "90.00"))
    assert main(["train", "--resume", str(out), "--no-test"]) == 2
    assert "images or labels of the data set changed since this run began" in capsys.readouterr().err


def test_a_model_carries_the_terms_of_its_data_and_base(data_folder, base_bundle, tmp_path):
    out = tmp_path / "run"
    assert main(quick(data_folder, base_bundle, out, "--set", "epochs=1", "--no-test")) == 0
    assert "ACOUSLIC-AI (CC BY-NC-SA 4.0)" in Bundle.open(out / "trial-0/bundle").card.licence
    assert not (out / "trial-0/checkpoints/last.ckpt").exists()


def test_only_the_folder_of_a_run_can_be_resumed(tmp_path, capsys):
    assert main(["train", "--resume", str(tmp_path)]) == 2
    assert "no run.json in it, so this is not the folder of a run" in capsys.readouterr().err
    assert main(["train"]) == 2
    assert "or --resume RUN" in capsys.readouterr().err


def test_a_model_from_scratch_trains_its_whole_encoder(data_folder, tmp_path):
    assert load_architecture("study").vision.image_size == 64
    out = tmp_path / "run"
    recipe = ("--set", "encoder=full", "--set", "epochs=1", "--no-test")
    assert main(quick(data_folder, "scratch:study", out, *recipe)) == 0
    card = Bundle.open(out / "trial-0/bundle").card
    assert card.base.kind == "included"
    assert card.lora is None
