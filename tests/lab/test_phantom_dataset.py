"""Phantom cases on disk: the ACOUSLIC-AI layout, its table, the manifest, and the command."""

from __future__ import annotations

import argparse
import json

import numpy as np
import pytest
import SimpleITK as sitk
from acouslic_files import case_paths

from fetaliqa.cli import phantom as phantom_command
from fetaliqa.datasets.acouslic_layout import (
    CIRCUMFERENCES,
    IMAGES,
    MANIFEST,
    MASKS,
    Circumferences,
    read_circumferences,
    write_circumferences,
)
from fetaliqa.errors import OptionError, SweepError
from fetaliqa.file_provenance import file_sha256
from fetaliqa.lab.phantom import PhantomSettings, generate_case, write_dataset

SMALL = PhantomSettings(scale="half", sweeps=2, slots=20)


@pytest.fixture(scope="module")
def a_dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("phantom") / "data", 2, 7, SMALL, workers=1)


def _manifest(directory):
    return json.loads((directory / MANIFEST).read_text(encoding="utf-8"))


def test_stacks_hold_the_generated_case(a_dataset):
    entry = _manifest(a_dataset)["cases"][0]
    case = generate_case(entry["seed"], SMALL)
    image = sitk.ReadImage(str(a_dataset / IMAGES / f"{entry['case_id']}.mha"))
    assert image.GetSpacing() == pytest.approx((0.56, 0.56, 0.56))
    assert np.array_equal(sitk.GetArrayFromImage(image), case.frames)
    mask = sitk.ReadImage(str(a_dataset / MASKS / f"{entry['case_id']}.mha"))
    assert np.array_equal(sitk.GetArrayFromImage(mask), case.masks)


def test_the_manifest_s_hashes_and_frame_ranges_are_those_of_the_files(a_dataset):
    manifest = _manifest(a_dataset)
    assert manifest["synthetic"] is True
    assert manifest["settings"] == {"scale": "half", "sweeps": 2, "slots": 20}
    for entry in manifest["cases"]:
        assert len(entry["sha256"]) == 2
        for name, digest in entry["sha256"].items():
            assert file_sha256(a_dataset / name) == digest
        masks = sitk.GetArrayFromImage(sitk.ReadImage(str(a_dataset / MASKS / f"{entry['case_id']}.mha")))
        for key, label in (("optimal", 1), ("suboptimal", 2)):
            listed = [f for s in entry["truth"]["sweeps"] for a, b in s[key] for f in range(a, b)]
            assert listed == np.flatnonzero((masks == label).any(axis=(1, 2))).tolist()


def test_the_table_has_the_columns_of_acouslic_and_the_true_circumferences(a_dataset):
    header = (a_dataset / CIRCUMFERENCES).read_text().splitlines()[0]
    assert header == "uuid,subject_id,sweep_1_ac_mm,sweep_2_ac_mm"
    rows = read_circumferences(a_dataset)
    assert [row.subject_id for row in rows] == ["000", "001"]
    for row, entry in zip(rows, _manifest(a_dataset)["cases"]):
        assert row.uuid == entry["case_id"]
        for value, wanted in zip(row.ac_mm, entry["ac_mm"]):
            assert value == (None if wanted is None else pytest.approx(wanted, abs=1e-3))


def test_the_number_of_workers_changes_no_byte(a_dataset, tmp_path):
    other = write_dataset(tmp_path / "again", 2, 7, SMALL, workers=2)
    names = sorted(p.relative_to(a_dataset) for p in a_dataset.rglob("*") if p.is_file())
    assert names == sorted(p.relative_to(other) for p in other.rglob("*") if p.is_file())
    for name in names:
        assert (a_dataset / name).read_bytes() == (other / name).read_bytes()


def test_case_paths_pair_images_with_masks(a_dataset):
    pairs = case_paths(a_dataset)
    assert len(pairs) == 2
    assert all(image.name == mask.name and mask.is_file() for image, mask in pairs)


def test_progress_counts_the_cases(tmp_path):
    seen = []
    write_dataset(tmp_path / "d", 2, 1, SMALL, lambda done, total: seen.append((done, total)), workers=1)
    assert seen == [(1, 2), (2, 2)]


def test_an_existing_folder_is_left_alone(a_dataset):
    before = sorted(a_dataset.rglob("*"))
    with pytest.raises(OptionError, match="exists already"):
        write_dataset(a_dataset, 1, 1, SMALL)
    assert sorted(a_dataset.rglob("*")) == before


@pytest.mark.parametrize(("cases", "seed"), [(0, 1), (1, -1)])
def test_impossible_numbers_are_refused(tmp_path, cases, seed):
    with pytest.raises(OptionError):
        write_dataset(tmp_path / "d", cases, seed, SMALL)
    assert not (tmp_path / "d").exists()


def test_circumferences_survive_a_round_trip(tmp_path):
    rows = [Circumferences("a", "007", (231.25, None)), Circumferences("b", "008", (None, 140.9))]
    write_circumferences(tmp_path, rows)
    assert read_circumferences(tmp_path) == rows


def test_the_real_table_is_read(shared_data, tmp_path):
    target = tmp_path / CIRCUMFERENCES
    target.parent.mkdir(parents=True)
    target.write_bytes((shared_data / "acouslic" / CIRCUMFERENCES.name).read_bytes())
    rows = read_circumferences(tmp_path)
    assert len(rows) == 300
    assert sum(value is not None for row in rows for value in row.ac_mm) == 553


def test_a_folder_without_a_table_and_a_table_with_words_are_refused(tmp_path):
    with pytest.raises(SweepError, match="ACOUSLIC-AI folder"):
        read_circumferences(tmp_path)
    target = tmp_path / CIRCUMFERENCES
    target.parent.mkdir(parents=True)
    target.write_text("uuid,subject_id,sweep_1_ac_mm\na,000,large\n")
    with pytest.raises(SweepError, match=r"sweep_1_ac_mm is .large.; a number is needed"):
        read_circumferences(tmp_path)


def test_the_command_writes_a_dataset_a_preview_and_json(tmp_path, capsys):
    parser = argparse.ArgumentParser()
    phantom_command.configure(parser)
    preview = tmp_path / "look.png"
    options = ["--cases", "1", "--seed", "3", "--scale", "half", "--sweeps", "1", "--slots", "20", "--json"]
    args = parser.parse_args([str(tmp_path / "out"), *options, "--preview", str(preview)])
    assert phantom_command.run(args) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["seed"] == 3
    assert len(shown["cases"]) == 1
    assert len(case_paths(tmp_path / "out")) == 1
    assert preview.read_bytes().startswith(b"\x89PNG")
