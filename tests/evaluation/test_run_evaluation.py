"""The figures of a model on phantoms and on single images, with models whose answers are known."""

from __future__ import annotations

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from fetaliqa.cli.main import main
from fetaliqa.errors import NotFoundError, SweepError
from fetaliqa.evaluation.still_evaluation import evaluate_on_images, image_pairs
from fetaliqa.inference.predictor import ChunkPrediction
from fetaliqa.lab.phantom import PhantomSettings, generate_case
from fetaliqa.lab.phantom_evaluation import evaluate_on_phantoms
from fetaliqa.measure.square_grid import SquareGrid
from fetaliqa.model import Threshold
from fetaliqa.model.interval_file import Intervals
from fetaliqa.model.user_folders import demo_folder

SMALL = PhantomSettings(scale="half", sweeps=2, slots=24)
FIRST_SEED = 100


class KnowingPredictor:
    """Answers with masks it was given, by the frames' content."""

    is_segmentation = True
    image_size = 224
    threads = 0
    runtime = "torch"
    intervals = Intervals()
    card = SimpleNamespace(
        name="knowing", version="1", task="segmentation", anatomy="abdomen", threshold=Threshold()
    )

    def __init__(self) -> None:
        self.known: dict[bytes, np.ndarray] = {}

    def learn(self, frames: np.ndarray, masks: np.ndarray) -> None:
        self.known.update({frame.tobytes(): mask for frame, mask in zip(frames, masks)})

    def predict(self, frames, indices):
        grid = SquareGrid(*frames.shape[1:])
        empty = np.zeros(frames.shape[1:], np.uint8)
        masks = np.stack([self.known.get(frames[index].tobytes(), empty) for index in indices])
        yield ChunkPrediction(indices, grid.share_to_square(masks), None)


@pytest.fixture(scope="module")
def cases():
    return [generate_case(seed, SMALL) for seed in range(FIRST_SEED, FIRST_SEED + 2)]


def _evaluated(predictor):
    return evaluate_on_phantoms(predictor, 2, first_seed=FIRST_SEED, settings=SMALL)


def test_a_model_that_knows_all_gets_full_marks(cases):
    predictor = KnowingPredictor()
    for case in cases:
        predictor.learn(case.frames, case.masks)
    result = _evaluated(predictor)
    assert result["frame_f1"] == 1
    assert result["dice_on_annotated_frames"] > 0.98
    assert result["best_frame_within_15"] == 1
    assert result["ac_mean_relative_error"] < 0.03
    assert result["frame_offered_in_empty_sweep"] == 0
    assert result["frames"] == sum(sum(case.sweep_lengths) for case in cases)
    assert result["sweeps_with_annotation"] == sum(ac is not None for case in cases for ac in case.ac_mm)


def test_missed_and_invented_frames_cost_what_they_should(cases):
    predictor = KnowingPredictor()
    annotated, invented = 0, 0
    for case in cases:
        positive = np.flatnonzero(case.masks.any(axis=(1, 2)))
        annotated += len(positive)
        predictor.learn(case.frames[positive[::2]], case.masks[positive[::2]])
        negative = np.flatnonzero(~case.masks.any(axis=(1, 2)) & case.frames.any(axis=(1, 2)))[:3]
        predictor.learn(case.frames[negative], np.repeat(case.masks[positive[:1]], len(negative), axis=0))
        invented += len(negative)
    result = _evaluated(predictor)
    positives = sum(-(-int(case.masks.any(axis=(1, 2)).sum()) // 2) for case in cases)
    assert result["frame_recall"] == pytest.approx(positives / annotated)
    assert result["frame_precision"] == pytest.approx(positives / (positives + invented))
    assert result["dice_on_annotated_frames"] == pytest.approx(positives / annotated, abs=0.02)


def test_a_blind_model_gets_none(cases):
    result = _evaluated(KnowingPredictor())
    assert result["frame_recall"] == 0
    assert result["dice_on_annotated_frames"] == 0
    assert result["best_frame_within_15"] == 0
    assert result["ac_mean_relative_error"] is None


@pytest.fixture
def stills(tmp_path):
    """Three pictures with a bright disc; two have masks in a folder of their own, one beside it."""
    images, masks = tmp_path / "images", tmp_path / "masks"
    images.mkdir()
    masks.mkdir()
    disc = cv2.circle(np.zeros((120, 160), np.uint8), (80, 60), 30, 255, cv2.FILLED)
    for name in ("a", "b", "c"):
        picture = np.random.default_rng(ord(name)).integers(20, 90, (120, 160), dtype=np.uint8)
        cv2.imwrite(str(images / f"{name}.png"), np.maximum(picture, disc))
    cv2.imwrite(str(masks / "a.png"), disc)
    cv2.imwrite(str(masks / "b.png"), np.roll(disc, 30, axis=1))
    cv2.imwrite(str(images / "c_mask_gt.png"), disc)
    return images, masks, disc


def _sees(images, disc):
    predictor = KnowingPredictor()
    for name in ("a", "b"):
        predictor.learn(cv2.imread(str(images / f"{name}.png"), 0)[None], (disc > 0)[None].astype(np.uint8))
    return predictor


def test_single_images_are_compared_with_their_masks(stills):
    images, masks, disc = stills
    result = evaluate_on_images(_sees(images, disc), image_pairs(images, masks))
    overlaps = {row["image"]: row["dice"] for row in result["each"]}
    assert (result["images"], result["called_positive"]) == (2, 2)
    assert overlaps["a.png"] > 0.98
    assert 0.3 < overlaps["b.png"] < 0.7
    assert result["mean_dice"] == pytest.approx(np.mean(list(overlaps.values())), abs=1e-3)


def test_masks_may_lie_beside_their_images(stills):
    images, _, disc = stills
    assert [(a.name, b.name) for a, b in image_pairs(images, images)] == [("c.png", "c_mask_gt.png")]
    result = evaluate_on_images(_sees(images, disc), image_pairs(images, images))
    assert (result["called_positive"], result["mean_dice"]) == (0, 0.0)


def test_without_masks_only_the_positives_are_counted(stills):
    images, _, disc = stills
    result = evaluate_on_images(_sees(images, disc), image_pairs(images, None))
    assert (result["images"], result["called_positive"], result["mean_dice"]) == (3, 2, None)


def test_folders_that_do_not_fit_are_refused_with_a_sentence(stills, tmp_path):
    images, masks, disc = stills
    with pytest.raises(NotFoundError, match="no such folder"):
        image_pairs(images, tmp_path / "none")
    (tmp_path / "other").mkdir()
    with pytest.raises(SweepError, match="_mask_gt"):
        image_pairs(images, tmp_path / "other")
    cv2.imwrite(str(masks / "a.png"), disc[:50])
    with pytest.raises(SweepError, match="the mask is"):
        evaluate_on_images(_sees(images, disc), image_pairs(images, masks))


def test_the_command_prints_json(stills, sample_data, capsys):
    images, masks, _ = stills
    command = ["demo", "images", str(images), "--masks", str(masks), "--json"]
    assert main([*command, "--model", str(demo_folder())]) == 0
    assert json.loads(capsys.readouterr().out)["images_with_mask"] == 2
    assert main(["demo", "images", str(images / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert torch.is_inference_mode_enabled() is False
