from __future__ import annotations

import json
import time
from dataclasses import asdict

import cv2
import numpy as np
import pytest

from fetaliqa.measure import Ellipse, draw_ellipse, rank_frames
from fetaliqa.pictures.colours import ACCENT, WARN
from fetaliqa.pictures.contact_sheet import CURVE_INCHES, DPI, contact_sheet
from fetaliqa.pictures.frame_picture import frame_picture

ELLIPSE = Ellipse(92.0, 70.0, 34.0, 28.0, 20.0)


def case(
    sweeps: int = 6, slots: int = 24, good: dict[int, float] | None = None, spacing=(0.5, 0.5), shape=(140, 186)
):
    """Frames, masks and the assessment of a small case; ``good`` gives positive frames and their quality."""
    good = {} if good is None else good
    count = sweeps * slots
    generator = np.random.default_rng(0)
    frames = generator.rayleigh(30, (count, *shape)).clip(0, 255).astype(np.uint8)
    masks = np.zeros_like(frames)
    records = []
    quality, positive = np.full(count, np.nan), np.zeros(count, bool)
    for index in range(count):
        padding = slots > 1 and index % slots >= slots - 4
        record = {"index": index, "sweep": index // slots, "padding": padding, "quality": None, "positive": None}
        if padding:
            frames[index] = 0
        else:
            quality[index] = record["quality"] = good.get(index, 0.01)
            positive[index] = record["positive"] = index in good
        if index in good:
            masks[index] = draw_ellipse(ELLIPSE, shape)
            record |= {"ellipse": asdict(ELLIPSE), "circumference_mm": None if spacing is None else 98.4}
        records.append(record)
    ranking = rank_frames(quality, positive, [(s * slots, (s + 1) * slots) for s in range(sweeps)], min_gap=5)
    assessment = {
        "case_id": "case-1",
        "model": {"name": "demo", "version": "1", "anatomy": "abdomen", "measurement": "AC"},
        "spacing_mm": spacing,
        "sweeps": [
            {"start": s.start, "stop": s.stop, "best": s.best, "ranking": list(s.frames)} for s in ranking.sweeps
        ],
        "frames": records,
        "ranking": list(ranking.frames),
        "best": ranking.best,
        "reason": ranking.reason,
        "notes": [],
    }
    return frames, masks, json.loads(json.dumps(assessment))


def sheet(path, frames, masks, assessment) -> np.ndarray:
    contact_sheet(path, frames=frames, masks=masks, assessment=assessment)
    picture = cv2.imread(str(path))
    assert picture is not None
    assert 800 < picture.shape[1] < 2500
    assert 500 < picture.shape[0] < 3000
    return picture


def pixels_of(picture: np.ndarray, colour: str) -> int:
    wanted = np.array([int(colour[i : i + 2], 16) for i in (5, 3, 1)])
    return int((np.abs(picture.astype(int) - wanted).max(axis=2) < 12).sum())


def test_sheet_of_a_case_with_good_frames_highlights_the_best(tmp_path):
    picture = sheet(tmp_path / "sheet.png", *case(good={5: 0.9, 30: 0.8, 40: 0.7, 80: 0.6}))
    assert pixels_of(picture, ACCENT) > 1000
    assert pixels_of(picture, WARN) == 0


def test_sheet_without_usable_frame_shows_the_least_bad_ones_and_says_so(tmp_path):
    picture = sheet(tmp_path / "sheet.png", *case())
    assert pixels_of(picture, WARN) > 500
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    assert (grey[150:400] > 60).sum() > 5000  # speckle of the frames that are shown


@pytest.mark.parametrize("sweeps", [1, 2, 6, 12])
def test_any_number_of_sweeps_fits(tmp_path, sweeps):
    sheet(tmp_path / "sheet.png", *case(sweeps=sweeps, good={3: 0.8}))


def test_one_image_without_spacing_is_a_sheet(tmp_path):
    sheet(tmp_path / "sheet.png", *case(sweeps=1, slots=1, good={0: 0.8}, spacing=None))


def test_a_single_image_has_no_curve(tmp_path):
    one = sheet(tmp_path / "one.png", *case(sweeps=1, slots=1, good={0: 0.9}))
    two = sheet(tmp_path / "two.png", *case(sweeps=2, slots=1, good={0: 0.9}))
    assert two.shape[0] - one.shape[0] == round(CURVE_INCHES * DPI)


def test_one_frame_sweeps_are_drawn(tmp_path):
    sheet(tmp_path / "sheet.png", *case(sweeps=7, slots=1, good={2: 0.8, 5: 0.6}))


def test_tall_frames_are_drawn(tmp_path):
    sheet(tmp_path / "sheet.png", *case(good={5: 0.9, 30: 0.8}, shape=(300, 186)))


def test_sheet_says_how_sure_the_model_is_and_what_is_unlike_its_training_data(tmp_path):
    frames, masks, assessment = case(good={5: 0.9, 30: 0.8})
    plain = sheet(tmp_path / "plain.png", frames, masks, assessment)
    for frame, unlike in ((5, False), (30, False)):
        assessment["frames"][frame] |= {"expected_dice": 0.91, "distance": 0.4, "unlike_training_data": unlike}
    sure = sheet(tmp_path / "sure.png", frames, masks, assessment)
    assert sure.shape[0] > plain.shape[0]
    assert pixels_of(sure, WARN) == 0
    assessment["frames"][30] |= {"distance": 1.4, "unlike_training_data": True}
    assert pixels_of(sheet(tmp_path / "unlike.png", frames, masks, assessment), WARN) > 100
    assessment["frames"][30] |= {"unlike_training_data": False, "expected_dice": 0.5}
    assert pixels_of(sheet(tmp_path / "low.png", frames, masks, assessment), WARN) > 100


def test_a_case_where_nothing_was_scored_is_drawn(tmp_path):
    frames, masks, assessment = case()
    for record in assessment["frames"]:
        record["quality"] = record["positive"] = None
    assessment["reason"] = "no usable frame: no frame was scored"
    sheet(tmp_path / "sheet.png", frames, masks, assessment)


def test_many_frames_take_more_than_one_row(tmp_path):
    few = sheet(tmp_path / "few.png", *case(good={5: 0.9, 30: 0.8}))
    frames, masks, assessment = case(good={i: 0.8 for i in range(0, 140, 12) if i % 24 < 20})
    assessment["ranking"] = [r["index"] for r in assessment["frames"] if r["positive"]]
    assert sheet(tmp_path / "many.png", frames, masks, assessment).shape[0] > few.shape[0]


def test_a_full_case_takes_less_than_three_seconds(tmp_path):
    frames, masks, assessment = case(slots=140, good=dict.fromkeys((*range(40, 60), *range(200, 220)), 0.8))
    began = time.process_time()
    sheet(tmp_path / "sheet.png", frames, masks, assessment)
    assert time.process_time() - began < 3


def test_an_existing_sheet_is_replaced_and_nothing_else_is_left(tmp_path):
    target = tmp_path / "sheet.png"
    target.write_text("old")
    sheet(target, *case(good={5: 0.9}))
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]


def test_frames_of_another_case_are_refused(tmp_path):
    frames, masks, assessment = case()
    with pytest.raises(ValueError, match="an assessment of 144 frames"):
        contact_sheet(tmp_path / "sheet.png", frames=frames[:-1], masks=masks[:-1], assessment=assessment)


def test_picture_of_a_frame_keeps_its_size_and_draws_both_lines():
    frame = np.full((140, 186), 60, np.uint8)
    picture = frame_picture(frame, draw_ellipse(ELLIPSE, frame.shape), Ellipse(92, 70, 50, 45, 0))
    assert picture.shape == (140, 186, 3)
    assert picture.dtype == np.uint8
    coloured = np.argwhere(picture.max(axis=2) != picture.min(axis=2))
    radius = np.hypot(coloured[:, 0] - 70, coloured[:, 1] - 92)
    assert ((radius > 26) & (radius < 36)).sum() > 100  # the outline
    assert ((radius > 43) & (radius < 52)).sum() > 50  # the ellipse
    assert (radius < 24).sum() == 0


def test_picture_without_mask_and_ellipse_is_the_frame():
    frame = np.arange(100, dtype=np.uint8).reshape(10, 10)
    picture = frame_picture(frame, None, None)
    assert (picture == frame[..., None]).all()


@pytest.mark.parametrize("width", [60, 400])
def test_picture_takes_the_width_asked_for_and_lines_move_with_it(width):
    frame = np.zeros((140, 186), np.uint8)
    picture = frame_picture(frame, draw_ellipse(ELLIPSE, frame.shape), None, width=width)
    assert picture.shape[1] == width
    drawn = np.argwhere(picture.max(axis=2) > 60)
    scale = width / 186
    middle = (drawn.min(axis=0) + drawn.max(axis=0)) / 2
    assert middle == pytest.approx([70 * scale, 92 * scale], abs=0.02 * width + 1)


def test_mask_of_another_size_is_refused():
    with pytest.raises(ValueError, match="mask of shape"):
        frame_picture(np.zeros((10, 10), np.uint8), np.zeros((9, 10), np.uint8), None)
