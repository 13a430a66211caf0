"""Journals: written atomically, read back, never lost."""

from __future__ import annotations

import contextlib
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from FetalIQALib.case_annotation import CaseAnnotation
from FetalIQALib.client_errors import FetalIQAError, FileError
from FetalIQALib.frame_masks import Mask
from FetalIQALib.journal import Journals, SavedWork, read_journal
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from workspaces import a_sweep, ellipse_mask


@pytest.fixture
def kept() -> SavedWork:
    annotation = CaseAnnotation(a_sweep(), "anna")
    annotation.accept(15)
    annotation.mark_empty(3)
    annotation.correct(9, ellipse_mask())
    annotation.interpolate(12)
    return SavedWork("case_a", "final", "anna", "f" * 64, 2, 15, annotation.frames, ("token",))


def test_saved_work_is_read_back(tmp_path: Path, kept: SavedWork) -> None:
    path = Journals(tmp_path, "http://one").write(kept)
    found = read_journal(path, 30)
    assert dict(found.frames) == dict(kept.frames)
    assert replace(found, frames={}, saved="") == replace(kept, frames={})
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_instances_servers_and_labels_do_not_mix(tmp_path: Path, kept: SavedWork) -> None:
    one, two, other = (
        Journals(tmp_path, "http://one"),
        Journals(tmp_path, "http://one"),
        Journals(tmp_path, "http://2"),
    )
    path = one.write(kept)
    assert one.find("case_a", "final") == []  # its own is not offered to itself
    assert [(found.path, found.rater, found.in_use) for found in two.find("case_a", "final")] == [
        (path, "anna", True)
    ]
    one.close()
    assert [found.in_use for found in two.find("case_a", "final")] == [False]
    assert two.find("case_a", "anna") == two.find("case", "final") == other.find("case_a", "final") == []
    assert two.cases("final", "anna") == ["case_a"]
    two.archive(path)
    assert two.find("case_a", "final") == []
    assert [file.read_bytes()[:1] for file in (path.parent / "archived").iterdir()] == [b"{"]


@pytest.mark.parametrize("name", ["../evil", "a/b", "", "a\nb", "..", "a" * 300])
def test_names_with_path_parts_are_refused(tmp_path: Path, kept: SavedWork, name: str) -> None:
    for bad in (replace(kept, case=name), replace(kept, tag=name)):
        with pytest.raises(FetalIQAError):
            Journals(tmp_path / "journals", "http://one").write(bad)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("case", ["größe", "孕妇 (2)", "a:b*c?", "a~final~b", "CON", "x" * 200, "A"])
def test_work_on_a_case_of_any_name_is_saved_and_found(tmp_path: Path, kept: SavedWork, case: str) -> None:
    one, two = Journals(tmp_path, "http://one"), Journals(tmp_path, "http://one")
    path = one.write(replace(kept, case=case))
    assert read_journal(path, 30).case == case
    assert not set('<>:"|?*') & set(path.name)  # Windows takes none of these
    one.close()
    assert [found.path for found in two.find(case, "final")] == [path]
    assert two.find(f"{case[1:]}2", "final") == []
    assert two.cases("final", "anna") == [case]


def test_cases_whose_names_differ_in_case_or_form_only_have_journals_of_their_own(
    tmp_path: Path, kept: SavedWork
) -> None:
    journals = Journals(tmp_path, "http://one")
    cases = ["case_a", "CASE_A", "gr\u00f6\u00dfe", "gro\u0308\u00dfe"]
    files = {journals.write(replace(kept, case=case)).name.casefold() for case in cases}
    assert len(files) == 4
    assert Journals(tmp_path, "http://one").cases("final", "anna") == sorted(cases)


def test_work_that_an_earlier_module_kept_under_a_name_in_capitals_is_found(
    tmp_path: Path, kept: SavedWork
) -> None:
    journals = Journals(tmp_path, "http://one")
    path = journals.write(replace(kept, case="Case_A"))
    earlier = path.with_name("Case_A~final~0123abcd.journal.json")
    path.rename(earlier)
    assert [found.path for found in journals.find("Case_A", "final")] == [earlier]


def test_a_full_disk_keeps_the_previous_journal(
    tmp_path: Path, kept: SavedWork, monkeypatch: pytest.MonkeyPatch
) -> None:
    journals = Journals(tmp_path, "http://one")
    path = journals.write(kept)
    before = path.read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match="No space left"):
        journals.write(replace(kept, frames={}))
    assert path.read_bytes() == before
    assert len(list(path.parent.iterdir())) == 1


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_journal_is_an_error_and_stays(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("damaged")
    annotation = CaseAnnotation(a_sweep(), "anna")
    annotation.accept(15)
    path = Journals(folder, "http://one").write(
        SavedWork("case_a", "final", "anna", "f", 0, 15, annotation.frames)
    )
    complete = path.read_bytes()
    cut = data.draw(st.integers(0, len(complete) - 1))
    damaged = data.draw(st.sampled_from([complete[:cut], complete[:cut] + b"\xff" + complete[cut + 1 :]]))
    path.write_bytes(damaged)
    with contextlib.suppress(FileError):  # anything else that it raises fails the test
        assert read_journal(path, 30).frames.keys() <= set(range(30))
    assert path.read_bytes() == damaged


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 2},
        {"masks": {"15": "60 80 0 0 99999 99999 eJw="}},
        {"masks": {"15": "60 80 -1 0 5 5 eJw="}},
        {"masks": {}},
        {"frame_record": {"frames": {"99": {"state": "empty"}}}},
        {"based_on": None},
    ],
)
def test_an_inconsistent_journal_is_not_used(tmp_path: Path, kept: SavedWork, change: dict) -> None:
    path = Journals(tmp_path, "http://one").write(kept)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(FileError, match=re.escape(str(path))):
        read_journal(path, 30)


@given(arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 1)))
def test_a_mask_is_read_back_from_its_text(array: np.ndarray) -> None:
    mask = Mask.of(array)
    if mask is None:
        assert not array.any()
    else:
        assert np.array_equal(mask.full(), array)
        assert Mask.from_text(mask.to_text()) == mask
        with pytest.raises(ValueError, match="read-only"):
            mask.pixels[0, 0] = False
