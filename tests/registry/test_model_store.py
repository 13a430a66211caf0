"""Candidates, publishing, going back, history; and what a kill at any moment leaves of them."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import time
from dataclasses import replace
from pathlib import Path

import pytest
from disc_bundle import disc_bundle

from fetaliqa.cli.main import main
from fetaliqa.errors import BundleError, GateRefused, NotFoundError, OptionError, StoreConflict
from fetaliqa.model import Bundle, save_bundle
from fetaliqa.model.user_folders import models_folder
from fetaliqa.registry import publishing as store
from fetaliqa.registry.model_store import (
    current_version,
    published_versions,
    resolve_bundle,
)
from fetaliqa.registry.publishing import publish_bundle, set_current
from fetaliqa.registry.refused_candidates import Override

NAME = "seg"


def told() -> list[tuple[str, str | None]]:
    return [(line["action"], line["version"]) for line in store.history(NAME)]


def test_a_candidate_is_kept_apart_until_it_is_published(untrained: Bundle) -> None:
    version = store.add_candidate(untrained.directory, NAME, "run 1")
    assert (version, current_version(NAME), published_versions(NAME)) == ("1", None, [])
    assert Bundle.open(resolve_bundle("seg@1")).card.version == "1"
    store.keep_report(NAME, "1", {"sentence": "as good"})
    assert store.publish(NAME, "1", figures={"dice": [0.8, 0.9]}, reason="better")
    assert (current_version(NAME), store.candidates(NAME)) == ("1", [])
    published = Bundle.open(resolve_bundle(NAME))
    published.check_files()
    assert (published.card.name, published.card.version) == (NAME, "1")
    assert "as good" in (published.directory / "report.json").read_text()
    (line,) = store.history(NAME)
    assert (line["replaced"], line["figures"], line["reason"]) == (None, {"dice": [0.8, 0.9]}, "better")
    assert not store.publish(NAME, "1")
    assert len(store.history(NAME)) == 1


def test_versions_count_up_and_the_same_run_makes_one_candidate(untrained: Bundle) -> None:
    assert store.add_candidate(untrained.directory, NAME, "run 1") == "1"
    assert store.add_candidate(untrained.directory, NAME, "run 1") == "1"
    assert store.add_candidate(untrained.directory, NAME, "run 2") == "2"
    store.publish(NAME, "2")
    assert store.add_candidate(untrained.directory, NAME, "run 2") == "2"
    assert store.add_candidate(untrained.directory, NAME, "run 3") == "3"
    store.record_candidate(NAME, "3", None, "worse")
    store.record_candidate(NAME, "3", None, "worse")
    assert told() == [("publish", "2"), ("candidate", "3")]


def test_going_back_takes_the_version_before_and_in_the_end_the_demo(untrained: Bundle) -> None:
    for number in "123":
        store.add_candidate(untrained.directory, NAME, number)
        store.publish(NAME, number)
    assert [store.rollback(NAME), store.rollback(NAME), store.rollback(NAME)] == ["2", "1", None]
    assert current_version(NAME) is None
    with pytest.raises(StoreConflict, match="seg: no version is published"):
        store.rollback(NAME)
    store.publish(NAME, "3")  # what was left can be used again
    assert store.rollback(NAME) is None


def test_what_is_missing_damaged_or_unknown_is_refused_and_changes_nothing(untrained: Bundle) -> None:
    with pytest.raises(NotFoundError, match="no model 'other'"):
        store.publish("other", "1")
    with pytest.raises(NotFoundError, match="no model"):
        store.history("../seg")
    with pytest.raises(BundleError, match="cannot name"):
        store.add_candidate(untrained.directory, "demo", "x")
    for origin in "12":
        store.add_candidate(untrained.directory, NAME, origin)
    store.publish(NAME, "1")
    with pytest.raises(NotFoundError, match=r"no version '9'; there are: 1, 2 \(candidate\)"):
        store.publish(NAME, "9")
    head = models_folder() / NAME / "candidates/2/head.safetensors"
    head.write_bytes(head.read_bytes()[:-1] + b"x")
    with pytest.raises(BundleError, match="damaged"):
        store.publish(NAME, "2")
    assert (current_version(NAME), told()) == ("1", [("publish", "1")])


def test_a_bundle_published_by_hand_is_in_the_history(untrained: Bundle) -> None:
    publish_bundle(untrained.directory)
    assert [line["version"] for line in store.history("tiny")] == [untrained.card.version]


REFUSED = {"passed": False, "reason": "Dice 0.9 -> 0.8", "groups": {}}
PASSED = {"passed": True, "reason": "Dice 0.8 -> 0.9", "groups": {}}
ADMIN = Override("anna", "for a trial")


def test_what_the_gate_refused_takes_an_override_whichever_way_it_is_published(
    untrained: Bundle, tmp_path: Path
) -> None:
    version = store.add_candidate(untrained.directory, NAME, "run 1", {"gate": REFUSED})
    copy = tmp_path / "copy"
    shutil.copytree(store.candidate_folder(NAME, version), copy)
    for publishing in (lambda: store.publish(NAME, version), lambda: publish_bundle(copy)):
        with pytest.raises(
            GateRefused, match=r"seg@1: the gate refused this candidate: Dice 0.9 -> 0.8; to publish"
        ):
            publishing()
    assert (current_version(NAME), published_versions(NAME), store.history(NAME)) == (None, [], [])
    assert store.publish(NAME, version, override=ADMIN)
    (line,) = store.history(NAME)
    assert (line["forced"], line["by"], line["replaced"]) == (True, "anna", None)
    assert line["reason"] == (
        "published by anna though the gate refused it: for a trial (the gate: Dice 0.9 -> 0.8)"
    )
    assert not store.publish(NAME, version)  # in use: nothing is to be decided
    assert store.rollback(NAME) is None
    for publishing in (lambda: store.publish(NAME, version), lambda: set_current(NAME, version)):
        with pytest.raises(GateRefused):  # whoever has gone back from it meant it
            publishing()


def test_going_back_to_what_was_published_against_the_gate_needs_no_reason(untrained: Bundle) -> None:
    store.add_candidate(untrained.directory, NAME, "run 1", {"gate": REFUSED})
    store.publish(NAME, "1", override=ADMIN)
    store.add_candidate(untrained.directory, NAME, "run 2", {"gate": PASSED})
    store.publish(NAME, "2")  # the same weights, judged anew against what was in use then
    assert "forced" not in store.history(NAME)[-1]
    assert store.rollback(NAME) == "1"


def test_a_copy_of_a_refused_candidate_is_published_with_an_override(untrained: Bundle, tmp_path: Path) -> None:
    def version(number: str, of: Bundle) -> Path:
        card = replace(of.card, version=number)
        return save_bundle(of.load_model(merge=False), card, tmp_path / number).directory

    same, other = version("2.0", untrained), disc_bundle(tmp_path / "other", seed=6)
    store.add_candidate(untrained.directory, "tiny", "run 1", {"gate": REFUSED})
    with pytest.raises(GateRefused, match="tiny@1"):
        publish_bundle(same)
    assert published_versions("tiny") == []
    with pytest.raises(BundleError, match="tiny@1 is a candidate's version"):
        publish_bundle(version("1", other))
    publish_bundle(version("3.0", other))  # other weights are not meant
    publish_bundle(same, override=ADMIN)
    assert (current_version("tiny"), store.history("tiny")[-1]["by"]) == ("2.0", "anna")


@pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
def test_an_override_needs_a_reason_that_can_be_read(reason: str) -> None:
    with pytest.raises(OptionError, match=r"needs a reason|at most 500"):
        Override("anna", reason)


def _change_forever(bundle: Path, seed: int) -> None:
    chance = random.Random(seed)
    while True:
        version = store.add_candidate(bundle, NAME, str(chance.random()))
        store.record_candidate(NAME, version, {"dice": [0.5, 0.6]}, "so far")
        store.publish(NAME, version, reason="because")
        if chance.random() < 0.5:
            store.rollback(NAME)


def check_store(name: str) -> None:
    """Nothing half-made: the pointer leads to a whole bundle, and the history ends with what is in use."""
    now = current_version(name)
    if now is not None:
        Bundle.open(models_folder() / name / now).check_files()
    lines = store.history(name)  # completes what a killed process began
    moves = [line for line in lines if line["action"] != "candidate"]
    assert current_version(name) == (moves[-1]["version"] if moves else None)
    for before, after in itertools.pairwise(moves):
        assert after["replaced"] == before["version"]
    for version in published_versions(name):
        Bundle.open(models_folder() / name / version).check_files()
    for version in store.candidates(name):
        Bundle.open(store.candidate_folder(name, version)).check_files()
    versions = [int(one) for one in (*published_versions(name), *store.candidates(name))]
    assert len(set(versions)) == len(versions)
    assert not (models_folder() / name / "intent.json").exists()


def size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


# of a process that adds candidates, publishes and goes back, all the time
@pytest.mark.parametrize("kills", [8, pytest.param(30, marks=pytest.mark.long)])
def test_kills_at_random_moments_leave_the_store_consistent(tmp_path: Path, kills: int) -> None:
    bundle = disc_bundle(tmp_path / "bundle").directory
    chance, changes, history = random.Random(4), 0, models_folder() / NAME / "history.jsonl"
    for kill in range(kills):
        before = size(history)
        child = os.fork()
        if child == 0:
            try:
                _change_forever(bundle, kill)
            finally:
                os._exit(1)
        deadline = time.monotonic() + 60
        while kill % 2 and size(history) == before and time.monotonic() < deadline:
            time.sleep(0.005)  # every second one has changed something, however busy the machine is
        time.sleep(chance.uniform(0.01, 0.25))
        os.kill(child, signal.SIGKILL)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
        if (models_folder() / NAME).is_dir():
            check_store(NAME)
            changes = len(store.history(NAME))
    assert changes >= kills / 3  # the processes did get to change something


def test_the_command_line_publishes_goes_back_and_tells(untrained: Bundle, capsys: pytest.CaptureFixture) -> None:
    assert main(["models", "history", NAME]) == 2
    assert "no model 'seg' in the store" in capsys.readouterr().err
    store.add_candidate(untrained.directory, NAME, "run 1")
    assert main(["models", "publish", "seg@1"]) == 0
    assert capsys.readouterr().out == "seg: version 1 is in use\n"
    assert main(["models", "publish", "seg@1"]) == 0
    assert capsys.readouterr().out.endswith("(it was already)\n")
    assert main(["models", "publish", "seg"]) == 2
    assert "neither NAME@VERSION nor a bundle folder" in capsys.readouterr().err
    assert main(["models", "rollback", NAME, "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"name": NAME, "version": None, "changed": True}
    assert main(["models", "rollback", NAME]) == 2
    assert "no version is published" in capsys.readouterr().err
    assert main(["models", "publish", str(untrained.directory)]) == 0
    assert capsys.readouterr().out == f"tiny: version {untrained.card.version} is in use\n"
    assert main(["models", "history", NAME]) == 0
    assert [line.split()[1:3] for line in capsys.readouterr().out.splitlines()] == [
        ["publish", "1"],
        ["rollback", "demo"],
    ]
