"""Exports of cases of any name: every reader finds every file, and no file is another's on any disk."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pydicom
import pytest
from export_files import write_studies

from fetaliqa.labels.studies import Studies

CASES = ("größe 孕妇 75 %", "Case", "case", "x" * 199 + "!")


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_studies(tmp_path_factory.mktemp("odd") / "studies", CASES)


def rows_of(out: Path) -> list[dict]:
    with open(out / "manifest.csv", newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("kind", ["coco", "yolo", "nnunet", "png", "dicom-cine", "mha"])
def test_every_case_has_files_that_are_nobody_elses_on_any_disk(export, odd: Path, kind: str) -> None:
    exported = export("--format", kind, folder=odd)
    assert exported.code == 0, exported.err
    rows = rows_of(exported.out)
    assert {row["case_id"] for row in rows} == set(CASES)
    cases = {row["image"].casefold(): set() for row in rows}
    for row in rows:
        assert (exported.out / row["image"]).is_file()
        cases[row["image"].casefold()].add(row["case_id"])
    assert all(len(owners) == 1 for owners in cases.values())
    assert any("are not named after the case" in note for note in exported.card["notes"])
    assert all(row["image"].isascii() for row in rows) or kind != "nnunet"


def test_coco_and_studies_are_read_back_under_their_names(export, odd: Path) -> None:
    out = export("--format", "coco", folder=odd).out
    entries = [
        image
        for file in (out / "annotations").glob("*polygons.json")
        for image in json.loads(file.read_bytes())["images"]
    ]
    assert {image["case_id"] for image in entries} == set(CASES)
    assert all(cv2.imdecode(np.fromfile(out / image["file_name"], np.uint8), 0) is not None for image in entries)
    again = Studies(export("--format", "mha", folder=odd, name="again").out)
    assert len(again.entries()) == len(CASES)


@pytest.mark.parametrize(
    ("kind", "form"),
    [("nnunet", "nnunet"), ("png", "masks"), ("mha", "stacks"), ("yolo", "yolo"), ("dicom-cine", "dicom")],
)
def test_labels_come_in_again_whatever_their_cases_are_called(
    export, bring, odd: Path, tmp_path: Path, kind: str, form: str
) -> None:
    out = export("--format", kind, folder=odd).out
    images = shutil.copytree(odd / "images", tmp_path / "again")
    code, results, err = bring(out, form, studies=images)
    assert (code, set(results)) == (0, set(CASES)), err
    assert all(case["added"] == [1, 3, 7] for case in results.values())


@pytest.mark.parametrize("kind", ["dicom", "dicom-cine"])
def test_dicom_says_names_in_unicode_and_within_its_lengths(export, odd: Path, kind: str) -> None:
    out = export("--format", kind, folder=odd).out
    patients = [pydicom.dcmread(path, stop_before_pixels=True) for path in sorted(out.rglob("*.dcm"))]
    assert {patient.SpecificCharacterSet for patient in patients} == {"ISO_IR 192"}
    assert {patient.PatientID[:8] for patient in patients} == {"s-größe ", "s-Case", "s-case", "s-xxxxxx"}
    assert max(len(patient.PatientID) for patient in patients) <= 64
    named = {(str(patient.PatientName).rstrip("^"), patient.PatientID) for patient in patients}
    assert ("s-größe 孕妇 75 %", "s-größe 孕妇 75 %") in named
    assert all(name == patient for name, patient in named)
