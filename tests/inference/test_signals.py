"""Expected Dice and distance to the training data: in records, quality, ranking and warnings."""

from __future__ import annotations

import csv
import json

import cv2
import numpy as np
import pytest
import torch
from bundle_cards import a_card
from in_memory_data import a_case
from PIL import Image
from test_assessment import AXES, SPACING, brightness_predictor, drawn_frames

from fetaliqa.evaluation.frame_scorers import BundleScorer
from fetaliqa.evaluation.frame_table import CaseReader
from fetaliqa.inference import AssessOptions, assess
from fetaliqa.inference.model_outputs import Outputs
from fetaliqa.inference.predictor import Predictor
from fetaliqa.measure.plausibility import case_notes
from fetaliqa.model import (
    Architecture,
    Bundle,
    build_segmentation,
    normalise,
    save_bundle,
)
from fetaliqa.model.architecture import BackboneConfig, PyramidConfig
from fetaliqa.model.preprocess import CLIP_MEAN, CLIP_STD
from fetaliqa.sweep import sweep_from_array

DISTANCE_GREY, DICE_GREY = 100, 125  # grey value of a patch that stands for 1
SENTENCE = "unlike the images that the model was trained on"


def telling_predictor() -> Predictor:
    """Outlines what is bright, and reads expected Dice and distance from two patches beside it."""
    predictor = brightness_predictor()

    def answers(images: torch.Tensor) -> Outputs:
        left, right = (
            255 * (images[:, 0, 100:120, x : x + 20].mean(dim=(1, 2)) * CLIP_STD[0] + CLIP_MEAN[0])
            for x in (5, 200)
        )
        signals = torch.stack([right / DICE_GREY, left / DISTANCE_GREY], dim=1)
        return Outputs(torch.sigmoid(predictor.model(images)), images.mean(dim=(2, 3)), signals)

    predictor._answers = answers
    return predictor


def told_frames(told: dict[int, tuple[float, float]], count: int = 80) -> np.ndarray:
    """Frames with an outline whose model says (expected Dice, distance), by number; all others are at 0.2."""
    frames = drawn_frames(dict.fromkeys(told, AXES), count)
    for frame in range(count - 10):
        dice, distance = told.get(frame, (0.5, 0.2))
        frames[frame, 80:200, :60] = round(distance * DISTANCE_GREY)
        frames[frame, 80:200, -60:] = round(dice * DICE_GREY)
    return frames


def assessed(told: dict[int, tuple[float, float]], options: AssessOptions | None = None, spacing=SPACING):
    sweep = sweep_from_array(told_frames(told), None if spacing is None else (spacing, spacing))
    return assess(sweep, telling_predictor(), options).record


def test_a_record_tells_both_and_expected_dice_only_of_an_outline():
    record = assessed({30: (0.9, 0.5)})
    shown, empty, padding = (record["frames"][frame] for frame in (30, 3, 75))
    assert shown["expected_dice"] == pytest.approx(0.9, abs=0.01)
    assert shown["distance"] == pytest.approx(0.5, abs=0.01)
    assert shown["unlike_training_data"] is False
    assert shown["warning"] is None
    assert shown["quality_parts"]["expected_dice"] == shown["expected_dice"]
    assert "expected_dice" not in empty
    assert empty["distance"] == pytest.approx(0.2, abs=0.01)
    assert "distance" not in padding
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_a_model_without_them_has_none_of_it():
    frames = assess(sweep_from_array(told_frames({30: (0.9, 0.5)}), None), brightness_predictor()).record["frames"]
    assert not {"expected_dice", "distance", "unlike_training_data"} & set().union(*frames)


def test_a_distance_that_is_not_known_is_left_out():
    predictor = telling_predictor()
    answers = predictor._answers
    predictor._answers = lambda images: answers(images)._replace(
        signals=torch.tensor([[0.9, float("nan")]]).repeat(len(images), 1)
    )
    record = assess(sweep_from_array(told_frames({30: (0.9, 2.0)}), None), predictor).record
    assert record["frames"][30]["expected_dice"] == 0.9
    assert not any("distance" in frame for frame in record["frames"])
    assert record["notes"] == []


@pytest.mark.parametrize("dice", [0.9, 0.0])
def test_a_frame_like_the_training_data_comes_first_however_good_the_other_looks(dice):
    """Also where its neighbours speak against it, and those of the other ones for them."""
    unlike = dict.fromkeys(range(40, 50), (1.0, 1.2))
    record = assessed({10: (dice, 0.9), **unlike})
    assert record["best"] == record["ranking"][0] == record["sweeps"][0]["best"] == 10
    assert record["ranking"][1] in unlike
    assert SENTENCE not in (record["warning"] or "")
    assert record["frames"][45]["quality"] < 0.15 <= record["frames"][10]["quality"]
    assert record["frames"][45]["warning"].startswith(f"{SENTENCE} (distance 1.2")


@pytest.mark.parametrize("spacing", [SPACING, None])
def test_where_all_frames_are_unlike_it_the_best_one_is_offered_with_a_warning(spacing):
    """Without spacing too, where there is no circumference to warn of."""
    sweep = sweep_from_array(
        told_frames({0: (0.9, 1.25)}, 11)[:1], None if spacing is None else (spacing, spacing)
    )
    record = assess(sweep, telling_predictor()).record
    assert record["best"] == 0
    assert record["warning"] == f"{SENTENCE} (distance 1.25, limit 1); check that it shows the abdomen"
    assert record["notes"] == [f"the frame is {SENTENCE}; check that the case shows the abdomen"]


def test_a_low_expected_dice_is_warned_of():
    record = assessed({20: (0.69, 0.5), 50: (0.71, 0.5)})
    assert "expected Dice 0.69 is low; check the outline" in record["frames"][20]["warning"]
    assert "expected Dice" not in (record["frames"][50]["warning"] or "")


def test_a_search_finds_the_frame_that_is_like_the_training_data():
    signals = {**dict.fromkeys(range(20, 30), (0.9, 0.5)), **dict.fromkeys(range(50, 60), (1.0, 1.2))}
    record = assessed(signals, AssessOptions(search=True))
    assert record["best"] in range(20, 30)
    guessed = next(frame for frame in record["frames"] if frame.get("interpolated"))
    assert "distance" not in guessed


@pytest.mark.parametrize(
    ("seen", "unlike", "beginning"),
    [
        (1, 1, "the frame is"),
        (2, 2, "all 2 of 2 assessed frames are"),
        (40, 40, "all 40 of 40 assessed frames are"),
        (100, 10, "10 of 100 assessed frames are"),
        (100, 9, None),
        (10, 2, None),
        (10, 3, "3 of 10 assessed frames are"),
        (5, 0, None),
        (0, 0, None),
    ],
)
def test_the_case_is_noted_when_more_than_a_few_frames_are_unlike_it(seen, unlike, beginning):
    frames = [{"unlike_training_data": number < unlike} for number in range(seen)] + [{"padding": True}]
    notes = case_notes(["read so"], frames, "abdomen")
    assert notes[0] == "read so"
    assert (notes[1:] == []) if beginning is None else notes[1].startswith(f"{beginning} {SENTENCE}")


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    """Outlines whatever it sees, with an expected Dice of 0.62; to it, stripes are unlike its training data."""
    torch.manual_seed(3)
    architecture = Architecture("small", BackboneConfig(64, "test_efficientnet"), PyramidConfig(32, 32, 16))
    model = build_segmentation(architecture, random_init=True, encoder="full").eval()
    frames = np.zeros((3, 64, 64), np.uint8)
    for number in range(3):
        cv2.circle(frames[number], (32, 32), 28, 90 + number, cv2.FILLED)
    frames[:, 20:44:6, 10:54] = 250
    with torch.no_grad():
        for layer in (model.decoder.outline, model.decoder.frame[-1]):
            layer.weight.zero_()
            layer.bias.fill_(8.0)
        model.decoder.dice.scale.zero_()
        model.decoder.dice.offset.fill_(0.49)
        reference = model.decoder.reference
        features = model.reference_features(normalise(frames))[0]
        reference.whitening.copy_(torch.eye(len(features)))
        reference.mean.zero_()
        reference.limit.fill_(features.norm() / 1.7)
    card = a_card(model, name="strange")
    folder = tmp_path_factory.mktemp("strange")
    (folder / "images").mkdir()
    for number, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / "images" / f"still{number}.png")
    return save_bundle(model, card, folder / "bundle").directory, folder / "images"


def test_an_evaluation_ranks_with_them_as_score_does(strange):
    """A reader stands in for the predictor when a case is evaluated or a candidate is judged."""
    predictor = Predictor(Bundle.open(strange[0]), "cpu")
    case = a_case("one", [1, 1, 0])
    reader = CaseReader(BundleScorer(predictor), case, 0, "any", None)
    read, predicted = (list(each.predict(case.frames, np.arange(3))) for each in (reader, predictor))
    assert torch.equal(read[0].signals, predicted[0].signals)
    assert read[0].signals.shape == (3, 2)


def test_nobody_is_offered_such_a_frame_without_being_told(strange, tmp_path, capsys, monkeypatch):
    from fetaliqa.cli.main import main

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    bundle, images = strange
    model, image, out = ["--model", str(bundle), "--quiet"], str(images / "still0.png"), tmp_path / "out"
    distance = f"{SENTENCE} (distance 1.7"
    note = f"note: the frame is {SENTENCE}"
    for again in range(2):  # the second time from the cache, which knows the notes of reading the file only
        assert main(["score", image, *model, "--out", str(out / str(again))]) == 0
        shown = capsys.readouterr().out
        assert distance in shown
        assert note in shown
        assert "expected Dice 0.62 is low" in shown
        assert "expected Dice " in next(line for line in shown.splitlines() if "rank" in line)
    for table in ("summary.csv", "still0/frames.csv"):
        with open(out / "0" / table, newline="") as stream:
            (row,) = csv.DictReader(stream)
        assert float(row["distance"]) == pytest.approx(1.7, abs=0.02)
        assert float(row["expected_dice"]) == pytest.approx(0.62, abs=0.01)
        assert distance in row["note" if table == "summary.csv" else "warning"]
    assert main(["best", image, *model]) == 0
    shown = capsys.readouterr().out
    assert "expected Dice 0.62" in shown
    assert distance in shown
    assert note in shown
    assert main(["best", image, *model, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["distance"] > 1
    assert distance in record["remark"]
    words = ["--best", "--states", "proposed", "--model", str(bundle), "--report"]
    assert main(["export", str(images), str(tmp_path / "export"), *words]) == 0
    with open(tmp_path / "export" / "manifest.csv", newline="") as stream:
        assert all(distance in row["warning"] for row in csv.DictReader(stream))
    assert distance in (tmp_path / "export" / "report.html").read_text()
    assert "doubtful" in (tmp_path / "export" / "README.md").read_text()
