"""The queue of a studies folder: labels, leases and profiles together."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pools import random_profile

from fetaliqa.active.annotation_queue import NOT_SCORED, LabelQueue
from fetaliqa.active.frame_profiles import ProfileFolder
from fetaliqa.active.leases import Leases
from fetaliqa.active.selection_rules import QuerySettings
from fetaliqa.active.strategies import STRATEGIES
from fetaliqa.labels import FrameLabel, FrameRecord, LabelStore
from fetaliqa.labels.label_store import FOLDER

MODEL = "c" * 64
CASES = [f"case-{number}" for number in range(3)]


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    for number, case in enumerate(CASES):
        ProfileFolder(tmp_path, MODEL).write(random_profile(case, number))
    return tmp_path


def label(studies: Path, case: str, frames: list[int], state: str = "annotated", tag: str = "final") -> None:
    mask = np.zeros((180, 8, 8), np.uint8)
    if state == "annotated":
        mask[frames] = 1
    file = studies / "mask.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(mask), str(file))
    record = FrameRecord({frame: FrameLabel(state, rater=tag) for frame in frames})
    LabelStore(studies / FOLDER).save(case, tag, file, record, {})


def test_labelled_frames_are_not_offered_again_whoever_labelled_them(studies: Path) -> None:
    queue = LabelQueue(studies)
    settings = QuerySettings(frames=4, gap=1, per_sweep=4)
    for tag in ("final", "anna", "final", "ben"):
        offer = queue.offer(CASES, "uncertainty", tag, MODEL, settings)
        assert offer is not None
        numbers = [frame["frame"] for frame in offer.frames]
        known = queue._labelled_frames.by_case().get(offer.case, frozenset())
        assert not known & set(numbers)
        label(studies, offer.case, numbers, tag=tag)
    assert queue.counts(CASES, MODEL)["labelled_frames"] >= 12


def test_proposed_frames_are_not_labelled(studies: Path) -> None:
    label(studies, "case-0", [0, 1, 2], state="proposed")
    assert LabelQueue(studies)._labelled_frames.by_case() == {}


def test_a_label_without_a_record_is_known_where_it_is_drawn(studies: Path) -> None:
    mask = np.zeros((180, 8, 8), np.uint8)
    mask[[4, 9]] = 1
    file = studies / "mask.nii.gz"
    sitk.WriteImage(sitk.GetImageFromArray(mask), str(file))
    LabelStore(studies / FOLDER).save("case-1", "final", file, None, {})
    assert LabelQueue(studies)._labelled_frames.by_case() == {"case-1": frozenset({4, 9})}


def test_a_case_in_other_hands_is_not_offered(studies: Path) -> None:
    queue = LabelQueue(studies)
    handed = [queue.offer(CASES, "fetaliqa", rater, MODEL) for rater in ("anna", "ben", "carla")]
    assert {offer.case for offer in handed if offer} == set(CASES)
    assert queue.offer(CASES, "fetaliqa", "dora", MODEL) is None
    again = queue.offer(CASES, "fetaliqa", "ben", MODEL)
    assert again is not None
    assert again.case == handed[1].case  # type: ignore[union-attr]
    queue.release("anna")
    freed = queue.offer(CASES, "fetaliqa", "dora", MODEL)
    assert freed is not None
    assert freed.case == handed[0].case  # type: ignore[union-attr]


def test_skipped_cases_are_not_offered(studies: Path) -> None:
    queue = LabelQueue(studies)
    first = queue.offer(CASES, "fetaliqa", "anna", MODEL)
    assert first is not None
    second = queue.offer(CASES, "fetaliqa", "anna", MODEL, skip=[first.case])
    assert second is not None
    assert second.case != first.case
    assert queue.counts(CASES, MODEL)["leased"] == 1  # one case per rater
    assert queue.offer(CASES, "fetaliqa", "anna", MODEL, skip=CASES) is None


def test_leases_run_out(tmp_path: Path) -> None:
    now = [1000.0]
    leases = Leases(tmp_path, clock=lambda: now[0])
    assert leases.take("a", "anna", minutes=2) is not None
    assert leases.take("a", "ben") is None
    now[0] += 121
    assert leases.of_others("ben") == set()
    assert leases.take("a", "ben") is not None


@pytest.mark.parametrize("content", ["", "[{]", "[1]", '[{"case": "a"}]'])
def test_a_damaged_lease_file_stops_nobody(tmp_path: Path, content: str) -> None:
    (tmp_path / "leases.json").write_text(content)
    leases = Leases(tmp_path)
    assert leases.active() == {}
    assert leases.take("a", "anna") is not None
    assert json.loads((tmp_path / "leases.json").read_text())[0]["rater"] == "anna"


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_without_profiles_cases_without_labels_are_offered(tmp_path: Path, strategy: str) -> None:
    queue = LabelQueue(tmp_path)
    label(tmp_path, "case-0", [1])
    offer = queue.offer(CASES, strategy, "anna", MODEL)
    assert offer is not None
    assert (offer.case, offer.frames, offer.note) == ("case-1", (), NOT_SCORED)


def test_new_profiles_are_seen_and_a_new_model_starts_with_the_old_ones(studies: Path) -> None:
    queue = LabelQueue(studies)
    assert queue.counts([*CASES, "late"], MODEL)["scored"] == 3
    ProfileFolder(studies, MODEL).write(random_profile("late", 9))
    assert queue.counts([*CASES, "late"], MODEL)["scored"] == 4
    ProfileFolder(studies, "d" * 64).write(random_profile("late", 9))
    offer = queue.offer(CASES, "uncertainty", "anna", "d" * 64)
    assert offer is not None
    assert offer.frames


def test_a_new_model_s_profiles_come_first_and_those_of_removed_images_do_not_count(studies: Path) -> None:
    queue, new = LabelQueue(studies), "d" * 64
    ProfileFolder(studies, new).write(random_profile("case-1", 77))
    for number in range(5):  # of images that were removed: more than the new model has
        ProfileFolder(studies, MODEL).write(random_profile(f"gone-{number}", number))
    pool = queue._refresh(CASES, new)
    assert pool is not None
    assert pool.cases == tuple(CASES)
    own = random_profile("case-1", 77).profile.uncertainty
    assert np.array_equal(pool.uncertainty[pool.of_cases(["case-1"])], own)


def test_a_profile_of_a_file_that_was_replaced_does_not_count(studies: Path) -> None:
    queue = LabelQueue(studies)
    folder = ProfileFolder(studies, MODEL)
    for number, case in enumerate(CASES):
        folder.write(replace(random_profile(case, number), source=f"file {number}"))
    sources = {case: f"file {number}" for number, case in enumerate(CASES)}
    assert queue.counts(sources, MODEL)["scored"] == 3
    replaced = {**sources, "case-2": "another"}
    assert queue.counts(replaced, MODEL)["scored"] == 2
    offer = queue.offer(replaced, "fetaliqa", "anna", MODEL, skip=["case-0", "case-1"])
    assert offer is not None
    assert (offer.case, offer.note) == ("case-2", NOT_SCORED)


def test_leases_that_cannot_be_written_stop_nobody(studies: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fetaliqa.active.leases.write_json", full)
    offer = LabelQueue(studies).offer(CASES, "fetaliqa", "anna", MODEL)
    assert offer is not None
    (studies / "leases.json.lock").unlink()
    (studies / "leases.json.lock").mkdir()  # what cannot be locked
    assert LabelQueue(studies).offer(CASES, "fetaliqa", "anna", MODEL) is not None


def test_an_exhausted_pool_offers_nothing(studies: Path) -> None:
    queue = LabelQueue(studies)
    settings = QuerySettings(frames=100, per_sweep=100, gap=30)
    offers = 0
    while (offer := queue.offer(CASES, "strided", "anna", MODEL, settings)) is not None:
        offers += 1
        known = queue._labelled_frames.by_case().get(offer.case, frozenset())
        label(studies, offer.case, sorted({*known, *(frame["frame"] for frame in offer.frames)}))
        assert offers < 20
    assert offers == 3
