from __future__ import annotations

import math
from importlib.util import find_spec

import cv2
import numpy as np
import pytest

from fetaliqa.errors import OptionError
from fetaliqa.lab.image_quality import (
    MEASURES,
    classic_scores,
    evaluate_classic,
    measure_list,
    measure_table,
    runnable_measures,
    trainable_measures,
)

HEIGHT, WIDTH = 120, 160


def fan(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    mask = np.zeros((height, width), np.uint8)
    cv2.fillConvexPoly(mask, np.array([[60, 10], [100, 10], [140, 90], [80, 110], [20, 90]]), 1)
    return mask


def speckle(count: int, seed: int = 3, blur: float = 1.0) -> np.ndarray:
    """Frames that look like tissue inside of a fan, uint8 [count, HEIGHT, WIDTH]."""
    rng = np.random.default_rng(seed)
    frames = []
    for _ in range(count):
        field = cv2.GaussianBlur(rng.rayleigh(1.0, (HEIGHT, WIDTH)), (0, 0), blur)
        frames.append(np.clip(60 + 60 * (field - field.mean()) / field.std(), 3, 255) * fan())
    return np.array(frames).astype(np.uint8)


def scores(frames: np.ndarray, *names: str, padding=None, ranges=None, **options) -> dict[str, np.ndarray]:
    padding = np.zeros(len(frames), bool) if padding is None else padding
    return classic_scores(frames, padding, ranges or [(0, len(frames))], names or None, **options)


def test_every_measure_that_can_run_gives_each_frame_a_finite_value():
    by_measure = scores(speckle(3))
    assert list(by_measure) == runnable_measures()
    assert {"sharpness", "entropy", "contrast"} <= set(by_measure)
    for name, values in by_measure.items():
        assert values.shape == (3,), name
        assert np.isfinite(values).all(), name


@pytest.mark.parametrize("name", ["sharpness", "blur", "total_variation"])
def test_blurring_is_seen_by_measures_of_sharpness(name):
    if name not in runnable_measures():
        pytest.skip(f"{name}: {MEASURES[name].why_not()}")
    values = [scores(speckle(1, blur=sigma), name)[name][0] for sigma in (0.7, 1.5, 3.0)]
    assert values == sorted(values, reverse=name != "blur")


def test_brisque_grades_a_noisy_photograph_worse_than_the_photograph():
    pytest.importorskip("brisque")
    skimage_data = pytest.importorskip("skimage.data")
    photograph = skimage_data.camera()
    noise = np.random.default_rng(1).normal(0, 40, photograph.shape)
    noisy = np.clip(photograph + noise, 0, 255).astype(np.uint8)
    whole = np.ones(photograph.shape, np.uint8)
    good, bad = scores(np.stack([photograph, noisy]), "brisque", sector=whole)["brisque"]
    assert good + 10 < bad


def test_flat_frames_have_no_entropy_and_no_contrast():
    frames = np.full((1, 40, 50), 90, np.uint8)
    values = scores(frames, "entropy", "contrast", "sharpness")
    assert values["entropy"][0] == values["contrast"][0] == values["sharpness"][0] == 0


def test_two_equally_frequent_grey_levels_are_one_bit_and_half_of_full_scale():
    frame = np.tile(np.array([0, 255], np.uint8), (1, 40, 20))
    values = scores(frame, "entropy", "contrast", sector=np.ones((40, 40)))
    assert values["entropy"][0] == pytest.approx(1.0)
    assert values["contrast"][0] == pytest.approx(0.5)


def test_black_around_the_fan_changes_nothing():
    frames = speckle(3)
    wide = np.pad(frames, ((0, 0), (30, 50), (70, 20)))
    near, far = scores(frames), scores(wide)
    for name in near:
        assert np.allclose(near[name], far[name]), name


def test_the_fans_edge_is_not_taken_for_sharpness():
    flat = (fan() * 200)[None]
    assert scores(flat, "sharpness")["sharpness"][0] == 0


@pytest.fixture
def similarity() -> str:
    pytest.importorskip("piq")
    return "ssim"


def test_repeated_frames_are_alike_and_foreign_ones_are_not(similarity):
    frames = np.concatenate([np.repeat(speckle(1), 3, axis=0), speckle(1, seed=9)])
    for name in (similarity, "vif"):
        values = scores(frames, name)[name]
        assert values[:2] == pytest.approx([1.0, 1.0], abs=1e-3), name
        assert values[3] < 0.5 < values[2] < 0.9, name  # the third has one neighbour of each kind


def test_neighbours_are_of_the_same_sweep_and_no_padding(similarity):
    frames = speckle(7)
    frames[5] = 0
    padding = np.array([False] * 5 + [True, False])
    values = scores(frames, similarity, padding=padding, ranges=[(0, 2), (2, 7)])[similarity]
    pair = scores(frames[:2], similarity, sector=fan())[similarity]
    assert values[:2] == pytest.approx(pair)
    assert np.isnan(values[[5, 6]]).all()  # padding, and a frame whose only neighbour is padding
    assert np.isfinite(values[[2, 3, 4]]).all()


def test_padding_is_not_scored_and_a_case_of_padding_has_no_values():
    frames = speckle(2)
    frames[1] = 0
    assert np.isnan(scores(frames, "entropy", padding=np.array([False, True]))["entropy"]).tolist() == [
        False,
        True,
    ]
    assert np.isnan(scores(frames, "entropy", padding=np.array([True, True]))["entropy"]).all()


def test_a_box_too_small_for_a_measure_is_not_scored(similarity):
    frames = np.random.default_rng(0).integers(5, 255, (2, 20, 20), np.uint8)
    values = scores(frames, similarity, "vif", sector=np.ones((20, 20)))
    assert np.isfinite(values[similarity]).all()
    assert np.isnan(values["vif"]).all()


def test_progress_counts_each_measure_of_each_frame():
    seen: list[tuple[int, int]] = []
    scores(speckle(3), "entropy", "contrast", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(step, 6) for step in range(1, 7)]


def test_measures_that_cannot_run_say_why(monkeypatch):
    rows = {row["name"]: row["why_not"] for row in measure_table()}
    assert rows["entropy"] is rows["piqe"] is rows["iqa_cnn"] is None
    monkeypatch.setattr(measure_list, "find_spec", lambda package: None)
    rows = {row["name"]: row["why_not"] for row in measure_table()}
    assert rows["ifc"] == "not run: pyrtools is not installed; install the extra iqa"
    with pytest.raises(OptionError, match="IFC with neighbours: not run: pyrtools is not installed"):
        scores(speckle(1), "ifc")
    with pytest.raises(OptionError, match="unknown quality measure 'nice'; known: sharpness"):
        scores(speckle(1), "nice")


def test_a_trained_measure_is_refused_until_it_is_trained():
    assert "iqa_cnn" in trainable_measures()
    assert "iqa_cnn" not in runnable_measures()
    with pytest.raises(OptionError, match="IQA-CNN: has to be trained first"):
        scores(speckle(1), "iqa_cnn")
    values = scores(speckle(2), "iqa_cnn", trained={"iqa_cnn": lambda frame, inside: float(inside.mean())})
    assert values["iqa_cnn"] == pytest.approx([values["iqa_cnn"][0]] * 2)


@pytest.mark.skipif(find_spec("pyiqa") is not None, reason="pyiqa is installed")
def test_networks_of_photographs_are_no_row_where_their_package_is_missing():
    for name in ("cnniqa_photographs", "maniqa_photographs", "tres_photographs"):
        assert "pyiqa is not installed" in str(MEASURES[name].why_not())
        assert name not in runnable_measures()
        assert name not in [row["name"] for row in measure_table()]


def test_arrays_that_do_not_fit_together_are_refused():
    frames = speckle(2)
    with pytest.raises(ValueError, match=r"padding \(3,\)"):
        classic_scores(frames, np.zeros(3, bool), [(0, 2)])
    with pytest.raises(ValueError, match=r"sweep of frames \[0, 3\)"):
        scores(frames, ranges=[(0, 3)])
    with pytest.raises(ValueError, match="field of view of shape"):
        scores(frames, sector=np.ones((3, 3)))
    with pytest.raises(ValueError, match="holds no pixel"):
        scores(frames, sector=np.zeros((HEIGHT, WIDTH)))


TRUTH = np.array([True, True, False, False, False, False])


def result(validation, test, validation_truth=TRUTH, test_truth=TRUTH):
    (only,) = evaluate_classic({"m": np.array(validation)}, validation_truth, {"m": np.array(test)}, test_truth)
    return only


def test_direction_and_threshold_come_from_validation():
    measured = result([1.0, 2, 5, 6, 7, 8], [3.0, 4.0, 3.4, 6, 7, 8])
    assert measured.higher_is_positive is False
    assert measured.threshold == pytest.approx(3.5)  # halfway between 2 and 5
    assert measured.roc_auc == pytest.approx(7 / 8)
    assert (measured.precision, measured.recall, measured.f1) == (0.5, 0.5, 0.5)
    assert measured.accuracy == pytest.approx(4 / 6)


def test_a_direction_that_turns_round_on_the_test_frames_is_not_corrected():
    measured = result([9.0, 8, 1, 2, 3, 4], [1.0, 2, 5, 6, 7, 8])
    assert measured.higher_is_positive is True
    assert measured.roc_auc == 0


def test_scaling_a_measure_or_turning_it_over_changes_no_figure():
    rng = np.random.default_rng(2)
    truth = rng.random(80) < 0.3
    validation, test = rng.normal(size=80) + truth, rng.normal(size=80) + truth
    plain = result(validation, test, truth, truth)
    turned = result(-50 * validation + 7, -50 * test + 7, truth, truth)
    for figure in ("roc_auc", "average_precision", "f1", "precision", "recall", "accuracy"):
        assert getattr(plain, figure) == pytest.approx(getattr(turned, figure)), figure
    assert plain.higher_is_positive is not turned.higher_is_positive


def test_the_threshold_has_the_best_f1_of_all_thresholds():
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(6)
    truth = rng.random(60) < 0.4
    values = np.round(rng.normal(size=60) + truth, 1)  # with ties
    measured = result(values, values, truth, truth)
    best = max(f1_score(truth, values >= threshold) for threshold in np.unique(values))
    assert measured.f1 == pytest.approx(best)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_frames_without_a_value_are_ranked_last_and_negative(sign):
    test = sign * np.array([math.nan, 9.0, 1, 2, 3, math.nan])
    measured = result(sign * np.array([9.0, 8, 1, 2, 3, 4]), test)
    assert measured.unscored == 2
    assert (measured.precision, measured.recall) == (1.0, 0.5)
    # the positive without a value loses to three scored negatives and ties with the unscored one
    assert measured.roc_auc == pytest.approx((4 + 0.5) / 8)


def test_sets_without_both_classes():
    with pytest.raises(OptionError, match="3 validation frames are all of one class"):
        result([1.0, 2, 3], [1.0], np.zeros(3, bool), np.zeros(1, bool))
    measured = result([9.0, 8, 1, 2, 3, 4], [1.0, 2], TRUTH, np.zeros(2, bool))
    assert (measured.roc_auc, measured.average_precision, measured.f1) == (None, None, None)
    assert measured.accuracy == 1.0
    blank = result([math.nan] * 6, [1.0] * 6)
    assert (blank.roc_auc, blank.reason) == (None, "no validation frame has a value")


def test_results_of_different_frames_or_measures_are_not_mixed():
    with pytest.raises(ValueError, match=r"m: values of shape \(2,\) for 6 frames"):
        result([1.0, 2], [1.0] * 6)
    with pytest.raises(ValueError, match="for validation"):
        evaluate_classic({"a": np.zeros(6)}, TRUTH, {"b": np.zeros(6)}, TRUTH)
