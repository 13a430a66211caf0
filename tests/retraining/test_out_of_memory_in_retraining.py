"""Memory that runs out in any stage of a retraining ends it with a sentence; the published model stays."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from disc_bundle import FAST, disc_bundle
from phantom_studies import disc_studies
from test_retraining_faults import compared

from fetaliqa.cli.main import main
from fetaliqa.errors import TrainingError
from fetaliqa.model import Bundle
from fetaliqa.registry.model_store import current_version
from fetaliqa.registry.publishing import history
from fetaliqa.retraining import gate, retraining_paths
from fetaliqa.retraining import pipeline as retraining
from fetaliqa.retraining.pipeline import RetrainRequest, retrain
from fetaliqa.retraining.progress_file import read_progress
from fetaliqa.training import encoder_features, frame_store, stall_recovery, training_run
from fetaliqa.training.lightning_module import FrameModule

pytestmark = pytest.mark.slow

FULL_CARD = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")
NO_HANDLE = RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`")
NO_ENGINE = RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")

# what runs out, where it is asked for memory, and the stage that is told
STAGES = [
    (MemoryError(), frame_store, "_case_part", "prepare training frames"),
    (FULL_CARD, encoder_features, "_features", "compute encoder features"),
    (FULL_CARD, training_run, "choose_threshold", "choose threshold"),
    (MemoryError(), training_run, "save_bundle", "save the model"),
    (FULL_CARD, gate, "Predictor", "compare"),
    (NO_HANDLE, gate.CaseReader, "predict", "compare"),
    (MemoryError(), retraining, "add_candidate", "publish"),
    (MemoryError(), retraining, "publish", "publish"),
]
AGAIN = ("predict", "publish")  # in stages that are tested with another step


def run_out(error: Exception):
    def asked(*_, **__):
        raise error

    return asked


def request_of(bundle: Bundle) -> RetrainRequest:
    settings = {**FAST, "epochs": 1, "choose_threshold": True}
    return RetrainRequest(bundle=str(bundle.directory), name="seg", settings=settings, without_replay=True)


@pytest.fixture
def a_request(untrained) -> RetrainRequest:
    return request_of(untrained)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """Studies with a first training, and the model store with its version in use. Not to be changed."""
    root = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("FETALIQA_HOME", str(root / "home"))
        patched.setattr(retraining, "compare", compared())
        retrain(disc_studies(root / "studies", 4), request_of(disc_bundle(root / "untrained")))
    return root


@pytest.fixture
def published(trained, studies, tmp_path) -> str:
    """A first version in use, trained on these studies."""
    shutil.copytree(trained / "studies", studies, dirs_exist_ok=True)
    shutil.copytree(trained / "home", tmp_path / "home", dirs_exist_ok=True)
    version = current_version("seg")
    assert version is not None
    return version


@pytest.mark.parametrize(
    ("error", "where", "what", "stage"),
    [pytest.param(*stage, id=stage[2], marks=pytest.mark.long if stage[2] in AGAIN else ()) for stage in STAGES],
)
def test_each_stage_ends_failed_and_goes_on_once_there_is_memory(
    error, where, what, stage, studies, a_request, published, monkeypatch
):
    if what != "Predictor" and where is not gate.CaseReader:
        monkeypatch.setattr(retraining, "compare", compared())
    if stage.startswith(("prepare", "compute")):  # which a second run finds prepared
        (retraining_paths.prepared_folder(studies)).rename(studies / "before")
    with monkeypatch.context() as short:
        short.setattr(where, what, run_out(error))
        with pytest.raises(TrainingError, match=f"memory ran out in the stage '{stage}'; close other programs"):
            retrain(studies, a_request)
    progress = read_progress(studies)
    assert (progress["run"], progress["state"]) == (2, "failed")
    assert f"'{stage}'" in progress["error"]
    assert "and resume" in progress["error"]
    assert current_version("seg") == published
    assert [line["action"] for line in history("seg")] == ["publish"]
    assert retrain(studies, resume=True)["run"] == 2


def test_the_last_look_at_what_was_learnt_is_a_stage_too(studies, a_request, monkeypatch):
    looks = []

    def outlines_found(model, frames):
        looks.append(model)
        if len(looks) < 3:  # within the fit
            return 1, 1
        raise NO_ENGINE

    monkeypatch.setattr(stall_recovery, "outlines_found", outlines_found)
    asked = replace(a_request, settings={**a_request.settings, "checked": True})
    with pytest.raises(TrainingError, match="memory ran out in the stage 'check the trained model'"):
        retrain(studies, asked)


@pytest.mark.parametrize("error", [FULL_CARD, NO_HANDLE, NO_ENGINE], ids=["torch", "cublas", "cudnn"])
def test_a_fit_says_which_batch_did_not_fit(error, studies, a_request, published, monkeypatch):
    with monkeypatch.context() as short:
        short.setattr(FrameModule, "training_step", run_out(error))
        with pytest.raises(TrainingError, match="memory ran out with batches of 16 frames"):
            retrain(studies, a_request)
    assert read_progress(studies)["state"] == "failed"
    assert current_version("seg") == published


def test_memory_that_is_short_before_a_run_begins_leaves_nothing_behind(studies, a_request, monkeypatch):
    monkeypatch.setattr(retraining, "begin_run", run_out(FULL_CARD))
    with pytest.raises(TrainingError, match="memory ran out in the stage 'start'"):
        retrain(studies, a_request)
    assert read_progress(studies) == {"state": "none"}


def test_a_bug_is_not_told_as_memory(studies, a_request, monkeypatch):
    monkeypatch.setattr(training_run, "save_bundle", run_out(RuntimeError("shapes differ")))
    with pytest.raises(RuntimeError, match="shapes differ"):
        retrain(studies, a_request)


def test_the_command_ends_with_one_sentence(studies, a_request, monkeypatch, capsys):
    monkeypatch.setattr(gate, "Predictor", run_out(FULL_CARD))
    options = ["--bundle", a_request.bundle, "--name", "seg", "--no-replay", "--set", "epochs=1"]
    assert main(["retrain", str(studies), *options]) == 1
    output = capsys.readouterr().err
    assert "fetaliqa retrain: memory ran out in the stage 'compare'; close other programs" in output
    assert "Traceback" not in output
