"""Server and trainer are killed while annotators save and a model trains: no label and no model is torn."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from app_harness import Server, case_pixels, free_port, make_bundle, start, stop
from learning_studies import write_stack

from fetaliqa.labels import LabelStore
from fetaliqa.labels.studies import Studies
from fetaliqa.model import Bundle
from fetaliqa.model.user_folders import models_folder
from fetaliqa.registry import publishing
from fetaliqa.registry.model_store import current_version
from fetaliqa.retraining.progress_file import read_progress
from fetaliqa.retraining.retraining_paths import run_folder, run_numbers

pytestmark = pytest.mark.slow

NAME = "fetalclip_seg"
CASES = ("case_a", "case_b", "case_c")
FRAMES = 8


def outlined() -> np.ndarray:
    """Masks of the bright ellipse that ``case_pixels`` draws, so that there is something to learn."""
    row, column = np.mgrid[:48, :64]
    masks = np.zeros((FRAMES, 48, 64), np.uint8)
    masks[FRAMES // 3 :, ((row - 24) / 14) ** 2 + ((column - 32) / 18) ** 2 < 1] = 1
    return masks


def save(server: Server, case: str, number: int, work: Path) -> int | None:
    """Save a label whose record tells its number; the version, or None when the server died."""
    masks = outlined()
    path = write_stack(work / f"{case}.nii.gz", masks)
    states = {
        str(f): {"state": "annotated" if masks[f].any() else "empty", "seconds": number} for f in range(FRAMES)
    }
    try:
        answer = server.call(
            "PUT",
            f"/datastore/label?image={case}&tag=final",
            data={"params": json.dumps({"frame_record": {"schema": 1, "frames": states}})},
            files={"label": (path.name, path.read_bytes())},
        )
    except (OSError, EOFError):
        return None
    assert answer.status == 200, answer.body
    return int(answer.json()["version"])


def trainers(server: Server) -> list[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(server.process.pid).children(recursive=True)
    return []


def check(studies: Path, told: dict[str, dict[int, int]]) -> None:
    """Every label that was said to be saved is there with its record; the model store is whole."""
    labels = LabelStore(studies / "label-versions")
    assert labels.check() == []
    for case, versions in told.items():
        for version, number in versions.items():
            record = labels.version(case, "final", version).record
            assert record is not None
            assert {label.seconds for label in record.frames.values()} == {number}
    assert {entry.case_id for entry in Studies(studies).entries()} == {case for case in told if told[case]}
    if not (models_folder() / NAME).is_dir():
        return
    now = current_version(NAME)
    if now is not None:
        Bundle.open(models_folder() / NAME / now).check_files()
    moves = [line for line in publishing.history(NAME) if line["action"] != "candidate"]
    assert current_version(NAME) == (moves[-1]["version"] if moves else None)
    for version in publishing.candidates(NAME):
        Bundle.open(publishing.candidate_folder(NAME, version)).check_files()
    for number in run_numbers(studies):
        for file in run_folder(studies, number).glob("*.json"):
            json.loads(file.read_text())


def kill_many_times(
    root: Path, patch: pytest.MonkeyPatch, kills: int, seed: int, epochs: int = 3
) -> dict[str, int]:
    """Kill server, trainer or both, ``kills`` times; what was counted."""
    patch.setenv("FETALIQA_DEMO_MODEL", str(make_bundle(root / "start", "segmentation")))
    patch.setenv("FETALIQA_HOME", str(root / "home" / "fetaliqa"))
    studies, chance = root / "studies", random.Random(seed)
    for number, case in enumerate(CASES):
        write_stack(studies / f"{case}.mha", case_pixels(FRAMES, number))
    for number in (8, 9):
        write_stack(root / "replay" / "images" / f"old-{number}.mha", case_pixels(FRAMES, number))
        write_stack(root / "replay" / "labels" / f"old-{number}.mha", outlined())
    told: dict[str, dict[int, int]] = {case: {} for case in CASES}
    counted = {"server": 0, "trainer": 0, "both": 0, "saves": 0, "in training": 0, "versions": 0}
    numbers = dict.fromkeys(CASES, 0)
    server: Server | None = None
    orphans: list[psutil.Process] = []
    refused: list[str] = []
    for _ in range(kills):
        if server is None:
            port = free_port()
            command = ["-m", "monailabel_app.serve", "--studies", str(studies), "--port", str(port)]
            command += ["--conf", "cache_dir", str(root / "cache"), "--conf", "train_epochs", str(epochs)]
            command += ["--conf", "replay", str(root / "replay"), "--conf", "device", "cpu"]
            server = start(root, command, port)
        living = server
        ended = threading.Event()

        def saving(case: str, living: Server = living, ended: threading.Event = ended) -> None:
            while not ended.wait(0.2):
                numbers[case] += 1
                try:
                    version = save(living, case, numbers[case], root)
                except AssertionError as problem:
                    refused.append(str(problem))
                    return
                if version is None:
                    return
                told[case][version] = numbers[case]

        threads = [threading.Thread(target=saving, args=(case,)) for case in CASES]
        for thread in threads:
            thread.start()
        while not all(told.values()) and not refused:
            time.sleep(0.05)
        asked = living.call("POST", f"/train/{NAME}", json={})
        if asked.status == 409:  # the trainer of a killed server lives on: it has the folder
            assert "of this folder runs" in asked.detail
        else:
            assert asked.status in (200, 429), asked.body
        if chance.random() < 0.5:
            time.sleep(chance.uniform(1.0, 25.0))
        else:  # about when a candidate is compared, added and published
            deadline = time.monotonic() + 60
            while read_progress(studies).get("stage") not in ("compare", "publish", "done"):
                if time.monotonic() > deadline:
                    break
                time.sleep(0.01)
            time.sleep(chance.uniform(0.0, 1.5))
        found = trainers(living)
        which = chance.choice(("server", "trainer", "both"))
        orphans += found
        counted["in training"] += bool(found)
        counted[which] += 1
        for process in found if which != "server" else []:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        if which != "trainer":
            os.kill(living.process.pid, signal.SIGKILL)
            living.process.wait()
            server = None
        ended.set()
        for thread in threads:
            thread.join(30)
            assert not thread.is_alive()
        assert refused == []
        check(studies, told)
    if server is not None:
        stop(server)
    for process in orphans:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    lines = publishing.history(NAME) if (models_folder() / NAME).is_dir() else []
    counted["versions"] = len(lines)
    counted["published"] = sum(line["action"] == "publish" for line in lines)
    counted["saves"] = sum(len(versions) for versions in told.values())
    return counted


@pytest.mark.long  # kills of a server, of a training and of the model store have shorter tests
def test_labels_and_models_survive_kills_of_server_and_trainer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # of this seed: both are killed while the candidate is compared, added or published
    counted = kill_many_times(tmp_path, monkeypatch, kills=1, seed=37, epochs=1)
    assert counted["saves"] > 2
    assert counted["in training"] > 0


@pytest.mark.long  # the same again and again; KILLS=40 by hand
def test_labels_and_models_survive_many_kills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kills = int(os.environ.get("KILLS", "6"))
    counted = kill_many_times(tmp_path, monkeypatch, kills=kills, seed=1)
    print(counted)
    assert counted["saves"] > kills
