"""Gestational ages and intervals of ``fetaliqa score``, as a user gives and reads them."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest
import SimpleITK

from fetaliqa.cli.main import main
from fetaliqa.model.interval_file import INTERVAL_FILE
from fetaliqa.model.user_folders import demo_folder

pytestmark = pytest.mark.usefixtures("own_cache")


@pytest.fixture
def short_case(sample_case: Path, tmp_path: Path) -> Path:
    """Eight frames of a sample case; some show its abdomen."""
    image = SimpleITK.ReadImage(str(sample_case))
    path = tmp_path / "short.mha"
    SimpleITK.WriteImage(image[:, :, 57:65], str(path))
    return path


def scored(capsys: pytest.CaptureFixture, *arguments: object) -> dict:
    assert main(["score", *map(str, arguments), "--json", "--quiet"]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_an_age_gives_a_centile_and_does_not_change_the_assessment(short_case: Path, capsys) -> None:
    first = scored(capsys, short_case, "--ga", "24w3d")
    second = scored(capsys, short_case, "--ga", "22+0")  # from the cache
    third = scored(capsys, short_case)
    assert first["growth"]["given_age"] == {"days": 171, "source": "--ga"}
    assert second["growth"]["centile"]["percent"] > first["growth"]["centile"]["percent"]
    assert third["growth"]["centile"] is None
    for record in (first, second, third):
        record.pop("growth")
    assert first == second == third


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--ga", "60w"], "is not between 1 and 45 weeks"),
        (["--ga", "24"], "write it as 24w3d or 24+3"),
        (["--ga", "24w9d"], "days are 0 to 6"),
    ],
)
def test_an_impossible_age_is_one_sentence_and_writes_nothing(
    short_case: Path, tmp_path: Path, capsys, arguments: list[str], words: str
) -> None:
    assert main(["score", str(short_case), *arguments, "--out", str(tmp_path / "out"), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_one_age_for_several_cases_is_refused(short_case: Path, tmp_path: Path, capsys) -> None:
    shutil.copyfile(short_case, tmp_path / "other.mha")
    assert main(["score", str(tmp_path), "--ga", "24w3d", "--quiet"]) == 2
    assert "--ga is the age of one case, and 2 are given" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("name,age\nshort,24w\n", "no column 'case'"),
        ("case,age\nlong,24w\n", "'long' is none of the 1 cases"),
        ("case,age\nshort,24w\nshort.mha,25w\n", "is listed twice"),
        ("case,age\nshort,24\n", "line 2: gestational age '24' is not understood"),
    ],
)
def test_a_wrong_table_of_ages_is_one_sentence_and_writes_nothing(
    short_case: Path, tmp_path: Path, capsys, table: str, words: str
) -> None:
    (tmp_path / "ages.csv").write_text(table)
    arguments = ["--ga-table", str(tmp_path / "ages.csv"), "--out", str(tmp_path / "out"), "--quiet"]
    assert main(["score", str(short_case), *arguments]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_another_age_is_scored_again_on_resuming_and_the_summary_has_it(
    short_case: Path, tmp_path: Path, capsys
) -> None:
    table, out = tmp_path / "ages.csv", tmp_path / "out"
    for age, days in (("24w", "168"), ("25w", "175")):
        table.write_text(f"case,age\nshort.mha,{age}\n")
        assert (
            main(["score", str(short_case), "--ga-table", str(table), "--out", str(out), "--resume", "--quiet"])
            == 0
        )
        with open(out / "summary.csv", newline="") as stream:
            (row,) = csv.DictReader(stream)
        assert (row["given_age_days"], row["given_age_source"]) == (days, "table")
        assert float(row["case_mm"]) > 100
        assert row["centile_formula"] == "INTERGROWTH-21st 2014 (AC)"


def test_a_calibrated_bundle_states_intervals_and_another_threshold_takes_them_away(
    sample_data: Path, short_case: Path, tmp_path: Path, capsys
) -> None:
    bundle = tmp_path / "bundle"
    shutil.copytree(demo_folder(), bundle)
    assert scored(capsys, short_case, "--model", bundle)["measurement"]["interval_absent"].startswith(
        "this model has no"
    )
    few = tmp_path / "few"
    _one_labelled_case(sample_data, few)
    assert main(["models", "calibrate", str(bundle), str(few)]) == 2  # one case is not enough for 90 %
    assert "needs 9 of one kind" in capsys.readouterr().err
    assert not (bundle / INTERVAL_FILE).exists()
    assert main(["models", "calibrate", str(bundle), str(few), "--coverage", "0.5", "--about", "one phantom"]) == 0
    capsys.readouterr()
    record = scored(capsys, short_case, "--model", bundle)
    low, high = record["measurement"]["interval_mm"]
    assert low < record["measurement"]["mm"] < high
    assert (record["measurement"]["coverage"], record["measurement"]["calibrated_on"]) == (0.5, "one phantom")
    low, high = record["frames"][record["best"]]["circumference_interval_mm"]
    assert low < record["frames"][record["best"]]["circumference_mm"] < high
    other = scored(capsys, short_case, "--model", bundle, "--threshold", "0.4")
    assert "own threshold" in other["measurement"]["interval_absent"]


def test_a_bundle_that_ships_is_not_calibrated_in_place(sample_data: Path, capsys) -> None:
    assert main(["models", "calibrate", "head", str(sample_data)]) == 2
    assert "ships with fetaliqa" in capsys.readouterr().err


def _one_labelled_case(sample_data: Path, folder: Path) -> None:
    """The sample data with one of its labelled sweeps."""
    images = sorted((sample_data / "images" / "stacked_fetal_ultrasound").glob("*.mha"))
    for part, name in (("images", "stacked_fetal_ultrasound"), ("masks", "stacked_fetal_abdomen")):
        (folder / part / name).mkdir(parents=True)
        shutil.copyfile(sample_data / part / name / images[0].name, folder / part / name / images[0].name)
    (folder / "circumferences").mkdir()
    table = "fetal_abdominal_circumferences_per_sweep.csv"
    header, *rows = (sample_data / "circumferences" / table).read_text().splitlines()
    kept = [row for row in rows if images[0].stem in row]
    (folder / "circumferences" / table).write_text("\n".join([header, *kept]) + "\n")
