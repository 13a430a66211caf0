"""The quality measures that are trained: they learn, are kept, and fill the table."""

import numpy as np
import pytest
import torch
from paper_study import a_study

from fetaliqa.errors import OptionError
from fetaliqa.lab.image_quality import MEASURES, grade_correlation, trained_measures
from fetaliqa.lab.image_quality.frame_sample import (
    INPUT_COLUMNS,
    INPUT_ROWS,
    LONGEST_SIDE,
    FrameSample,
    fitted,
    sample_frames,
    shrunk,
)
from fetaliqa.lab.image_quality.measure_evaluation import ClassicResult
from fetaliqa.lab.image_quality.patch_network import PATCH, PatchNetwork, normalised_patches
from fetaliqa.lab.image_quality.structure_network import plane_structures
from fetaliqa.lab.image_quality.trained_measures import EFFORTS, Effort, train_measure
from fetaliqa.lab.paper import image_quality_table, measure_training
from fetaliqa.lab.paper import structures_table as structures_module
from fetaliqa.lab.paper.image_quality_table import classic_table
from fetaliqa.lab.paper.structures_table import structures_table
from fetaliqa.model import trainable_count

QUICK = {
    "iqa_cnn": Effort(40, 16, 1e-3),
    "triq": Effort(3, 2, 1e-4),
    "maniqa": Effort(3, 2, 1e-4),
    "fuiqa": Effort(3, 2, 1e-4, phantoms=1),
}


def ignore(*_):
    pass


@pytest.fixture
def quick(monkeypatch):
    for name, effort in QUICK.items():
        monkeypatch.setitem(EFFORTS, name, effort)


def smooth_and_rough(count=12, side=96):
    """Frames of smooth (quality 1) and rough (0) texture."""
    import cv2

    random = np.random.default_rng(3)
    frames, grades = [], []
    for number in range(count):
        sigma = 3.0 if number % 2 else 0.6
        field = cv2.GaussianBlur(random.normal(0, 1, (side, side)), (0, 0), sigma)
        frames.append(np.clip(120 + 30 * field / field.std(), 0, 255).astype(np.uint8))
        grades.append(number % 2)
    inside = tuple(np.ones((side, side), bool) for _ in frames)
    return FrameSample(tuple(frames), inside, np.array(grades, np.uint8))


@pytest.mark.parametrize("name", ["iqa_cnn", "bliinds2"])
def test_a_small_measure_learns_what_distinguishes_frames_and_is_read_back_the_same(name, tmp_path):
    if (reason := MEASURES[name].why_not()) is not None:
        pytest.skip(reason)
    sample, file = smooth_and_rough(), tmp_path / "measures" / "one.safetensors"
    score = train_measure(name, lambda: sample, file, ignore, effort=QUICK.get(name))
    unseen = smooth_and_rough(8, side=110)
    values = np.array([score(frame, inside) for frame, inside in zip(unseen.frames, unseen.inside)])
    assert values[unseen.grades == 1].min() > values[unseen.grades == 0].max()
    again = train_measure(name, lambda: pytest.fail("trained again"), file, ignore)
    assert again(unseen.frames[0], unseen.inside[0]) == values[0]


def test_iqa_cnn_has_the_paper_s_layers():
    network = PatchNetwork()
    assert trainable_count(network) == 50 * (49 + 1) + 101 * 800 + 801 * 800 + 801
    patch = torch.zeros(1, PATCH, PATCH)
    patch[0, 10, 10] = 1.0
    with torch.inference_mode():
        moved = network.eval()(torch.roll(patch, (3, 4), (1, 2)))
        assert network(patch).item() == pytest.approx(moved.item(), abs=1e-6)  # extremes, wherever they are


def test_patches_are_even_and_lie_inside():
    frame = np.random.default_rng(0).integers(0, 255, (96, 128)).astype(np.uint8)
    inside = np.zeros(frame.shape, bool)
    inside[:64, :70] = True
    patches = normalised_patches(frame, inside)
    assert patches.shape == (4, PATCH, PATCH)
    assert abs(patches.mean()) < 0.05
    assert len(normalised_patches(frame, np.zeros_like(inside))) == 0
    doubled = normalised_patches((frame // 2).astype(np.uint8), inside)
    assert np.abs(doubled - patches).mean() < 0.05  # contrast is taken out


def test_networks_see_a_frame_whole_and_in_its_proportions():
    frame = np.full((100, 400), 200, np.uint8)
    rows, columns = np.nonzero(fitted(frame))
    assert fitted(frame).shape == (INPUT_ROWS, INPUT_COLUMNS)
    assert (np.ptp(columns) + 1) / (np.ptp(rows) + 1) == pytest.approx(4.0, abs=0.1)
    assert max(shrunk(np.zeros((500, 800), np.uint8), np.zeros((500, 800), bool))[0].shape) == LONGEST_SIDE


def test_only_labelled_frames_of_the_training_part_are_learnt_from():
    study = a_study(None)
    case = study.data.read("case-0")
    case.frames[11] = 255  # the frame that nobody looked at
    sample = sample_frames([case], 50, seed=1)
    assert len(sample) == 23
    assert (sample.grades > 0).sum() == 4
    assert all(frame.mean() < 250 for frame in sample.frames)
    assert sorted(set(sample.targets)) == [0.0, 0.5, 1.0]


class Painted(torch.nn.Module):
    """Stands for the network: structures at fixed places."""

    def forward(self, frames):
        logits = torch.full((len(frames), 3, INPUT_ROWS, INPUT_COLUMNS), -9.0)
        logits[:, 0, 40:120, 60:160] = 9.0
        logits[:, 1, 60:70, 80:90] = 9.0
        logits[:, 2, 10:20, 10:20] = 9.0  # a vein outside of the abdomen is none
        return logits


def test_structures_count_inside_of_an_abdomen_that_is_in_view():
    frame, inside = np.full((INPUT_ROWS, INPUT_COLUMNS), 90, np.uint8), np.ones((INPUT_ROWS, INPUT_COLUMNS), bool)
    seen = plane_structures(Painted(), frame, inside)
    assert (seen.in_view, seen.stomach, seen.vein) == pytest.approx((1.0, 1.0, 0.0), abs=0.01)
    assert seen.score == pytest.approx(2 / 3, abs=0.01)
    assert not seen.masks[2].any()
    inside[:, 110:] = False  # half of the abdomen is cut off
    cut = plane_structures(Painted(), frame, inside)
    assert cut.in_view < 0.8 * seen.in_view
    assert plane_structures(Painted(), frame, np.zeros_like(inside)).score == 0.0


def test_correlation_with_the_grade_follows_none_suboptimal_optimal():
    result = ClassicResult("m", False, 0.0, *[None] * 6, 4, 0)
    assert grade_correlation(result, np.array([9.0, 1, 5, 9]), np.array([0, 1, 2, 0])) == pytest.approx(1.0)
    assert grade_correlation(result, np.array([9.0, np.nan, 5, 9]), np.array([0, 1, 2, 0])) < 0.3
    assert grade_correlation(result, np.ones(4), np.array([0, 1, 2, 0])) is None


@pytest.mark.long
def test_the_table_has_no_measure_that_was_not_run(tmp_path, quick):
    table = classic_table(a_study(tmp_path))
    assert [reason for reason in table.not_run.values() if "not installed" not in reason] == []
    rows = {row["measure"].text: row for row in table.rows}
    for name in QUICK:
        row = rows[MEASURES[name].label]
        assert 0 <= row["roc_auc"].mean <= 1, name
        assert row["unscored"].text == "0"


def test_the_table_trains_a_measure_once_and_scores_each_case_once(tmp_path, quick, monkeypatch):
    few = {name: MEASURES[name] for name in ("entropy", "ssim", "iqa_cnn")}
    monkeypatch.setattr(image_quality_table, "MEASURES", few)
    monkeypatch.setattr(measure_training, "trainable_measures", lambda: ["iqa_cnn"])
    study = a_study(tmp_path)
    table = classic_table(study)
    rows = {row["measure"].text: row for row in table.rows}
    assert 0.5 < rows["IQA-CNN"]["roc_auc"].mean <= 1  # discs are brighter than noise
    assert -1 <= rows["IQA-CNN"]["correlation"].mean <= 1
    monkeypatch.setattr(trained_measures, "fit_network", lambda *_: pytest.fail("trained again"))
    monkeypatch.setattr(image_quality_table, "classic_scores", lambda *_, **__: pytest.fail("scored again"))
    assert classic_table(study).rows == table.rows


def test_measures_are_not_trained_where_only_results_are_asked_for(tmp_path, quick):
    table = classic_table(a_study(tmp_path, only_done=True))
    assert "IQA-CNN: was not trained yet" in table.not_run["IQA-CNN"]
    assert not (tmp_path / "measures").exists()


@pytest.mark.long
def test_the_structures_are_judged_on_phantoms_of_their_own(tmp_path, quick, monkeypatch):
    monkeypatch.setattr(structures_module, "CASES", 1)
    table = structures_table(a_study(tmp_path))
    assert [row["structure"].text for row in table.rows] == ["abdomen", "stomach", "vein"]
    assert not table.not_run
    assert 0 < int(table.rows[1]["shown"].text) < int(table.rows[1]["frames"].text)


def test_only_trained_measures_are_trained(tmp_path):
    with pytest.raises(OptionError, match="'entropy' is no quality measure that is trained; known: bliinds2"):
        train_measure("entropy", smooth_and_rough, tmp_path / "x", ignore)
