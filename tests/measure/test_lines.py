"""The line of a band: where its ends are, in pixels and mm, and what is said of masks that are no line."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from fetaliqa.measure import FrameEvidence, Line, band_thickness, draw_line, fit_line, fit_mask, quality_score
from fetaliqa.measure.anatomy import ABDOMEN, FEMUR
from fetaliqa.measure.frame_size import fit_fields, recorded_absence, recorded_mm
from fetaliqa.measure.plausibility import add_warnings

SHAPE = (300, 400)
SPACING = (0.4, 0.25)  # mm


def test_a_drawn_band_gives_its_line_back_in_every_direction() -> None:
    random = np.random.default_rng(1)
    for _ in range(60):
        line = Line.between(*random.uniform((40, 40), (360, 260), (2, 2)))
        if line.length < 50:
            continue
        found = fit_line(draw_line(line, SHAPE), SPACING)
        assert np.abs(found.line.ends() - line.ends()).max() < 1.0
        assert found.length_mm == pytest.approx(line.length_mm(SPACING), abs=0.3)
        assert 0.7 * band_thickness(SHAPE) < found.thickness < 1.4 * band_thickness(SHAPE)
        assert found.fitted_share == 1


def test_rows_and_columns_of_different_spacing_are_not_mixed_up() -> None:
    assert Line(0, 0, 100, 0).length_mm(SPACING) == pytest.approx(25)
    assert Line(0, 0, 0, 100).length_mm(SPACING) == pytest.approx(40)
    upright = fit_line(draw_line(Line(200, 50, 200, 250), SHAPE), SPACING)
    assert upright.length_mm == pytest.approx(80, abs=0.5)
    assert (upright.line.x1, upright.line.y1) == pytest.approx((200, 50), abs=1)


def test_a_brush_with_round_ends_is_measured_to_a_little_before_its_tips() -> None:
    mask = np.zeros(SHAPE, np.uint8)
    cv2.line(mask, (100, 150), (300, 150), 1, 15)
    assert fit_line(mask, None).line.length == pytest.approx(200 + 15 - 0.13 * 15, abs=1)


def test_a_bent_band_keeps_its_ends_and_a_strongly_bent_one_is_doubted() -> None:
    bent, ring = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    cv2.ellipse(bent, (200, 600), (480, 480), 0, 262, 278, 1, 12)
    fit = fit_line(bent, SPACING)
    ends = [(200 + 480 * np.cos(np.radians(turn)), 600 + 480 * np.sin(np.radians(turn))) for turn in (262, 278)]
    assert fit.line.ends() == pytest.approx(np.array(ends), abs=7)
    assert fit.warning(FEMUR) is None
    cv2.ellipse(ring, (200, 200), (100, 100), 0, 200, 340, 1, 10)
    assert "not straight" in fit_line(ring, SPACING).warning(FEMUR)


def test_what_is_no_line_is_not_measured_and_says_why() -> None:
    disc = np.zeros(SHAPE, np.uint8)
    cv2.circle(disc, (200, 150), 40, 1, cv2.FILLED)
    assert fit_line(disc, SPACING).line is None
    assert "too round" in fit_line(disc, SPACING).absent_reason
    assert "empty" in fit_line(np.zeros(SHAPE, np.uint8), SPACING).absent_reason
    without = fit_line(draw_line(Line(100, 100, 200, 100), SHAPE), None)
    assert (without.length_mm, without.absent_reason) == (None, "no pixel spacing in the file")
    assert without.line is not None


def test_warnings_name_an_implausible_length_and_an_end_that_is_cut_off() -> None:
    long = fit_line(draw_line(Line(20, 150, 380, 150), SHAPE), (1.0, 1.0))
    assert "FL 361 mm is outside the plausible 5-90 mm" in long.warning(FEMUR)
    field = np.zeros(SHAPE, np.uint8)
    field[:, :250] = 1
    cut = fit_line(draw_line(Line(100, 150, 300, 150), SHAPE), SPACING, field)
    assert cut.fitted_share == 0.5
    assert "border of the field of view" in cut.warning(FEMUR)


def test_fields_of_a_record_hold_the_line_and_its_length_and_no_circumference() -> None:
    fields = fit_fields(fit_mask(draw_line(Line(100, 100, 200, 100), SHAPE), SPACING, None, FEMUR))
    assert fields["line"] == pytest.approx({"x1": 100, "y1": 100, "x2": 200, "y2": 100}, abs=0.8)
    assert fields["circumference_mm"] is None
    assert recorded_mm(fields) == fields["length_mm"] == pytest.approx(25, abs=0.35)
    assert recorded_absence(fields) is None
    ellipse = fit_fields(fit_mask(draw_line(Line(100, 100, 200, 100), SHAPE), None, None, ABDOMEN))
    assert "length_mm" not in ellipse


def quality(line: Line, spacing: float | None = 0.3) -> float:
    band = draw_line(line, (224, 224))
    pair = None if spacing is None else (spacing, spacing)
    fit = fit_line(band, pair)
    smooth = cv2.GaussianBlur(band.astype(np.float32), (0, 0), 1)
    return quality_score(FrameEvidence(smooth, 0.5, 0.002, spacing, None, fit, None, FEMUR)).value


def test_a_whole_femur_scores_high_and_one_cut_by_the_border_lower() -> None:
    whole = quality(Line(50, 100, 170, 110))
    assert whole > 0.8
    assert quality(Line(50, 100, 170, 110), None) > 0.75
    assert quality(Line(-60, 100, 60, 110)) < whole - 0.05
    assert quality(Line(20, 100, 200, 110), 1.5) < 0.2  # 270 mm


def test_lengths_of_one_case_that_disagree_are_warned_about() -> None:
    fields = {frame: {"length_mm": mm, "positive": True} for frame, mm in ((0, 40.0), (20, 41.0), (40, 60.0))}
    add_warnings(fields, np.full(60, 0.9), np.isin(np.arange(60), (0, 20, 40)), [(0, 60)], FEMUR)
    assert "FL 60 mm disagrees with the 41 mm" in fields[40]["warning"]
    assert fields[0].get("warning") is None
