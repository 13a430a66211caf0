"""An answer exported for the ACOUSLIC-AI challenge is worth what ``fetaliqa evaluate`` says it is worth.

``program_figures`` takes the steps of the organisers' program (DIAGNijmegen/ACOUSLIC-AI-evaluation-method),
written anew from its description, on the files of an export; it shares no code with ``fetaliqa.evaluation``.
"""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import SimpleITK as sitk

from fetaliqa.cli.main import main
from fetaliqa.datasets.acouslic_layout import IMAGES, MASKS, Circumferences, write_case, write_circumferences
from fetaliqa.evaluation import official_field_of_view
from fetaliqa.evaluation.model_evaluation import evaluate
from fetaliqa.lab.phantom.phantom_case import generate_case
from fetaliqa.lab.phantom.phantom_settings import PhantomSettings
from fetaliqa.labels.dataset_kinds import open_labelled
from fetaliqa.model import Bundle
from fetaliqa.registry.model_store import resolve_bundle

pytestmark = pytest.mark.slow

SEEDS = (5, 13)  # whose outlines are cut by the border of the field of view
SLOTS = 40  # frames that are rendered; the program knows sweeps of 140
PROGRAM_SLOTS = 140
PIXEL_MM = 0.28
FIGURES = {"score": "score", "wfss": "wfss", "dice_soft": "dice", "nae_ac": "nae", "hausdorff_px": "hausdorff"}


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory) -> Path:
    """Phantoms of the challenge's size, one sweep each, with most slots black."""
    folder = tmp_path_factory.mktemp("phantoms")
    rows = []
    for seed in SEEDS:
        made = generate_case(seed, PhantomSettings(scale="full", sweeps=1, slots=SLOTS))
        frames, masks = (
            np.concatenate([stack, np.zeros((PROGRAM_SLOTS - SLOTS, *stack.shape[1:]), np.uint8)])
            for stack in (made.frames, made.masks)
        )
        name = f"case{seed}"
        write_case(folder, name, frames, masks, made.spacing_mm)
        rows.append(Circumferences(name, name, made.ac_mm))
    write_circumferences(folder, rows)
    return folder


def circumference_mm(mask: np.ndarray, sector: np.ndarray) -> float | None:
    """Through the outline's largest piece that is more than three pixels away from the sector's border."""

    def lines(area):
        drawn = np.zeros(np.add(area.shape, 400), np.uint8)
        contours, _ = cv2.findContours(np.pad(area, 200).astype(np.uint8), cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(drawn, contours, -1, 255, 1)
        return drawn

    border = cv2.dilate(lines(sector), np.ones((3, 3), np.uint8), iterations=3)
    outline = np.where((lines(mask & sector) > 0) & (border == 0), 255, 0).astype(np.uint8)
    pieces, _ = cv2.findContours(outline, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    if not pieces or len(largest := max(pieces, key=cv2.contourArea)) <= 5:
        return None
    _, (first, second), _ = cv2.fitEllipse(largest)
    a, b = first / 2, second / 2
    return PIXEL_MM * np.pi * (3 * (a + b) - np.sqrt((3 * a + b) * (a + 3 * b)))


def program_figures(export: Path, data: Path, ac_mm: dict[str, list[float | None]]) -> dict[str, float]:
    sector = official_field_of_view() > 0
    values = []
    for job in json.loads((export / "predictions.json").read_text()):
        paths = {one["interface"]["slug"]: one["interface"]["relative_path"] for one in job["outputs"]}
        output = export / job["pk"] / "output"
        (file,) = (output / paths["fetal-abdomen-segmentation"]).glob("*.mha")
        stack = sitk.GetArrayFromImage(sitk.ReadImage(str(file)))
        assert np.isin(np.unique(stack), [0, 1]).all()
        frame = json.loads((output / paths["fetal-abdomen-frame-number"]).read_text())
        truth = sitk.GetArrayFromImage(sitk.ReadImage(str(data / MASKS / job["inputs"][0]["image"]["name"])))
        labels = [next((value for value in (1, 2) if (one == value).any()), 0) for one in truth]
        assert labels[frame], "the soft part of the Dice is tested elsewhere"
        predicted, reference = (stack[frame] > 0) & sector, (truth[frame] > 0) & sector
        hausdorff = sitk.HausdorffDistanceImageFilter()
        hausdorff.Execute(*(sitk.GetImageFromArray(one.astype(np.uint8)) for one in (reference, predicted)))
        measured, expected = circumference_mm(stack[frame] > 0, sector), ac_mm[job["pk"]][frame // PROGRAM_SLOTS]
        assert measured is not None
        assert expected is not None
        values.append(
            {
                "wfss": 1.0 if labels[frame] == 1 or 1 not in labels else 0.6,
                "dice": 2 * (predicted & reference).sum() / (predicted.sum() + reference.sum()),
                "nae": abs(expected - measured) / max(expected, measured),
                "hausdorff": hausdorff.GetHausdorffDistance(),
            }
        )
    means = {name: float(np.mean([one[name] for one in values])) for name in values[0]}
    return means | {"score": 0.5 * (1 - means["nae"]) + 0.25 * means["wfss"] + 0.25 * means["dice"]}


def test_an_export_for_the_challenge_scores_what_evaluate_says(phantoms, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    words = ["--format", "challenge", "--best", "--states", "proposed", "--model", "demo"]
    assert main(["export", str(phantoms / IMAGES), str(tmp_path / "export"), *words]) == 0
    data = open_labelled(phantoms)
    cases = [entry.case_id for entry in data.entries()]
    evaluation = evaluate(Bundle.open(resolve_bundle("demo")), data, cases, bootstrap=0)
    ac_mm = {one.case_id: [one.reference_mm] for one in evaluation.measurements()}
    expected = program_figures(tmp_path / "export", phantoms, ac_mm)
    assert evaluation.challenge is not None
    for figure, name in FIGURES.items():
        assert evaluation.challenge["official"][figure].value == pytest.approx(expected[name], abs=5e-5), figure


def test_the_field_of_view_is_the_challenge_s(shared_data):
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(shared_data / "acouslic" / "fov_mask.mha")))
    assert np.array_equal(official_field_of_view() > 0, theirs > 0)
