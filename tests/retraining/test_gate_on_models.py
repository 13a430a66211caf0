"""The gate with models that were trained, and frames that they are measured on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from disc_bundle import FAST, disc_bundle
from phantom_studies import disc_studies, write_study

from fetaliqa.cli.main import main
from fetaliqa.errors import GateRefused
from fetaliqa.labels.studies import Studies
from fetaliqa.model import Bundle, save_bundle
from fetaliqa.registry.model_store import current_version
from fetaliqa.registry.publishing import candidate_folder, history, publish
from fetaliqa.retraining import gate_verdict as rules
from fetaliqa.retraining.gate import CONFIRMED, GateGroup, compare
from fetaliqa.retraining.pipeline import RetrainRequest, retrain
from fetaliqa.retraining.replay import folder_replay

pytestmark = pytest.mark.slow


def says_always(folder: Path, logit: float) -> Bundle:
    """A model whose outline probability is the same everywhere, whatever it is shown."""
    bundle = disc_bundle(folder / "start")
    model = bundle.load_model(merge=False)
    last = model.head_module.head[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(logit)
    return save_bundle(model, bundle.card, folder / "made")


@pytest.fixture
def silent(tmp_path: Path) -> Bundle:
    """Finds nothing."""
    return says_always(tmp_path / "silent", -9.0)


@pytest.fixture
def loud(tmp_path: Path) -> Bundle:
    """Outlines the whole of every frame."""
    return says_always(tmp_path / "loud", 9.0)


def test_models_that_are_none_are_measured_as_such(tmp_path: Path, silent: Bundle, loud: Bundle):
    studies = disc_studies(tmp_path / "studies", 6)
    (studies / "subjects.csv").write_text("case_id,subject_id\ncase-0,anna\ncase-1,anna\n")
    data = Studies(studies)
    groups = [GateGroup(CONFIRMED, data, tuple(entry.case_id for entry in data.entries()))]
    comparison = compare(loud, silent, groups)
    own = comparison["groups"][CONFIRMED]
    counts = [own[name] for name in ("cases", "subjects", "frames", "outlined", "empty")]
    assert counts == [6, 5, 72, 24, 48]
    pairs = {name: (figure["published"], figure["candidate"]) for name, figure in own["figures"].items() if figure}
    assert (pairs["recall"], pairs["specificity"], pairs["balanced_accuracy"]) == ((0, 1), (1, 0), (0.5, 0.5))
    assert pairs["f1"] == (0, 0.5)  # precision 1/3
    assert own["figures"]["f1"]["subjects"] == 5
    assert own["figures"]["dice"]["sure"] == "better"  # and is no model for all that
    assert (comparison["passed"], comparison["rule"]) == (False, rules.ALL_POSITIVE)
    for published in (silent, loud):
        comparison = compare(silent, published, groups)
        assert (comparison["passed"], comparison["rule"]) == (False, rules.FINDS_NOTHING)


def test_a_training_that_learns_nothing_is_refused_and_published_on_record_only(
    studies: Path, silent: Bundle, capsys: pytest.CaptureFixture
):
    nothing = {**FAST, "learning_rate": 1e-9, "epochs": 1}
    result = retrain(studies, RetrainRequest(bundle=str(silent.directory), name="seg", settings=nothing))
    assert result["sentence"].startswith("candidate 1: it finds next to nothing: Dice 0.000 -> 0.000")
    assert (result["published"], result["gate"]["rule"]) == (False, rules.FINDS_NOTHING)
    assert result["gate"]["advice"] in result["sentence"]
    with pytest.raises(GateRefused, match="--force --reason WHY"):
        publish("seg", "1")
    # nor by the folders that hold the same weights
    made = next((studies / "retraining/runs/1").glob("trial-*/bundle"))
    for folder in (candidate_folder("seg", "1"), made):
        assert Bundle.open(folder).card.name == "seg"
        assert main(["models", "publish", str(folder)]) == 2
        assert "the gate refused this candidate: it finds next to nothing" in capsys.readouterr().err
    assert main(["models", "publish", "seg@1", "--force"]) == 2
    assert "needs a reason" in capsys.readouterr().err
    assert current_version("seg") is None

    assert main(["models", "publish", "seg@1", "--force", "--reason", "a demonstration"]) == 0
    assert current_version("seg") == "1"
    line = history("seg")[-1]
    assert (line["action"], line["forced"]) == ("publish", True)
    assert line["by"] in line["reason"]
    assert "a demonstration (the gate: it finds next to nothing" in line["reason"]
    assert line["figures"]["confirmed"]["dice"] == [0.0, 0.0]


def dark_disc(folder: Path, case_id: str, number: int) -> None:
    """A case as of ``disc_studies``, with discs darker than what is around them."""
    random = np.random.default_rng(100 + number)
    frames = random.integers(120, 190, (12, 64, 64)).astype(np.uint8)
    masks = np.zeros_like(frames)
    rows, columns = np.mgrid[:64, :64]
    for frame in range(3, 7):
        y, x = random.uniform(22, 42, 2)
        masks[frame][np.hypot(rows - y, columns - x) < random.uniform(12, 16)] = 1
    frames[masks > 0] -= 100
    write_study(folder, case_id, frames, masks, spacing=2.5)


@pytest.mark.long  # two trainings: test_gate.py has the rule on figures
def test_what_synthetic_data_lose_does_not_stop_a_sure_gain_on_the_sites_frames(tmp_path: Path, untrained: Bundle):
    for number in range(4):
        dark_disc(tmp_path / "dark", f"dark-{number}", number)
    first = retrain(tmp_path / "dark", RetrainRequest(bundle=str(untrained.directory), name="old", settings=FAST))
    assert first["gate"]["groups"][CONFIRMED]["figures"]["dice"]["candidate"] > 0.5
    # what is replayed to train is like the site's own frames, what is replayed to check is not: that is forgotten
    old = disc_studies(tmp_path / "replayed", 8, first=40)
    (old / "manifest.json").write_text(json.dumps({"synthetic": True}))
    for number, entry in enumerate(folder_replay(old).validation.entries()):
        dark_disc(old, entry.case_id, 10 + number)
    studies = disc_studies(tmp_path / "studies", 20)
    result = retrain(studies, RetrainRequest(bundle="old@1", name="seg", replay=old, settings=FAST))
    groups = result["gate"]["groups"]
    assert groups["original"]["synthetic"]
    assert (
        min(figure["difference"] for figure in groups["original"]["figures"].values() if figure)
        < -rules.LARGE_LOSS
    )
    assert (result["published"], result["gate"]["rule"]) == (True, rules.SURELY_BETTER), result["sentence"]
    assert "(significantly better); worse on replayed data: " in result["sentence"]
    assert current_version("seg") == "1"
