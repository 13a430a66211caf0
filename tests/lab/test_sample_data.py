"""The sample data: phantom sweeps in ACOUSLIC-AI's layout; real stills beside them, attributed and held out."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from acouslic_files import case_paths

from fetaliqa.datasets.acouslic import Acouslic, verify
from fetaliqa.datasets.acouslic_layout import IMAGES
from fetaliqa.errors import OptionError
from fetaliqa.evaluation.still_evaluation import image_pairs
from fetaliqa.lab.phantom import PhantomSettings
from fetaliqa.lab.phantom import sample_data as making
from fetaliqa.lab.stills.outline_tables import PACKAGED, outline_table
from fetaliqa.lab.stills.shipped_split import held_out
from fetaliqa.lab.stills.still_catalogue import read_catalogue
from fetaliqa.lab.stills.still_image import CC_BY, read_picture
from fetaliqa.measure import draw_ellipse
from fetaliqa.sweep import read_sweep
from fetaliqa.sweep.case_paths import look_into

ROW = re.compile(r"^\| `(\S+\.png)` \|.*\| (CC BY [\d.]+) \| none \| `([0-9a-f]{16})` \|$", re.MULTILINE)


@pytest.fixture
def stills(sample_data: Path) -> list[Path]:
    return sorted((sample_data / IMAGES).glob("*.png"))


def test_every_still_is_attributed_and_unchanged(sample_data: Path, stills: list[Path]) -> None:
    text = (sample_data / "ATTRIBUTION.md").read_text(encoding="utf-8")
    documented = {row[0]: row[1:] for row in ROW.findall(text)}
    present = {still.name: (CC_BY, hashlib.sha256(still.read_bytes()).hexdigest()[:16]) for still in stills}
    assert 6 <= len(stills) <= 10
    assert documented == present


def test_no_still_taught_the_default_model(stills: list[Path], shared_data: Path, tmp_path: Path) -> None:
    for folder in shared_data.iterdir():
        if folder.name.startswith(("african_", "fp_")):  # the sets that they are of
            (tmp_path / folder.name).symlink_to(folder)
    kept_back = {one.file.name: one for one in held_out(read_catalogue(tmp_path), "abdomen")}
    assert {still.name for still in stills} <= kept_back.keys()
    for still in stills:
        assert kept_back[still.name].licence == CC_BY
        assert kept_back[still.name].file.read_bytes() == still.read_bytes()


def test_outlines_of_the_abdomens_are_those_of_the_tables(sample_data: Path, stills: list[Path]) -> None:
    drawn = outline_table(PACKAGED / "african.csv") | outline_table(PACKAGED / "spanish.csv")
    masks = sample_data / "masks" / "stills"
    assert {mask.name for mask in masks.iterdir()} == {still.name for still in stills if still.name in drawn}
    for mask in masks.iterdir():
        picture, row = read_picture(sample_data / IMAGES / mask.name), drawn[mask.name]
        assert row.fits(picture)
        filled = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
        assert np.array_equal(filled, draw_ellipse(row.ellipse, picture.shape) * 255)


def test_stills_and_sweeps_are_cases_and_nothing_is_left_out(sample_data: Path, stills: list[Path]) -> None:
    cases, left_out = look_into(sample_data)
    sweeps = [image for image, _ in case_paths(sample_data)]
    assert (cases, left_out) == (sorted([*sweeps, *stills]), [])
    assert {read_sweep(still).shape[0] for still in stills} == {1}
    pairs = image_pairs(sample_data / IMAGES, sample_data / "masks" / "stills")
    assert [image.name for image, _ in pairs] == [
        still.name for still in stills if (sample_data / "masks" / "stills" / still.name).is_file()
    ]


def test_the_phantom_sweeps_are_a_sound_data_set_beside_the_stills(sample_data: Path) -> None:
    report = verify(sample_data)
    assert (report.name, report.cases, report.readable, report.problems) == ("phantom", 3, 3, [])
    assert len(Acouslic(sample_data).entries()) == 3


def test_phantoms_are_made_again_beside_stills_and_never_over_others(
    tmp_path: Path, stills: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "CASES", 1)
    monkeypatch.setattr(making, "SETTINGS", PhantomSettings(scale="half", sweeps=1, slots=20))
    folder = tmp_path / "sample"
    (folder / IMAGES).mkdir(parents=True)
    still = folder / IMAGES / stills[0].name
    still.write_bytes(stills[0].read_bytes())
    written = making.make_sample_data(folder)
    assert len(case_paths(folder)) == 1
    assert {path.parent.name for path in written} == {
        "sample",
        "circumferences",
        "stacked_fetal_ultrasound",
        "stacked_fetal_abdomen",
    }
    assert still.read_bytes() == stills[0].read_bytes()
    with pytest.raises(OptionError, match="exists already"):
        making.make_sample_data(folder)
    assert len(case_paths(folder)) == 1
