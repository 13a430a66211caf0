"""Gestational age, centiles and weight against published figures."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest

from fetaliqa.cli.main import main
from fetaliqa.errors import GrowthError
from fetaliqa.measure.fetal_growth import (
    GestationalAge,
    centile_words,
    estimated_age,
    estimated_weight,
    growth_centile,
)

CENTILES = (3, 5, 10, 50, 90, 95, 97)


def _official_table(shared_data: Path) -> dict[int, list[float]]:
    text = (shared_data / "growth_reference" / "intergrowth21_ac_centiles_official_table.txt").read_text("utf-8")
    rows = {}
    for line in text.splitlines():
        if re.fullmatch(r"\d\d( [\d.]+){7}", line.strip()):
            week, *values = line.split()
            rows[int(week)] = [float(value) for value in values]
    return rows


def test_ac_centiles_are_those_of_the_official_table_within_a_tenth_of_a_millimetre(shared_data: Path) -> None:
    table = _official_table(shared_data)
    assert sorted(table) == list(range(14, 41))
    for week, values in table.items():
        standard = growth_centile("AC", values[3], GestationalAge(week * 7))
        for centile, value in zip(CENTILES, values, strict=True):
            z = {3: -1.88079, 5: -1.64485, 10: -1.28155, 50: 0.0, 90: 1.28155, 95: 1.64485, 97: 1.88079}[centile]
            assert standard.mean_mm + z * standard.sd_mm == pytest.approx(value, abs=0.1), (week, centile)


@pytest.mark.parametrize(("weeks", "median_mm"), [(14, 98), (20, 175), (30, 278), (40, 337)])
def test_hc_medians_are_near_the_published_chart(weeks: int, median_mm: float) -> None:
    # medians of another chart, Hadlock 1984: the same head at most 3 % apart
    assert growth_centile("HC", median_mm, GestationalAge(weeks * 7)).mean_mm == pytest.approx(median_mm, rel=0.03)


def test_age_by_ac_is_what_a_scanner_shows() -> None:
    age = estimated_age("AC", 139.7)
    assert str(age) == "19 w 3 d"
    assert age.source == "Hadlock 1984 (AC)"


def test_centile_of_a_given_age() -> None:
    result = growth_centile("AC", 139.7, GestationalAge.parse("19w0d"))
    assert result.centile == pytest.approx(66.4, abs=0.05)
    assert result.formula == "INTERGROWTH-21st 2014 (AC)"


def test_a_centile_of_an_age_from_the_same_measurement_is_refused() -> None:
    with pytest.raises(GrowthError, match="same AC"):
        growth_centile("AC", 200.0, estimated_age("AC", 200.0))
    assert 0 < growth_centile("AC", 200.0, estimated_age("HC", 220.0)).centile < 100


def test_weight_by_the_inputs_at_hand() -> None:
    assert math.log(estimated_weight(260, 290).grams) == pytest.approx(7.312292, abs=1e-6)  # its paper's example
    best = estimated_weight(260, 290, 58)
    assert best.formula == "Hadlock 1985 (AC, HC, FL)"
    assert best.grams == pytest.approx(
        10 ** (1.326 - 0.00326 * 26 * 5.8 + 0.0107 * 29 + 0.0438 * 26 + 0.158 * 5.8)
    )
    alone = estimated_weight(260)
    assert "alone" in str(alone.note)
    assert alone.grams == pytest.approx(best.grams, rel=0.15)


@pytest.mark.parametrize("text", ["60w0d", "24w7d", "0w", "", "24", "w3", "24w3d2", "-3w1d", "24.5w"])
def test_an_age_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(GrowthError, match="gestational age"):
        GestationalAge.parse(text)


@pytest.mark.parametrize("text", ["24w3d", "24W3D", "24 w 3 d", "24+3", "24 weeks 3 days", "24w3"])
def test_ways_to_write_an_age(text: str) -> None:
    assert GestationalAge.parse(text).days == 171


@pytest.mark.parametrize("value", [3.0, 39.9, 451.0, math.nan, math.inf, -100.0])
def test_an_implausible_circumference_is_refused(value: float) -> None:
    for function in (lambda: estimated_age("AC", value), lambda: estimated_weight(value)):
        with pytest.raises(GrowthError, match="AC"):
            function()


def test_values_outside_of_a_formula_are_refused() -> None:
    with pytest.raises(GrowthError, match="14 to 42"):
        estimated_age("AC", 60.0)
    with pytest.raises(GrowthError, match="14 to 40"):
        growth_centile("AC", 370.0, GestationalAge.parse("41w0d"))


def test_the_command_prints_each_result_with_its_formula(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["growth", "--ac", "139.7", "--ga", "19w0d"]) == 0
    printed = capsys.readouterr().out
    assert "not for clinical use" in printed
    for part in ("19 w 3 d", "Hadlock 1984", "66.4", "INTERGROWTH-21st 2014", "Campbell 1975"):
        assert part in printed
    assert main(["growth", "--ac", "139.7", "--hc", "165", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [row["measurement"] for row in report["ages"]] == ["AC", "HC"]
    assert report["centiles"] == []


@pytest.mark.parametrize(
    "arguments",
    [["--fl", "30"], ["--ac", "139.7", "--ga", "60w"], ["--ac", "nan"], ["--ac", "139.7", "--hc", "2000"]],
)
def test_the_command_refuses_in_one_sentence(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["growth", *arguments]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.strip().splitlines()) == 1


@pytest.mark.parametrize(("value", "days"), [(300.0, 98), (90.0, 238)])
def test_a_circumference_that_cannot_be_of_that_age_has_no_centile(value: float, days: int) -> None:
    with pytest.raises(GrowthError, match="standard deviations"):
        growth_centile("AC", value, GestationalAge(days))


def test_a_length_without_a_head_is_said_not_to_count() -> None:
    alone, with_length = estimated_weight(300.0), estimated_weight(300.0, fl_mm=65.0)
    assert with_length.grams == alone.grams
    assert "FL" in str(with_length.note).replace(str(alone.note), "")


def test_centiles_are_never_0_or_100() -> None:
    assert [centile_words(value) for value in (0.0, 0.04, 0.1, 50.0, 99.9, 99.96, 100.0)] == [
        "below 0.1",
        "below 0.1",
        "0.1",
        "50",
        "99.9",
        "above 99.9",
        "above 99.9",
    ]
