"""Splits: the paper's, ours by subject, folds, files, and how far subjects leak."""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter

import numpy as np
import pytest

from fetaliqa.datasets.labelled_data import CaseEntry
from fetaliqa.datasets.splits import (
    PAPER_SEED,
    Split,
    custom,
    extend_split,
    k_fold,
    leak_report,
    paper_split,
    read_split,
    subject_split,
    write_split,
)
from fetaliqa.errors import NotFoundError, OptionError


def entries_of(*sizes: int) -> list[CaseEntry]:
    """Subjects with so many cases each."""
    return [CaseEntry(f"c{s}-{k}", f"s{s}") for s, size in enumerate(sizes) for k in range(size)]


@pytest.fixture
def real(shared_data):
    path = shared_data / "acouslic" / "fetal_abdominal_circumferences_per_sweep.csv"
    with open(path, newline="") as stream:
        return [CaseEntry(row["uuid"], row["subject_id"]) for row in csv.DictReader(stream)]


def _sizes(split):
    return len(split.train), len(split.validation), len(split.test)


def _parts_of_subjects(split, entries):
    subject = {e.case_id: e.subject_id for e in entries}
    return Counter(s for part in (split.train, split.validation, split.test) for s in {subject[c] for c in part})


def test_the_paper_s_permutation_is_reproduced():
    rows = [CaseEntry(str(number), str(number)) for number in range(300)]
    split = paper_split(rows)
    order = np.array([int(case) for case in split.cases()], "<i8")
    assert order[:10].tolist() == [15, 59, 46, 96, 212, 241, 86, 25, 80, 232]
    assert hashlib.sha256(order.tobytes()).hexdigest()[:16] == "2bc6484fc402eed0"
    assert _sizes(split) == (210, 30, 60)
    assert (split.unit, split.seed) == ("case", "9872398152123123767126")


def test_the_paper_s_split_tests_on_subjects_it_trained_on(real):
    leak = leak_report(paper_split(real), real)
    assert (leak["subjects_in_several_parts"], leak["cases_of_those_subjects"]) == (7, 14)
    assert (leak["test_cases_with_subject_in_train"], leak["test_cases"]) == (5, 60)
    assert leak["test_share"] == pytest.approx(5 / 60)
    assert leak["validation_cases_with_subject_in_train"] == 1


def test_the_subject_split_of_the_real_cases_has_the_paper_s_sizes_and_no_leak(real):
    for seed in range(5):
        split = subject_split(real, seed=seed)
        assert _sizes(split) == (210, 30, 60)
        assert leak_report(split, real)["subjects_in_several_parts"] == 0


def test_a_subject_split_keeps_subjects_together_and_comes_near_its_sizes():
    entries = entries_of(*[3] * 20, *[2] * 10)
    split = subject_split(entries)
    assert max(_parts_of_subjects(split, entries).values()) == 1
    assert sorted(split.cases()) == sorted(e.case_id for e in entries)
    for found, wanted in zip(_sizes(split), (56, 8, 16)):
        assert abs(found - wanted) <= 3


def test_a_subject_split_depends_on_its_seed_and_on_no_order():
    entries = entries_of(*[1] * 50)
    assert subject_split(entries).hash() == subject_split(entries[::-1]).hash()
    assert subject_split(entries, seed=1).hash() != subject_split(entries).hash()


def test_extending_moves_no_case_and_keeps_subjects_together():
    old = entries_of(*[1] * 60)
    split = subject_split(old)
    more = [*old, *[CaseEntry(f"n{k}", f"s{k}") for k in range(60)], CaseEntry("new", "t0")]
    extended = extend_split(split, more)
    for part in ("train", "validation", "test"):
        assert extended.part(part)[: len(split.part(part))] == split.part(part)
    assert max(_parts_of_subjects(extended, more).values()) == 1
    assert len(extended.cases()) == 121


def test_a_new_subject_s_part_depends_on_nothing_else_that_is_new():
    old = entries_of(*[1] * 20)
    split = subject_split(old)
    new = [CaseEntry(f"n{k}", f"t{k}") for k in range(300)]
    together = extend_split(split, [*old, *new])
    for entry in new[:20]:
        alone = extend_split(split, [*old, entry])
        part = next(p for p in ("train", "validation", "test") if entry.case_id in alone.part(p))
        assert entry.case_id in together.part(part)
    assert len(together.train) / 320 == pytest.approx(0.7, abs=0.08)


def test_cases_that_are_gone_keep_their_place():
    old = entries_of(*[1] * 20)
    split = subject_split(old)
    assert extend_split(split, old[:5]).hash() == split.hash()


def test_every_case_is_tested_in_one_fold_and_folds_are_even():
    entries = entries_of(*[2] * 10, *[1] * 30)
    folds = k_fold(entries, 5, seed=3)
    assert Counter(case for fold in folds for case in fold.test) == Counter(e.case_id for e in entries)
    assert [_sizes(fold) for fold in folds] == [(30, 10, 10)] * 5
    assert all(leak_report(fold, entries)["subjects_in_several_parts"] == 0 for fold in folds)
    assert folds[0].validation == folds[1].test


def test_a_split_survives_its_file_with_a_seed_of_more_than_64_bits(tmp_path):
    entries = entries_of(*[1] * 30)
    split = paper_split(entries)
    write_split(tmp_path / "s.json", split)
    assert read_split(tmp_path / "s.json", entries) == split
    assert json.loads((tmp_path / "s.json").read_text())["seed"] == str(PAPER_SEED)
    assert [path.name for path in tmp_path.iterdir()] == ["s.json"]


def test_a_hand_made_split_needs_its_three_parts_only(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps({"train": ["a"], "validation": [], "test": ["b"]}))
    split = custom(file)
    assert (split.name, split.train, split.part("test"), split.seed) == ("mine", ("a",), ("b",), None)
    with pytest.raises(OptionError, match="no 'schema'"):
        read_split(file)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"test": ["a"]}, "case a is named 2 times"),
        ({"train": ["a", "a"]}, "case a is named 2 times"),
        ({"test": "b"}, "'test' must be a list"),
        ({"schema": 2}, "schema 2"),
        ({"unit": "frame"}, "unit 'frame'"),
        ({"seed": 1.5}, "seed 1.5"),
        ({"test": ["zz"]}, r"1 of its 2 cases are not in the data set \(zz"),
    ],
)
def test_files_that_are_no_split_are_one_sentence(tmp_path, change, sentence):
    content = {
        "schema": 1,
        "name": "n",
        "unit": "case",
        "seed": 0,
        "train": ["a"],
        "validation": [],
        "test": ["b"],
    }
    file = tmp_path / "s.json"
    file.write_text(json.dumps({**content, **change}))
    with pytest.raises(OptionError, match=sentence) as caught:
        read_split(file, [CaseEntry("a", "a"), CaseEntry("b", "b")])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["{", "[]", '{"train": []}'])
def test_files_that_are_not_even_that_are_refused(tmp_path, text):
    (tmp_path / "s.json").write_text(text)
    for read in (read_split, custom):
        with pytest.raises(OptionError):
            read(tmp_path / "s.json")
    with pytest.raises(NotFoundError):
        custom(tmp_path / "none.json")


@pytest.mark.parametrize(
    "make",
    [
        lambda: subject_split([]),
        lambda: paper_split([CaseEntry("a", "1"), CaseEntry("a", "2")]),
        lambda: subject_split(entries_of(1, 1), (0.5, 0.5, 0.5)),
        lambda: k_fold(entries_of(1, 1, 1), 2),
        lambda: k_fold(entries_of(5, 5), 3),
        lambda: Split("x", "case", 0, (), (), ()).part("all"),
    ],
)
def test_impossible_requests_are_refused(make):
    with pytest.raises(OptionError):
        make()


def test_a_restricted_split_leaves_out_what_is_not_here():
    split = Split("x", "case", 0, ("a", "b"), ("c",), ("d",))
    assert split.restricted(["b", "d", "e"]) == Split("x", "case", 0, ("b",), (), ("d",))
    leak = leak_report(split, [CaseEntry("a", "1"), CaseEntry("e", "2")])
    assert leak["cases_in_no_part"] == 1


def test_a_split_with_a_byte_order_mark_is_read(tmp_path):
    file = tmp_path / "split.json"
    file.write_text("\ufeff" + json.dumps({"train": ["größe"], "validation": [], "test": []}), encoding="utf-8")
    assert custom(file).train == ("größe",)
