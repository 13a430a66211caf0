"""Retraining a small model on a folder of studies: what is trained on, published, refused, resumed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from disc_bundle import FAST, disc_bundle
from filelock import FileLock
from phantom_studies import disc_studies, write_study

from fetaliqa.datasets.splits import read_split
from fetaliqa.errors import OptionError, StoreConflict, TooFewLabels
from fetaliqa.labels import studies as studies_module
from fetaliqa.labels.studies import Studies
from fetaliqa.labels.studies_folder import find_studies
from fetaliqa.model import Bundle
from fetaliqa.registry.model_store import current_version, resolve_bundle
from fetaliqa.registry.publishing import history
from fetaliqa.retraining import pipeline as retrain_module
from fetaliqa.retraining import retraining_paths
from fetaliqa.retraining import retraining_run as run_module
from fetaliqa.retraining.confirmed_frames import StudyCase, confirmed_cases, recorded_split
from fetaliqa.retraining.new_labels import newly_confirmed
from fetaliqa.retraining.pipeline import RetrainRequest, check_labels, retrain
from fetaliqa.retraining.progress_file import read_progress
from fetaliqa.retraining.warm_start import warm_start
from fetaliqa.training.batch_sampling import make_order
from fetaliqa.training.dataset_mixture import Mixture, Source
from fetaliqa.training.encoder_features import prepare_features
from fetaliqa.training.frame_store import StoreRequest, prepare_frames
from fetaliqa.training.recipes import DECODER, changed

pytestmark = pytest.mark.slow


def asked(bundle: Bundle, **changes) -> RetrainRequest:
    return RetrainRequest(**{"bundle": str(bundle.directory), "name": "seg", "settings": FAST, **changes})


def head(bundle: Bundle) -> bytes:
    return (bundle.directory / "head.safetensors").read_bytes()


def test_a_model_learns_and_is_published_and_a_worse_one_is_kept_apart(
    studies: Path, untrained: Bundle, tmp_path: Path
):
    old = disc_studies(tmp_path / "old", 4, first=20)
    messages: list[str] = []
    settings = {**FAST, "epochs": 6}
    result = retrain(studies, asked(untrained, replay=old, settings=settings), say=messages.append)
    figures = result["gate"]["groups"]
    assert set(figures) == {"confirmed", "original", "sweeps"}
    for group in figures.values():
        assert group["figures"]["dice"]["candidate"] > group["figures"]["dice"]["published"] + 0.3
    assert result["published"]
    assert result["sentence"].startswith("candidate 1: Dice 0.0")
    assert result["sentence"].endswith(": published")
    published = Bundle.open(resolve_bundle("seg"))
    assert head(published) != head(untrained)
    for frozen in ("base.safetensors", "adapter.safetensors"):
        assert (published.directory / frozen).read_bytes() == (untrained.directory / frozen).read_bytes()
    assert published.card.threshold == untrained.card.threshold
    progress = read_progress(studies)
    assert (progress["state"], progress["gate"]["sentence"]) == ("done", result["sentence"])
    shown = result["gate"]["pictures"]
    assert {one["case"] for one in shown} <= set(result["split"]["validation"])
    drawn = sorted(path.name for path in (studies / "retraining" / "runs" / "1" / "pictures").iterdir())
    assert drawn == sorted(
        f"{number}-{side}.jpg" for number in range(len(shown)) for side in ("candidate", "published")
    )
    assert shown
    assert len(progress["losses"]) > 10
    assert any("epoch 6 of 6" in line for line in messages)
    assert json.loads((studies / "retraining/replay.json").read_text())["path"] == str(old)
    assert history("seg")[0]["figures"]["confirmed"]["dice"][1] > 0.3

    # a second round starts from the published one, replays the same, and only prepares what is new
    disc_studies(studies, 1, first=9)
    prepared = {path.name for path in retraining_paths.prepared_folder(studies).iterdir() if path.is_dir()}
    again = retrain(studies, RetrainRequest(name="seg", settings={**FAST, "learning_rate": 1e-5, "epochs": 1}))
    assert (again["version"], again["bundle"], again["replay"]["path"]) == ("2", "seg", str(old))
    names = {path.name for path in retraining_paths.prepared_folder(studies).iterdir() if path.is_dir()}
    assert prepared <= names
    assert len(names - prepared) == 2  # frames and features of the new case

    # a third one is spoilt: it is kept, and not published
    in_use = current_version("seg")
    spoilt = {**FAST, "learning_rate": 1.0, "epochs": 1, "clip_norm": None, "checked": False}
    worse = retrain(studies, RetrainRequest(name="seg", settings=spoilt))
    assert not worse["published"]
    assert current_version("seg") == in_use
    assert worse["sentence"].startswith("candidate 3: ")
    assert ": not published. Next: " in worse["sentence"]
    assert (history("seg")[-1]["action"], history("seg")[-1]["reason"]) == ("candidate", worse["sentence"])
    assert (Bundle.open(resolve_bundle("seg@3")).directory / "report.json").is_file()


def test_full_mode_trains_adapters_too(studies: Path, untrained: Bundle):
    result = retrain(
        studies,
        asked(untrained, mode="full", publish=False, settings={"epochs": 1, "checked": False}),
    )
    assert not result["published"]
    assert current_version("seg") is None
    made = Bundle.open(resolve_bundle("seg@1"))
    assert made.card.lora == untrained.card.lora
    assert made.card.base == untrained.card.base
    assert (made.directory / "adapter.safetensors").read_bytes() != (
        untrained.directory / "adapter.safetensors"
    ).read_bytes()
    if result["gate"]["passed"]:
        assert result["sentence"].endswith("not published (publishing was turned off)")
    assert result["replay"] is None


def nothing_written(studies: Path) -> bool:
    return not (studies / "retraining/runs").exists() and not (studies / "retraining/split.json").exists()


def test_too_little_is_refused_with_what_is_missing(tmp_path: Path, untrained: Bundle):
    def refused(folder: Path, match: str) -> None:
        with pytest.raises(TooFewLabels, match=match):
            retrain(folder, asked(untrained))
        assert nothing_written(folder)

    empty = np.zeros((6, 64, 64), np.uint8)
    noise = np.random.default_rng(0).integers(20, 90, (6, 64, 64)).astype(np.uint8)
    drawn = empty.copy()
    drawn[:, 20:40, 20:40] = 1
    proposed = dict.fromkeys(range(6), "proposed")

    folder = tmp_path / "a"
    write_study(folder, "one", noise, drawn, states=proposed)
    refused(folder, "no frame is confirmed yet")
    write_study(folder, "one", noise, drawn)
    refused(folder, r"6 confirmed frame\(s\); retraining needs 8")
    write_study(folder, "one", np.tile(noise, (2, 1, 1)), np.tile(drawn, (2, 1, 1)))
    refused(folder, r"all confirmed frames are of one case \(one\)")
    write_study(folder, "two", noise, empty)
    refused(folder, "only one subject has an outlined frame")
    write_study(folder, "one", np.tile(noise, (2, 1, 1)), np.tile(empty, (2, 1, 1)))
    refused(folder, "no confirmed frame has an outline")
    write_study(folder, "one", noise, drawn)
    write_study(
        folder,
        "two",
        noise,
        drawn,
        states={0: "annotated", 1: "annotated", **dict.fromkeys(range(2, 6), "proposed")},
    )
    assert [case.frames for case in check_labels(folder).cases] == [6, 2]
    (folder / "subjects.csv").write_text("case_id,subject_id\none,anna\ntwo,anna\n")
    refused(folder, "of one subject")


def test_the_records_of_a_folder_are_read_once_to_begin_a_training(
    studies: Path, untrained: Bundle, monkeypatch: pytest.MonkeyPatch
):
    class Begun(Exception):
        pass

    def begin(*_):
        raise Begun

    read = []
    monkeypatch.setattr(studies_module, "find_studies", lambda folder: read.append(folder) or find_studies(folder))
    monkeypatch.setattr(run_module, "start_run", begin)
    with pytest.raises(Begun):
        retrain(studies, asked(untrained))
    assert read == [studies]


def test_a_label_that_was_damaged_after_the_first_check_is_noticed_under_the_lock(
    studies: Path, untrained: Bundle, monkeypatch: pytest.MonkeyPatch
):
    class Locked(FileLock):
        def acquire(self, *args, **named):
            for image in (studies / "images").iterdir():
                image.write_bytes(b"")
            return super().acquire(*args, **named)

    monkeypatch.setattr(retrain_module, "FileLock", Locked)
    with pytest.raises(TooFewLabels, match=r"case-0\.mha"):
        retrain(studies, asked(untrained))
    assert nothing_written(studies)


def test_a_part_of_the_recorded_split_without_an_outline_is_refused(tmp_path: Path):
    studies = disc_studies(tmp_path / "studies", 3)
    split = recorded_split(studies, confirmed_cases(Studies(studies))[0])
    for case in split.validation:  # corrected later: there is nothing in it after all
        mask = studies / "labels" / f"{case}.mha"
        mask.unlink()
        record = {str(frame): {"state": "empty"} for frame in range(12)}
        (studies / "labels" / f"{case}.frames.json").write_text(json.dumps({"schema": 1, "frames": record}))
    with pytest.raises(TooFewLabels, match="no frame with an outline to check on"):
        check_labels(studies)


def test_no_case_of_the_split_moves_when_cases_are_added(tmp_path: Path):
    studies = disc_studies(tmp_path / "studies", 2)
    seen: dict[str, str] = {}
    for count in (2, 3, 6, 9):
        disc_studies(studies, count)
        recorded_split(studies, confirmed_cases(Studies(studies))[0])
        split = read_split(retraining_paths.split_file(studies))
        now = {case: part for part in ("train", "validation") for case in split.part(part)}
        assert seen.items() <= now.items()
        assert set(now.values()) == {"train", "validation"}
        seen = now
    assert len(seen) == 9


def test_half_of_every_batch_is_new_however_few_the_new_frames_are(tmp_path: Path):
    new, old = disc_studies(tmp_path / "new", 1), disc_studies(tmp_path / "old", 6, first=20)
    own, before = Studies(new), Studies(old)
    mixture = Mixture([Source("new", StudyCase(own, "case-0"), 0), Source("old", before, 1)])
    ids = [entry.case_id for entry in mixture.entries()]
    store = prepare_frames(mixture, ids, StoreRequest(size=32), tmp_path / "frames")
    order = make_order(store.frames, changed(DECODER, {"batch_size": 16, "sweep_weights": True}), 0, store.groups)
    for step in range(5):
        chosen = order.batch(step)
        assert np.bincount(store.groups[chosen]).tolist() == [8, 8]
        assert (store.frames.grades[chosen] > 0).sum() == 6  # positive_share 0.375 of each half
    assert order.weights.mean() == pytest.approx(1)
    assert store.frames.weights[store.groups == 0].sum() == pytest.approx(
        store.frames.weights[store.groups == 1].sum()
    )
    plain = make_order(store.frames, changed(DECODER, {"batch_size": 16}), 0)
    assert np.bincount(store.groups[plain.batch(0)], minlength=2)[0] < 8


def test_features_of_an_encoder_with_other_adapters_are_not_taken_for_the_same(tmp_path: Path):
    studies = disc_studies(tmp_path / "studies", 1)
    store = prepare_frames(Studies(studies), ["case-0"], StoreRequest(size=32), tmp_path / "frames")
    models = []
    for number in range(2):
        bundle = disc_bundle(tmp_path / f"bundle-{number}")
        model = warm_start(bundle, "tiny").build(changed(DECODER, {}), 0)
        if number:
            with torch.no_grad():
                next(p for n, p in model.visual.named_parameters() if ".lora_B." in n).add_(0.1)
        models.append(prepare_features(model, store, tmp_path / "frames"))
    assert not np.array_equal(models[0].maps, models[1].maps)


COMMAND = [sys.executable, "-m", "fetaliqa.cli.main", "retrain"]


def start(studies: Path, *options: str) -> subprocess.Popen:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        [*COMMAND, str(studies), *options],
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        # tests that run in the background of a shell have interrupts turned off, which a child would inherit
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def settings(values: dict) -> list[str]:
    return [part for name, value in values.items() for part in ("--set", f"{name}={json.dumps(value)}")]


def retrain_in_a_fork(studies: Path, request: RetrainRequest) -> int:
    """The id of a process that retrains. A fork: it imports nothing anew."""
    process = os.fork()
    if process == 0:
        try:
            retrain(studies, request)
        finally:
            os._exit(1)
    return process


def test_a_killed_training_goes_on_with_the_same_result(studies: Path, untrained: Bundle, tmp_path: Path):
    whole = tmp_path / "whole"
    shutil.copytree(studies, whole)
    slow = {**FAST, "epochs": 2}
    reference = retrain(whole, asked(untrained, settings=slow, name="whole"))
    process = retrain_in_a_fork(studies, asked(untrained, settings=slow))
    deadline = time.monotonic() + 120
    while read_progress(studies).get("step", 0) < 25:  # in the second of two epochs
        assert os.waitpid(process, os.WNOHANG) == (0, 0), "it ended"
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    assert read_progress(studies)["state"] == "interrupted"
    assert current_version("seg") is None
    resumed = retrain(studies, resume=True)
    assert resumed["run"] == 1
    assert resumed["gate"]["groups"] == reference["gate"]["groups"]
    assert head(Bundle.open(resolve_bundle("seg@1"))) == head(Bundle.open(resolve_bundle("whole@1")))
    with pytest.raises(StoreConflict, match="no unfinished training to resume"):
        retrain(studies, resume=True)


@pytest.mark.long  # two processes: tests/training/test_fit_model.py
def test_two_processes_train_one_candidate_together(studies: Path, untrained: Bundle):
    options = ("--bundle", str(untrained.directory), "--name", "seg", "--devices", "2", "--accelerator", "cpu")
    running = start(studies, *options, *settings(FAST))
    _, output = running.communicate(timeout=240)
    assert running.returncode == 0, output
    assert current_version("seg") == "1"
    assert [line["action"] for line in history("seg")] == ["publish"]
    report = json.loads((retraining_paths.run_folder(studies, 1) / retraining_paths.REPORT).read_text())
    assert report["trained"]["computed"]["devices"] == 2
    assert report["gate"]["groups"]["confirmed"]["figures"]["dice"]["candidate"] > 0.3


def test_labels_that_changed_since_are_not_resumed_on(studies: Path, untrained: Bundle):
    class Stop(Exception):
        pass

    def stop(stage: str, *_: int) -> None:
        if stage == "compare":
            raise Stop

    with pytest.raises(Stop):
        retrain(studies, asked(untrained, settings={**FAST, "epochs": 1}), report=stop)
    shutil.copy(studies / "labels/case-1.mha", studies / "labels/case-0.mha")
    with pytest.raises(OptionError, match="labels of the data set changed since this run began"):
        retrain(studies, resume=True)
    assert current_version("seg") is None


def test_an_interrupt_says_how_to_go_on_and_a_second_training_is_refused(studies: Path, untrained: Bundle):
    running = start(studies, "--bundle", str(untrained.directory), *settings({**FAST, "epochs": 60}))
    while read_progress(studies).get("step", 0) < 5:
        assert running.poll() is None, running.stderr.read()
        time.sleep(0.01)
    with pytest.raises(StoreConflict, match="another training of this folder runs"):
        retrain(studies, asked(untrained))
    running.send_signal(signal.SIGINT)
    _, output = running.communicate(timeout=240)
    assert running.returncode == 130
    assert "retrain" in output
    assert "--resume" in output
    assert "Traceback" not in output
    assert read_progress(studies)["state"] == "stopped"


def test_newly_confirmed_frames_are_counted_since_the_last_training_began(studies: Path, untrained: Bundle):
    assert newly_confirmed(studies) == 48
    retrain(studies, asked(untrained, settings={**FAST, "epochs": 1}))
    assert newly_confirmed(studies) == 0
    disc_studies(studies, 1, first=9)
    (studies / "labels/case-0.mha").unlink()  # taken back: hides nothing
    (studies / "labels/case-0.frames.json").unlink()
    assert newly_confirmed(studies) == 12
