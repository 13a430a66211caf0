"""Gestational ages that people gave: kept with the case, checked, and never silently lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from fetaliqa.errors import GrowthError, LabelError
from fetaliqa.labels.given_ages import FILE, GivenAges
from fetaliqa.measure.fetal_growth import GestationalAge


def test_an_age_is_kept_replaced_and_removed(tmp_path: Path) -> None:
    ages = GivenAges(tmp_path)
    assert ages.get("one") is None
    ages.give("one", 171, "anna")
    ages.give("two", 140)
    ages.give("one", 172, "bob")
    again = GivenAges(tmp_path).get("one")
    assert again is not None
    assert (again.age, again.user) == (GestationalAge(172, "given"), "bob")
    ages.give("one", None)
    assert ages.get("one") is None
    assert ages.get("two") is not None
    ages.forget("two")
    ages.forget("never seen")
    assert ages.get("two") is None


@pytest.mark.parametrize("days", [0, 6, 322, -171])
def test_an_age_that_no_fetus_has_is_refused(tmp_path: Path, days: int) -> None:
    with pytest.raises(GrowthError, match="is not between 1 week and 45 weeks 6 days"):
        GivenAges(tmp_path).give("one", days)
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("content", ["", "[]", '{"schema": 2, "cases": {}}', '{"schema": 1, "cases": []}'])
def test_a_damaged_file_is_named_and_left_as_it_is(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE).write_text(content)
    ages = GivenAges(tmp_path)
    with pytest.raises(LabelError, match="is damaged; restore it from a backup, or remove it"):
        ages.give("one", 171)
    ages.forget("one")
    assert (tmp_path / FILE).read_text() == content


def test_a_damaged_entry_is_named_and_can_be_given_again(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text('{"schema": 1, "cases": {"one": {"days": "many"}}}')
    with pytest.raises(LabelError, match="'one' is damaged"):
        GivenAges(tmp_path).get("one")
    GivenAges(tmp_path).give("one", 171)
    assert GivenAges(tmp_path).get("one") is not None
