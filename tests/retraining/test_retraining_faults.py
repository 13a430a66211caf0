"""What must not go wrong around a retraining: damaged labels, other people's publications, a full disk."""

from __future__ import annotations

import errno
import json
import os
from datetime import datetime

import pytest
from disc_bundle import FAST, disc_bundle
from phantom_studies import disc_studies

from fetaliqa.errors import OptionError, StorageError, StoreConflict
from fetaliqa.labels.studies import Studies
from fetaliqa.measure.circumference_interval import Calibration, Quantile
from fetaliqa.model import Bundle, bundle_tensors
from fetaliqa.model.interval_file import write_intervals
from fetaliqa.registry.model_store import current_version
from fetaliqa.registry.publishing import add_candidate, history, publish, rollback
from fetaliqa.retraining import pipeline as retraining
from fetaliqa.retraining import retraining_paths
from fetaliqa.retraining.confirmed_frames import confirmed_cases, readable_cases
from fetaliqa.retraining.pipeline import RetrainRequest, retrain
from fetaliqa.retraining.progress_file import read_progress
from fetaliqa.retraining.replay import folder_replay, reopen_replay

pytestmark = pytest.mark.slow

SHORT = {**FAST, "epochs": 1}


class Stop(Exception):
    """A kill."""


def compared(passed: bool = True, versions: list[str] | None = None):
    """Stands in for the comparison, which is tested elsewhere; says what it was made against."""

    def compare(candidate, published, groups, **_):
        if versions is not None:
            versions.append(f"{published.card.name}@{published.card.version}")
        return {"passed": passed, "rule": "better", "reason": "as good", "groups": {}}

    return compare


@pytest.fixture
def request_(untrained) -> RetrainRequest:
    return RetrainRequest(bundle=str(untrained.directory), name="seg", settings=SHORT, without_replay=True)


def test_a_second_run_that_makes_the_same_bundle_is_published_in_its_own_right(studies, request_, monkeypatch):
    class Stopped(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(2026, 11, 27, tzinfo=tz)

    monkeypatch.setattr(bundle_tensors, "datetime", Stopped)
    monkeypatch.setattr(retraining, "compare", compared())
    first = retrain(studies, request_)
    rollback("seg")
    second = retrain(studies, request_)
    folders = [retraining_paths.run_folder(studies, number) / "trial-0" / "bundle" for number in (1, 2)]
    assert len({Bundle.open(folder).fingerprint for folder in folders}) == 1
    assert (first["version"], second["version"]) == ("1", "2")
    assert second["published"]
    assert current_version("seg") == "2"


def test_a_published_model_that_left_its_student_behind_says_so(studies, untrained, request_, monkeypatch):
    monkeypatch.setattr(retraining, "compare", compared())
    messages: list[str] = []
    retrain(studies, request_, say=messages.append)
    assert "student" not in " ".join(messages)
    (untrained.directory / "student").mkdir()
    retrain(studies, request_, say=messages.append)
    assert "seg 2 has no student" in messages[-1]
    assert f"`fetaliqa distill {studies.resolve()} --student --model seg` has made one" in messages[-1]


def test_a_published_model_without_the_intervals_of_its_predecessor_says_so(
    studies, untrained, request_, monkeypatch
):
    monkeypatch.setattr(retraining, "compare", compared())
    calibration = Calibration(0.9, Quantile(1.2, 20, "single images of a test"), None, None)
    write_intervals(untrained.directory, untrained.fingerprint, calibration, "2026-12-01")
    messages: list[str] = []
    result = retrain(studies, request_, say=messages.append)
    assert "seg 1 gives no interval" in result["remarks"][-1]
    assert "`fetaliqa models calibrate seg@1 DATA`" in messages[-1]


def test_a_version_published_during_the_comparison_is_compared_with_too(
    studies, untrained, request_, tmp_path, monkeypatch
):
    other = disc_bundle(tmp_path / "other", seed=6)
    against: list[str] = []
    compare = compared(versions=against)

    def slow(*given, **named):
        comparison = compare(*given, **named)
        if len(against) == 1:  # meanwhile somebody else publishes
            publish("seg", add_candidate(other.directory, "seg", "other"))
        return comparison

    monkeypatch.setattr(retraining, "compare", slow)
    result = retrain(studies, request_)
    assert against == [f"{untrained.card.name}@{untrained.card.version}", "seg@1"]
    assert result["published"]
    assert [(line["version"], line["replaced"]) for line in history("seg")] == [("1", None), ("2", "1")]

    def always(*given, **named):
        comparison = compare(*given, **named)
        (rollback if current_version("seg") == "2" else lambda name: publish(name, "2"))("seg")
        return comparison

    monkeypatch.setattr(retraining, "compare", always)
    with pytest.raises(StoreConflict, match="published all the time"):
        retrain(studies, request_)
    assert current_version("seg") in ("1", "2")


def test_a_version_that_somebody_went_back_from_is_not_published_again_by_a_resumed_run(
    studies, request_, monkeypatch
):
    monkeypatch.setattr(retraining, "compare", compared())
    done = retraining.write_json

    def killed(target, value):
        if target.name == retraining_paths.REPORT:
            raise Stop
        done(target, value)

    monkeypatch.setattr(retraining, "write_json", killed)
    with pytest.raises(Stop):  # right after it was published
        retrain(studies, request_)
    assert current_version("seg") == "1"
    rollback("seg")
    monkeypatch.setattr(retraining, "write_json", done)
    assert retrain(studies, resume=True)["version"] == "1"
    assert current_version("seg") is None
    assert [line["action"] for line in history("seg")] == ["publish", "rollback"]


def test_a_process_that_has_the_number_of_a_killed_training_does_not_pass_for_it(studies, request_, monkeypatch):
    monkeypatch.setattr(retraining, "compare", compared())
    retrain(studies, request_)
    file = retraining_paths.run_folder(studies, 1) / retraining_paths.PROGRESS
    report = json.loads(file.read_text())
    file.write_text(json.dumps({**report, "state": "running", "pid": os.getppid()}))
    assert read_progress(studies)["state"] == "interrupted"
    with retraining.FileLock(retraining_paths.lock_file(studies)):
        assert read_progress(studies)["state"] == "running"


def test_a_damaged_mask_or_record_leaves_out_its_case_only(tmp_path, untrained, monkeypatch):
    folder = disc_studies(tmp_path / "studies", 6)
    (folder / "labels/case-4.mha").write_bytes(b"no mask")
    (folder / "labels/case-5.frames.json").write_text("{")
    monkeypatch.setattr(retraining, "compare", compared())
    messages: list[str] = []
    request = RetrainRequest(bundle=str(untrained.directory), name="seg", settings=SHORT, without_replay=True)
    result = retrain(folder, request, say=messages.append)
    assert sorted(result["confirmed"]) == ["case-0", "case-1", "case-2", "case-3"]
    assert [problem.split()[0].split(".")[0] for problem in result["problems"]] == ["case-5", "case-4"]
    assert set(result["problems"]) <= set(messages)


def test_what_could_be_read_is_not_read_again_until_it_changes(studies, monkeypatch):
    read: list[str] = []
    inner = Studies.read
    monkeypatch.setattr(Studies, "read", lambda self, case: read.append(case) or inner(self, case))
    for times in (4, 4, 5):
        if times == 5:
            (studies / "labels/case-1.mha").write_bytes((studies / "labels/case-2.mha").read_bytes())
        data = Studies(studies)
        cases, problems = readable_cases(data, confirmed_cases(data)[0])
        assert (len(cases), problems, len(read)) == (4, [], times)


def test_what_is_replayed_keeps_the_part_that_it_has_in_the_studies(tmp_path):
    old = disc_studies(tmp_path / "old", 8)

    def parts(replay) -> tuple[set[str], set[str]]:
        return tuple({entry.case_id for entry in data.entries()} for data in (replay.train, replay.validation))

    train, validation = parts(folder_replay(old))
    leaking = {next(iter(train)): "validation", next(iter(validation)): "train"}
    leak_free = folder_replay(old, others=leaking)
    for train, validation in (parts(leak_free), parts(reopen_replay(leak_free.described))):
        assert not train & validation
        assert all(case in (train if part == "train" else validation) for case, part in leaking.items())


def test_the_name_of_the_demo_is_refused_before_anything_is_trained(studies, untrained):
    for name in ("demo", "../x"):
        with pytest.raises(OptionError, match="name is"):
            retrain(studies, RetrainRequest(bundle=str(untrained.directory), name=name))
    assert not retraining_paths.retraining_folder(studies).exists()


def test_a_full_disk_ends_a_training_with_a_sentence_and_not_as_running(studies, request_, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(retraining, "compare", full)
    with pytest.raises(StorageError, match="the disk is full; make room and resume again"):
        retrain(studies, request_)
    progress = read_progress(studies)
    assert progress["state"] == "failed"
    assert "disk is full" in progress["error"]
