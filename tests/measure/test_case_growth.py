"""Age, centile and weight of a case's record."""

from __future__ import annotations

from fetaliqa.measure.case_growth import case_growth
from fetaliqa.measure.fetal_growth import GestationalAge, estimated_age

AC = {"name": "AC", "mm": 209.8}


def test_each_value_names_its_formula() -> None:
    growth = case_growth(AC, GestationalAge.parse("24w3d", "--ga"))
    assert growth is not None
    assert growth["given_age"] == {"days": 171, "source": "--ga"}
    assert growth["age"]["formula"] == "Hadlock 1984 (AC)"
    assert growth["centile"]["formula"] == "INTERGROWTH-21st 2014 (AC)"
    assert growth["weight"]["formula"] == "Campbell 1975 (AC)"


def test_without_a_given_age_there_is_no_centile() -> None:
    growth = case_growth(AC, None)
    assert growth is not None
    assert (growth["given_age"], growth["centile"]) == (None, None)
    assert growth["age"]["days"] > 0


def test_a_centile_of_an_age_from_the_same_circumference_is_refused() -> None:
    growth = case_growth(AC, estimated_age("AC", AC["mm"]))
    assert growth is not None
    assert growth["centile"] is None
    assert any("estimated from the same AC" in note for note in growth["notes"])


def test_values_outside_of_a_formula_are_absent_with_a_sentence() -> None:
    growth = case_growth({"name": "AC", "mm": 60.0}, GestationalAge.parse("12w", "table"))
    assert growth is not None
    assert (growth["age"], growth["centile"]) == (None, None)
    assert any("14 to 42 weeks" in note for note in growth["notes"])
    assert any("outside of INTERGROWTH-21st's charts" in note for note in growth["notes"])


def test_an_impossible_circumference_is_said_once() -> None:
    growth = case_growth({"name": "AC", "mm": 800.0}, GestationalAge.parse("30w", "table"))
    assert growth is not None
    assert growth["weight"] is None
    assert growth["notes"] == ["AC 800 mm is not between 40 and 450 mm; check the unit"]


def test_a_case_without_a_measurement_keeps_the_given_age() -> None:
    assert case_growth(None, None) is None
    growth = case_growth(None, GestationalAge.parse("30w", "table"))
    assert growth is not None
    assert growth["given_age"] == {"days": 210, "source": "table"}
    assert growth["notes"] == ["no centile: the case has no measurement in mm"]


def test_a_length_has_no_age_of_a_circumference() -> None:
    growth = case_growth({"name": "FL", "mm": 40.0}, None)
    assert growth is not None
    assert (growth["age"], growth["weight"], growth["notes"]) == (None, None, [])
    given = case_growth({"name": "FL", "mm": 40.0}, GestationalAge(171))
    assert given is not None
    assert given["centile"] is None
    assert "FL" in given["notes"][0]
