"""The models that ship: whole, small, plain about what they are, of use on real stills from a fresh install."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import SimpleITK as sitk

import fetaliqa
from fetaliqa.errors import BundleError
from fetaliqa.evaluation.frame_metrics import dice
from fetaliqa.lab.stills.outline_tables import PACKAGED
from fetaliqa.measure import Line
from fetaliqa.model import Bundle
from fetaliqa.model.bundle_verification import verify_bundle
from fetaliqa.model.user_folders import DEFAULT_VARIABLE, HOME_VARIABLE, SHIPPED, default_model, shipped_folder
from fetaliqa.registry.model_store import resolve_bundle
from fetaliqa.registry.publishing import publish_bundle

MOST_BYTES = 10_000_000  # of a bundle
LEAST_DICE = 0.8  # two readers agree to 0.93 at least
SETS = ("1327317", "7540448", "3904280")  # Zenodo records
ABDOMENS = (
    "Patient00789_Plane2_1_of_1",
    "Patient01171_Plane2_1_of_1",
    "patient013_MWI_plane0",
    "patient023_DZA_plane0",
    "patient025_EGY_plane0",
)
FEMUR, BRAIN = "patient033_DZA_plane2", "Patient01079_Plane3_1_of_3"


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory, sample_data: Path) -> Path:
    """What ``fetaliqa score`` writes of the sample stills, for a user who has set and published nothing."""
    root = tmp_path_factory.mktemp("fresh")
    stills = sorted((sample_data / "images" / "stacked_fetal_ultrasound").glob("*.png"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FETALIQA_")}
    done = subprocess.run(
        [sys.executable, "-m", "fetaliqa", "score", *map(str, stills), "--out", str(root / "out"), "--quiet"],
        env=environment | {HOME_VARIABLE: str(root / "home"), "XDG_CACHE_HOME": str(root / "cache")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "model abdomen" in done.stdout
    assert "not for clinical use" in done.stdout
    return root / "out"


def record(scored: Path, name: str) -> dict[str, Any]:
    return json.loads((scored / name / "assessment.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_bundle_that_ships_is_whole_and_small(name: str) -> None:
    bundle = Bundle.open(resolve_bundle(name))
    assert set(verify_bundle(bundle).files) == set(bundle.card.files)
    assert sum(file.stat().st_size for file in bundle.directory.rglob("*") if file.is_file()) <= MOST_BYTES


@pytest.mark.parametrize("name", SHIPPED)
def test_its_card_says_what_it_is_for_and_whose_images_it_learnt_from(name: str) -> None:
    card = Bundle.open(resolve_bundle(name)).card
    assert (card.name, card.anatomy, card.task) == (name, name, "segmentation")
    assert "not for any clinical use" in card.intended_use.lower()
    assert "CC BY 4.0" in card.licence
    assert "CC BY 4.0" in card.training_data.description
    assert [number for number in SETS if number not in card.training_data.description] == []


def test_the_card_of_the_abdomen_model_says_who_outlined_them() -> None:
    assert "outlined by non-sonographers" in Bundle.open(resolve_bundle("abdomen")).card.limitations


@pytest.mark.parametrize("name", SHIPPED)
def test_nobody_publishes_under_the_name_of_a_model_that_ships(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HOME_VARIABLE, str(tmp_path))
    with pytest.raises(BundleError, match="reserved"):
        publish_bundle(shipped_folder(name))
    assert not (tmp_path / "models" / name).exists()


def test_the_default_model_is_that_of_the_abdomen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(DEFAULT_VARIABLE, raising=False)
    assert default_model() == "abdomen"
    assert resolve_bundle(default_model()) == shipped_folder("abdomen")


@pytest.mark.parametrize("name", ABDOMENS)
def test_a_real_abdomen_is_outlined_by_a_fresh_install(name: str, scored: Path, sample_data: Path) -> None:
    masks = sitk.GetArrayFromImage(sitk.ReadImage(str(scored / name / "masks.mha")))
    drawn = cv2.imread(str(sample_data / "masks" / "stills" / f"{name}.png"), cv2.IMREAD_GRAYSCALE)
    assert record(scored, name)["best"] == 0
    assert dice(masks.reshape(drawn.shape), drawn > 0) >= LEAST_DICE


@pytest.mark.parametrize("name", [FEMUR, BRAIN])
def test_what_shows_no_abdomen_is_not_outlined(name: str, scored: Path) -> None:
    assessment = record(scored, name)
    assert assessment["frames"][0]["positive"] is False
    assert assessment["best"] is None


@pytest.mark.parametrize("name", [*ABDOMENS, FEMUR, BRAIN])
def test_a_still_that_is_unlike_the_training_data_is_told_so_and_no_other(name: str, scored: Path) -> None:
    assessment = record(scored, name)
    noted = any("unlike the images" in note for note in assessment["notes"])
    assert assessment["frames"][0]["distance"] >= 0
    assert noted == assessment["frames"][0]["unlike_training_data"] == (assessment["frames"][0]["distance"] >= 1)


def test_a_real_femur_is_measured_as_a_line_close_to_the_one_that_was_drawn(sample_data: Path) -> None:
    still = sample_data / "images" / "stacked_fetal_ultrasound" / f"{FEMUR}.png"
    with (PACKAGED / "african_femur_lines.csv").open(encoding="utf-8") as stream:
        row = next(row for row in csv.DictReader(stream) if row["file"] == still.name)
    drawn = Line(*(float(row[name]) for name in ("x1", "y1", "x2", "y2")))
    frame = fetaliqa.assess(fetaliqa.read_sweep(still), fetaliqa.load_model("femur", "cpu")).best
    assert frame is not None
    assert frame.line is not None
    assert frame.line.length == pytest.approx(drawn.length, rel=0.12)
    assert np.abs(frame.line.ends() - drawn.ends()).max() < 0.12 * drawn.length
    assert frame.length_absent == "no pixel spacing in the file"
    assert frame.circumference_mm is None
