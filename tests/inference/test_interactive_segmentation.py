"""Frames segmented by clicks, boxes and previous masks, with the model that ships."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from fetaliqa.errors import ArrayError, OptionError
from fetaliqa.evaluation.frame_metrics import dice
from fetaliqa.inference.interactive_segmentation import InteractiveSegmenter, Prompts, heeded, tidied
from fetaliqa.model.interactive_bundle import InteractiveBundle
from fetaliqa.model.user_folders import interactive_folder

# of the abdomen model's test images
ABDOMENS = ("Patient00789_Plane2_1_of_1", "patient025_EGY_plane0")
LEAST_DICE = 0.85


@pytest.fixture(scope="module")
def segmenter() -> InteractiveSegmenter:
    return InteractiveSegmenter(InteractiveBundle.open(interactive_folder()))


def still(sample_data: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    image = cv2.imread(
        str(sample_data / "images" / "stacked_fetal_ultrasound" / f"{name}.png"), cv2.IMREAD_GRAYSCALE
    )
    mask = cv2.imread(str(sample_data / "masks" / "stills" / f"{name}.png"), cv2.IMREAD_GRAYSCALE)
    return image, (mask > 0).astype(np.uint8)


def middle(mask: np.ndarray) -> tuple[float, float]:
    rows, columns = np.nonzero(mask)
    return float(columns.mean()), float(rows.mean())


@pytest.mark.parametrize("name", ABDOMENS)
def test_one_click_outlines_a_real_abdomen(segmenter: InteractiveSegmenter, sample_data: Path, name: str) -> None:
    image, truth = still(sample_data, name)
    answer = segmenter.segment(segmenter.encode(image), Prompts(foreground=(middle(truth),)))
    assert answer.mask.shape == image.shape
    assert answer.mask.dtype == np.uint8
    assert dice(answer.mask, truth) >= LEAST_DICE
    assert answer.area_px == answer.mask.sum()


def test_a_box_outlines_it_too(segmenter: InteractiveSegmenter, sample_data: Path) -> None:
    image, truth = still(sample_data, ABDOMENS[0])
    left, top, width, height = cv2.boundingRect(truth)
    answer = segmenter.segment(segmenter.encode(image), Prompts(roi=(left, top, left + width, top + height)))
    assert dice(answer.mask, truth) >= LEAST_DICE


def test_the_answer_depends_on_the_prompts_alone(segmenter: InteractiveSegmenter, sample_data: Path) -> None:
    image, truth = still(sample_data, ABDOMENS[0])
    encoded = segmenter.encode(image)
    prompts = Prompts(foreground=(middle(truth),), background=((3, 3),))
    first = segmenter.segment(encoded, prompts)
    segmenter.segment(encoded, Prompts(foreground=((50, 50),)))
    again = segmenter.segment(segmenter.encode(image), prompts)
    np.testing.assert_array_equal(first.mask, again.mask)
    assert first.expected_dice == again.expected_dice


def test_every_click_is_followed(segmenter: InteractiveSegmenter, sample_data: Path) -> None:
    image, truth = still(sample_data, ABDOMENS[0])
    random = np.random.default_rng(3)
    rows, columns = image.shape
    foreground = tuple((float(x), float(y)) for x, y in random.uniform((0, 0), (columns - 1, rows - 1), (3, 2)))
    background = (middle(truth),)
    mask = segmenter.segment(segmenter.encode(image), Prompts(foreground, background, mask=truth)).mask
    assert [mask[round(y), round(x)] for x, y in (*foreground, *background)] == [1, 1, 1, 0]


def test_a_wrong_mask_comes_back_better(segmenter: InteractiveSegmenter, sample_data: Path) -> None:
    image, truth = still(sample_data, ABDOMENS[0])
    wrong = np.roll(truth, 40, axis=1)
    answer = segmenter.segment(segmenter.encode(image), Prompts(mask=wrong))
    assert dice(answer.mask, truth) > dice(wrong, truth)


def test_a_mask_whose_object_is_not_there_is_expected_to_be_poor(
    segmenter: InteractiveSegmenter, sample_data: Path
) -> None:
    image, truth = still(sample_data, ABDOMENS[0])
    encoded = segmenter.encode(image)
    there = segmenter.segment(encoded, Prompts(mask=truth)).expected_dice
    black = segmenter.segment(segmenter.encode(np.zeros_like(image)), Prompts(mask=truth)).expected_dice
    assert black < there


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        (Prompts(), "no prompt"),
        (Prompts(background=((1, 1),)), "no prompt"),
        (Prompts(mask=np.zeros((40, 60))), "no prompt"),
        (Prompts(foreground=((60, 1),)), "column 60, row 1 is outside"),
        (Prompts(foreground=((1, 1),), background=((1, -1),)), "background"),
        (Prompts(foreground=((float("nan"), 1),)), "outside"),
        (Prompts(foreground=((1, 1),) * 201), "201 clicks"),
        (Prompts(roi=(9, 1, 3, 5)), "left < right"),
        (Prompts(roi=(90, 1, 99, 5)), "outside"),
        (Prompts(mask=np.ones((60, 40))), "60 rows x 40 columns"),
    ],
)
def test_prompts_that_cannot_be_used_are_refused(
    segmenter: InteractiveSegmenter, prompts: Prompts, words: str
) -> None:
    with pytest.raises(OptionError, match=words):
        segmenter.segment(segmenter.encode(np.full((40, 60), 90, np.uint8)), prompts)


def test_frames_of_another_type_are_refused(segmenter: InteractiveSegmenter) -> None:
    with pytest.raises(ArrayError, match="uint8"):
        segmenter.encode(np.zeros((4, 4), np.float32))
    with pytest.raises(ArrayError, match="rows, columns"):
        segmenter.encode(np.zeros((1, 4, 4), np.uint8))


def test_a_click_that_is_followed_already_changes_nothing() -> None:
    logits = np.where(np.arange(40) < 20, 2.0, -2.0)[None].repeat(30, 0)
    same = heeded(logits, Prompts(foreground=((5, 5),), background=((30, 5),)))
    np.testing.assert_array_equal(same, logits.astype(np.float32))
    moved = heeded(logits, Prompts(foreground=((21, 15),)))
    assert moved[15, 21] > 0
    assert moved[0, 21] < 0  # only around the click


def test_clicks_beside_each_other_are_followed_too() -> None:
    logits = np.full((60, 80), -3.0, np.float32)
    inside, outside = ((20, 20), (40, 30), (24, 21)), ((22, 20), (41, 30), (23, 23))
    moved = heeded(logits, Prompts(foreground=inside, background=outside))
    assert all(moved[y, x] > 0 for x, y in inside)
    assert all(moved[y, x] < 0 for x, y in outside)


def test_specks_go_and_parts_and_holes_that_were_clicked_on_stay() -> None:
    mask = np.zeros((50, 50), np.uint8)
    mask[5:35, 5:35] = 1
    mask[10:13, 10:13] = 0  # holes
    mask[20:23, 20:23] = 0
    mask[40:43, 40:43] = 1  # specks
    mask[45:48, 5:8] = 1
    tidy = tidied(mask, Prompts(foreground=((41, 41),), background=((21, 21),)))
    assert (tidy[11, 11], tidy[21, 21], tidy[41, 41], tidy[46, 6]) == (1, 0, 1, 0)
