"""What an export leaves behind: card, checksums, nothing half-made, nobody's name."""

import csv
import hashlib
import io
import json
import subprocess

import cv2
import numpy as np
import pytest
from export_files import SPACING, expected_masks, frames_of, sector, write_studies
from PIL import Image

from fetaliqa.errors import SweepError
from fetaliqa.export.formats.picture_files import PngWriter
from fetaliqa.export.still_files import png_bytes
from fetaliqa.measure.ellipse import ellipse_circumference


def rows_of(out) -> list[dict]:
    with open(out / "manifest.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def files_of(out) -> dict[str, bytes]:
    return {
        path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()
    }


@pytest.mark.parametrize("form", ["png", "tiff"])
def test_frames_and_masks_come_back_pixel_for_pixel(export, form):
    exported = export("--format", form, "--cases", "alpha,beta")
    assert exported.code == 0
    rows = rows_of(exported.out)
    assert len(rows) == 8
    for row in rows:
        seed, frame = ("alpha", "beta").index(row["case_id"]), int(row["frame"])
        image, mask = (cv2.imread(str(exported.out / row[key]), cv2.IMREAD_UNCHANGED) for key in ("image", "mask"))
        assert np.array_equal(image, frames_of(seed)[frame])
        assert np.array_equal(mask, expected_masks()[frame])


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (17, 33), (562, 744)])
def test_any_picture_is_read_by_two_other_readers(shape):
    pixels = np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)
    for one in (pixels, np.zeros_like(pixels)):
        data = png_bytes(one)
        assert np.array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED), one)
        with Image.open(io.BytesIO(data)) as image:
            assert image.mode == "L"
            assert np.array_equal(np.asarray(image), one)


def test_a_tiff_knows_the_size_of_its_pixels(export):
    import tifffile

    exported = export("--format", "tiff", "--cases", "alpha", "--planes", "optimal")
    with tifffile.TiffFile(exported.out / "images" / "alpha_0001.tif") as file:
        tags = file.pages[0].tags
        assert tags["ResolutionUnit"].value == 3
        for name, spacing in (("XResolution", SPACING[1]), ("YResolution", SPACING[0])):
            pixels, centimetres = tags[name].value
            assert 10 * centimetres / pixels == pytest.approx(spacing, rel=1e-8)


def test_the_manifest_says_what_is_known_of_a_frame(export):
    rows = {int(row["frame"]): row for row in rows_of(export("--cases", "alpha").out)}
    assert (rows[3]["state"], rows[3]["plane"], rows[3]["rater"]) == ("annotated", "suboptimal", "anna")
    assert rows[3]["time"] == "2026-03-01T10:00:00+00:00"
    assert (rows[7]["sweep"], rows[7]["plane"], rows[4]["state"]) == ("1", "", "empty")
    assert (float(rows[1]["row_spacing_mm"]), float(rows[1]["column_spacing_mm"])) == SPACING
    # half a pixel: the outline lies between the pixels that are inside and those that are not
    expected = ellipse_circumference(30.5 * SPACING[1], 22.5 * SPACING[0])
    assert float(rows[1]["circumference_mm"]) == pytest.approx(expected, rel=0.01)
    assert float(rows[1]["area_mm2"]) == pytest.approx(int(rows[1]["area_px"]) * SPACING[0] * SPACING[1])


def test_proposals_are_only_taken_when_asked_for_and_are_marked(export):
    assert not [name for name in files_of(export(name="plain").out) if "proposed" in name]
    exported = export("--states", "annotated,proposed", "--cases", "alpha", name="marked")
    assert (exported.out / "masks" / "alpha_0009_proposed.png").is_file()
    row = next(row for row in rows_of(exported.out) if row["frame"] == "9")
    assert (row["state"], row["model"], row["model_version"], row["rater"]) == ("proposed", "demo", "7", "")
    assert "unconfirmed outline" in (exported.out / "README.md").read_text()


def test_the_card_counts_what_is_there_and_its_checksums_hold(export):
    exported = export("--licence", "CC BY 4.0", "--name", "My set")
    card = json.loads((exported.out / "dataset.json").read_text())
    counts = card["counts"]
    assert (counts["frames"], counts["outlined"], counts["cases"], counts["subjects"]) == (16, 12, 4, 3)
    assert counts["states"] == {"annotated": 12, "empty": 4}
    assert counts["planes"] == {"optimal": 4, "suboptimal": 4, "ungraded": 4}
    assert counts["raters"] == {"anna": 12, "bo": 4}
    assert counts["by_case"]["beta"] == {"frames": 4, "sweeps": {"0": 3, "1": 1}}
    assert (card["licence"], card["name"], card["model"]) == ("CC BY 4.0", "My set", None)
    assert card["software"]["fetaliqa"]
    sums = (exported.out / "checksums.sha256").read_bytes()
    assert card["checksums_sha256"] == hashlib.sha256(sums).hexdigest()
    checked = subprocess.run(
        ["sha256sum", "--strict", "-c", "checksums.sha256"], cwd=exported.out, capture_output=True, text=True
    )
    assert checked.returncode == 0
    assert len(checked.stdout.splitlines()) == len(files_of(exported.out)) - 2
    assert {key: card[key] for key in exported.card} == exported.card


def test_two_exports_differ_in_one_time_only(export):
    words = ("--states", "annotated,empty,proposed", "--parquet", "--blank-outside")
    first, second = files_of(export(*words, name="one").out), files_of(export(*words, name="two").out)
    cards = [json.loads(files.pop("dataset.json")) for files in (first, second)]
    for card in cards:
        assert card.pop("created").startswith("20")
    assert first == second
    assert cards[0] == cards[1]


def test_parquet_holds_the_rows_with_their_types(export):
    import pyarrow.parquet as pq

    table = pq.read_table(export("--parquet", "--cases", "alpha").out / "manifest.parquet").to_pylist()
    assert [row["frame"] for row in table] == [1, 3, 4, 7]
    assert (table[0]["outlined"], table[2]["outlined"], table[2]["plane"]) == (True, False, None)
    assert table[0]["row_spacing_mm"] == SPACING[0]
    assert isinstance(table[0]["circumference_mm"], float)


def test_a_dry_run_counts_and_writes_nothing(export, tmp_path):
    dry, wet = export("--dry-run", name="dry"), export(name="wet")
    assert dry.card["counts"] == wet.card["counts"]
    assert not dry.out.exists()


def test_an_interrupted_export_leaves_nothing(export, tmp_path, monkeypatch):
    written = []

    def broken(self, case):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(case.case_id)
        return plain(self, case)

    plain = PngWriter.write_case
    monkeypatch.setattr(PngWriter, "write_case", broken)
    exported = export()
    assert exported.code == 130
    assert len(written) == 2
    assert list(tmp_path.iterdir()) == []


def test_an_export_replaces_nothing(export, tmp_path):
    (tmp_path / "out").mkdir()
    exported = export()
    assert exported.code == 2
    assert "exists already" in exported.err
    assert list((tmp_path / "out").iterdir()) == []


def test_pseudonyms_replace_every_name_and_the_key_leads_back(export, tmp_path):
    key = tmp_path / "key.json"
    exported = export("--pseudonyms", key, "--cases", "alpha,gamma,delta", name="one")
    names = json.loads(key.read_text())
    assert key.stat().st_mode & 0o077 == 0
    assert set(names["case"]) == {"alpha", "gamma", "delta"}
    everything = b"".join(name.encode() + content for name, content in files_of(exported.out).items())
    for name in ("alpha", "gamma", "delta", "s-3", "anna"):
        assert name.encode() not in everything
    rows = rows_of(exported.out)
    assert {row["case_id"] for row in rows} == set(names["case"].values())
    assert len({row["subject_id"] for row in rows}) == 2  # gamma and delta are of one subject
    again = export("--pseudonyms", key, name="two")  # the same names, and those that are new
    assert {row["case_id"] for row in rows} < {row["case_id"] for row in rows_of(again.out)}


def test_the_key_file_may_not_lie_in_the_export(export, tmp_path):
    exported = export("--pseudonyms", tmp_path / "out" / "key.json")
    assert exported.code == 2
    assert "the key file may not lie in the export" in exported.err


def test_outside_of_the_sector_all_is_black_and_the_preview_shows_what_was(export, tmp_path):
    exported = export("--blank-outside", "--sector-preview", tmp_path / "preview.png", "--cases", "alpha")
    image = cv2.imread(str(exported.out / "images" / "alpha_0001.png"), cv2.IMREAD_UNCHANGED)
    assert frames_of(0)[1][2:6, 2:20].min() == 255  # a name, burned into the pixels
    assert image[2:6, 2:20].max() == 0
    inside = cv2.erode(sector().astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    assert np.array_equal(image[inside], frames_of(0)[1][inside])
    assert exported.card["blanking"]["lit_pixels"] >= 4 * 4 * 18
    preview = cv2.imread(str(tmp_path / "preview.png"))
    assert (preview[..., 2] > preview[..., 1].astype(int) + 100).any()  # red: what was taken away


def test_a_case_without_a_sector_is_named_in_the_notes(export, tmp_path):
    folder = write_studies(tmp_path / "bright", ("alpha",))
    import SimpleITK as sitk

    path = folder / "images" / "alpha.mha"
    image = sitk.ReadImage(str(path))
    bright = sitk.GetImageFromArray(np.random.default_rng(0).integers(50, 200, frames_of(0).shape, dtype=np.uint8))
    bright.CopyInformation(image)
    sitk.WriteImage(bright, str(path))
    exported = export("--blank-outside", folder=folder)
    assert exported.card["blanking"]["whole_images"] == ["alpha"]
    assert any("no sector was found" in note for note in exported.card["notes"])


def test_a_damaged_case_stops_the_export_or_is_left_out(export, tmp_path):
    folder = write_studies(tmp_path / "damaged", ("alpha", "beta"))
    path = folder / "images" / "alpha.mha"
    path.write_bytes(path.read_bytes()[:400])
    exported = export(folder=folder)
    assert exported.code == SweepError.exit_code
    assert "alpha.mha" in exported.err
    assert not exported.out.exists()
    result = export("--skip-unreadable", folder=folder, name="rest")
    assert list(result.card["counts"]["by_case"]) == ["beta"]
    assert result.card["notes"][0].startswith("left out: alpha.mha")


def test_notes_hold_no_path_and_no_name_that_has_a_pseudonym(export, tmp_path):
    folder = write_studies(tmp_path / "damaged", ("alpha", "beta"))
    path = folder / "images" / "alpha.mha"
    path.write_bytes(path.read_bytes()[:400])
    exported = export("--skip-unreadable", "--pseudonyms", tmp_path / "key.json", folder=folder)
    everything = b"".join(files_of(exported.out).values())
    assert b"left out: case-" in everything
    for secret in (str(tmp_path), "alpha"):
        assert secret.encode() not in everything


def test_a_case_whose_files_are_missing_is_told(export, tmp_path):
    folder = write_studies(tmp_path / "gone", ("alpha", "beta"))
    (folder / "labels" / "alpha.mha").unlink()
    exported = export(folder=folder)
    assert list(exported.card["counts"]["by_case"]) == ["beta"]
    assert any(
        note.startswith("left out: 1 cases whose files are missing") and "(alpha)" in note
        for note in exported.card["notes"]
    )


def test_parts_follow_the_split_and_never_share_a_subject(export):
    rows = rows_of(export().out)
    parts = {row["case_id"]: row["part"] for row in rows}
    assert parts["gamma"] == parts["delta"]


def test_an_acouslic_folder_exports_its_experts_frames(export, sample_data):
    exported = export("--states", "annotated", folder=sample_data)
    assert exported.card["source"] == {
        "kind": "phantom",
        "synthetic": True,
        "anatomy": "abdomen",
        "measurement": "AC",
    }
    assert set(exported.card["counts"]["planes"]) <= {"optimal", "suboptimal"}
    assert exported.card["counts"]["outlined"] == exported.card["counts"]["frames"] > 0


def test_a_folder_of_sweeps_gives_marked_proposals_of_a_model(export, sample_data, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sweeps = sample_data / "images" / "stacked_fetal_ultrasound"
    case = sorted(path.stem for path in sweeps.glob("*.mha"))[0]
    words = ("--model", "demo", "--device", "cpu", "--cases", case)
    exported = export("--states", "proposed", "--top", 2, *words, folder=sweeps)
    assert exported.code == 0, exported.err
    rows = rows_of(exported.out)
    assert 1 <= len(rows) <= 2
    assert {row["state"] for row in rows} == {"proposed"}
    assert all(float(row["quality"]) > 0 and row["model"] for row in rows)
    assert exported.card["model"]["anatomy"] == "abdomen"
    refused = export(*words, folder=sweeps, name="confirmed")
    assert refused.code == 2
    assert "add the state `proposed`" in refused.err


@pytest.mark.parametrize("words", [("--format", "dicom"), ("--parquet",), ("--report",)])
def test_a_missing_package_is_named_before_anything_is_read(export, monkeypatch, words):
    monkeypatch.setattr("fetaliqa.extras.find_spec", lambda name: None)
    exported = export(*words)
    assert exported.code == 2
    assert "needs `pip install fetaliqa[export]`" in exported.err
    assert not exported.out.exists()
