"""What the command line makes of names: of any letters, given as patterns, twice, or for two cases at once."""

from __future__ import annotations

import csv
import json
import os
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from fetaliqa.cli.main import main

pytestmark = pytest.mark.usefixtures("own_cache")
NAMES = ["größe", "gro\u0308ße", "孕妇", "75 % $gain_x$", "-rf", "a#b&c+d", "new\nline", "l" * 240]
BYTES = [os.fsdecode(b"gr\xf6sse")] if sys.platform == "linux" else []  # other systems take none


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """A sweep of two frames: names are what matters here."""
    path = tmp_path / "made" / "x.mha"
    path.parent.mkdir()
    sitk.WriteImage(sitk.GetImageFromArray(np.full((2, 32, 40), 90, np.uint8)), str(path))
    return path


def test_sweeps_of_any_name_are_scored_and_what_is_left_out_is_told(sweep: Path, tmp_path: Path, capfd) -> None:
    folder = tmp_path / "sweeps"
    folder.mkdir()
    for name in (*NAMES, *BYTES):
        shutil.copy(sweep, folder / f"{name}.mha")
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(folder / "still.bmp")
    assert main(["score", str(folder), "--quiet", "--json"]) == 0
    printed, errors = capfd.readouterr()
    first_line, *records = map(json.loads, printed.splitlines())
    shown = [name.replace("\n", "\ufffd") for name in NAMES] + ["gr\ufffdsse"] * len(BYTES)
    assert sorted(record["case_id"] for record in records) == sorted(shown)
    assert first_line == {
        "left_out": [{"path": str(folder / "still.bmp"), "reason": first_line["left_out"][0]["reason"]}]
    }
    assert "still.bmp" in errors


def test_results_are_called_after_their_sweeps_whatever_their_names(sweep: Path, tmp_path: Path, capsys) -> None:
    folder, out = tmp_path / "sweeps", tmp_path / "out"
    folder.mkdir()
    names = ["größe 孕妇 $a_b$ %", *BYTES]
    for name in names:
        shutil.copy(sweep, folder / f"{name}.MHA")
    (folder / "x.xyz").touch()
    shown = [names[0], *["gr\ufffdsse"] * len(BYTES)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # matplotlib warns of letters that its font has not
        assert main(["score", str(folder), "--out", str(out), "--quiet"]) == 0
    with open(out / "summary.csv", newline="", encoding="utf-8") as stream:
        assert sorted(row["case"] for row in csv.DictReader(stream)) == sorted(shown)
    assert all((out / name / "contact_sheet.png").stat().st_size for name in shown)
    assert "x.xyz" in (out / "left_out.csv").read_text(encoding="utf-8")
    (folder / "x.xyz").unlink()
    capsys.readouterr()
    assert main(["score", str(folder), "--out", str(out), "--quiet", "--resume"]) == 0
    assert f"skipped {len(shown)} completed of {len(shown)} cases" in capsys.readouterr().err
    assert not (out / "left_out.csv").exists()


@pytest.mark.parametrize("verb", ["score", "best"])
def test_two_cases_of_one_name_are_refused_with_both_paths(verb: str, sweep: Path, tmp_path: Path, capsys) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(sweep, tmp_path / folder / "x.mha")
    given, out = [str(tmp_path / folder / "x.mha") for folder in ("a", "b")], tmp_path / "out"
    assert main([verb, *given, "--out", str(out), "--quiet"]) == 2
    errors = capsys.readouterr().err
    assert all(path in errors for path in given)
    assert not list(out.glob("x*"))
    shutil.copy(sweep, tmp_path / "a" / "y.mha")
    (tmp_path / "a" / "y.mha").rename(tmp_path / "a" / "x.MHA")
    assert main([verb, str(tmp_path / "a"), "--out", str(out), "--quiet"]) == 2
    errors = capsys.readouterr().err
    assert "x.mha" in errors
    assert "x.MHA" in errors


def test_a_sweep_given_twice_is_assessed_once_and_patterns_stand_for_what_they_match(
    sweep: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["score", "made/*.mha", f"{sweep.parent}/", "made/../made/x.mha", "--quiet", "--json"]) == 0
    printed, errors = capsys.readouterr()
    assert [json.loads(line)["case_id"] for line in printed.splitlines()] == ["x"]
    assert "given more than once, assessed once: x.mha" in errors
    assert main(["score", "made/*.nii", "--quiet"]) == 2
    assert "nothing matches it as a pattern" in capsys.readouterr().err
    assert main(["score", str(sweep), str(sweep), "--out", "out", "--quiet"]) == 2
    assert "is given more than once" in capsys.readouterr().err


def test_a_name_never_leads_out_of_the_folder_of_results(sweep: Path, tmp_path: Path, capsys) -> None:
    for name in ("..", "."):  # ...mha is the case '..' once its suffix is gone
        shutil.copy(sweep, tmp_path / f"{name}.mha")
    given = [str(tmp_path / f"{name}.mha") for name in ("..", ".")]
    out = tmp_path / "deep" / "out"
    assert main(["score", given[0], "--out", str(out), "--quiet"]) == 0
    assert main(["score", given[1], "--out", str(out), "--quiet"]) == 0
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == ["\ufffd", "\ufffd\ufffd"]
