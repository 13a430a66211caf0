from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
import SimpleITK as sitk
from scipy.special import ellipe

from fetaliqa.measure import Ellipse, draw_ellipse, ellipse_circumference, fit_ellipse, fit_outline
from fetaliqa.measure.anatomy import ABDOMEN


def exact_circumference(a: float, b: float) -> float:
    return 4 * a * ellipe(1 - (b / a) ** 2)


@pytest.mark.parametrize("ratio", [1.0, 1.2, 1.5, 2.0])
def test_ramanujan_formula_agrees_with_the_elliptic_integral(ratio):
    assert ellipse_circumference(100 * ratio, 100) == pytest.approx(
        exact_circumference(100 * ratio, 100), rel=2e-5
    )


@pytest.mark.parametrize("bad", [(-1, 1), (math.nan, 1), (1, math.inf)])
def test_circumference_refuses_impossible_axes(bad):
    with pytest.raises(ValueError, match="semi-axes"):
        ellipse_circumference(*bad)


def test_known_ellipse_measures_229_mm():
    # facts: semi-axes 140 and 120 px at 0.28 mm; exact 229.05 mm
    mask = draw_ellipse(Ellipse(372, 281, 140, 120, 20), (562, 744))
    fit = fit_outline(mask, (0.28, 0.28))
    assert 228.9 <= fit.circumference_mm <= 229.1
    assert fit.ellipse.angle_deg == pytest.approx(20, abs=0.5)
    assert fit.fitted_share == 1.0
    assert fit.residual < 0.005
    assert fit.overlap > 0.998
    assert fit.absent_reason is None


@pytest.mark.parametrize("radius", [15, 40, 130])
def test_drawn_ellipses_measure_without_bias(radius):
    generator = np.random.default_rng(radius)
    errors = []
    for _ in range(40):
        center = 200 + generator.random(2)
        drawn = Ellipse(center[0], center[1], radius * 1.15, radius / 1.15, generator.random() * 180)
        fit = fit_outline(draw_ellipse(drawn, (400, 400)), (1.0, 1.0))
        true = exact_circumference(drawn.semi_major, drawn.semi_minor)
        errors.append(fit.circumference_mm - true)
        assert math.hypot(fit.ellipse.center_x - center[0], fit.ellipse.center_y - center[1]) < 0.3
    # contours through boundary pixel centres would be short by about pi px (half a pixel of radius)
    assert abs(np.mean(errors)) < 0.15
    assert np.std(errors) < 0.5


def test_circumference_is_right_with_different_row_and_column_spacing():
    rows, columns = 0.5, 0.2
    millimetres = Ellipse(60, 70, 40, 30, 35)
    mask = draw_ellipse(millimetres.scaled(1 / columns, 1 / rows), (300, 600))
    fit = fit_outline(mask, (rows, columns))
    assert fit.circumference_mm == pytest.approx(exact_circumference(40, 30), rel=2e-3)
    assert fit.axis_ratio == pytest.approx(40 / 30, rel=0.01)
    redrawn = draw_ellipse(fit.ellipse, mask.shape)
    assert (redrawn & mask).sum() / (redrawn | mask).sum() > 0.995


def test_scaling_an_ellipse_moves_its_points():
    ellipse = Ellipse(3, 4, 10, 6, 30)
    moved = ellipse.points(400) * (2.0, 0.7)
    again = fit_ellipse(moved)
    expected = ellipse.scaled(2.0, 0.7)
    for name in ("center_x", "center_y", "semi_major", "semi_minor", "angle_deg"):
        assert getattr(again, name) == pytest.approx(getattr(expected, name), abs=1e-3)


def fan_border(shape: tuple[int, int], column: int) -> np.ndarray:
    inside = np.ones(shape, np.uint8)
    inside[:, column:] = 0
    return inside


@pytest.mark.parametrize("cut_radii", [0.1, 0.3, 0.6])
def test_outline_cut_by_the_field_of_view_measures_as_the_whole_would(cut_radii):
    whole = Ellipse(250, 250, 130, 110, 25)
    mask = draw_ellipse(whole, (500, 500))
    border = fan_border(mask.shape, 250 + int(120 * (1 - cut_radii)))
    fit = fit_outline(mask & border, (0.3, 0.3), border)
    true = 0.3 * exact_circumference(130, 110)
    assert fit.circumference_mm == pytest.approx(true, rel=0.01)
    assert fit.fitted_share < 1
    if cut_radii >= 0.6:
        naive = fit_outline(mask & border, (0.3, 0.3)).circumference_mm
        assert abs(naive - true) > 3 * abs(fit.circumference_mm - true)


def test_outline_cut_by_the_image_border_measures_as_the_whole_would():
    mask = draw_ellipse(Ellipse(100, 60, 90, 80, 0), (220, 240))
    fit = fit_outline(mask, (1.0, 1.0))
    assert fit.fitted_share < 0.85
    assert fit.circumference_mm == pytest.approx(exact_circumference(90, 80), rel=0.01)


def test_mask_outside_of_the_field_of_view_is_not_measured():
    mask = draw_ellipse(Ellipse(120, 120, 60, 50, 0), (240, 400))
    border = fan_border(mask.shape, 250)
    with_spill = mask.copy()
    with_spill[:, 260:390] = 1
    assert fit_outline(with_spill, (1.0, 1.0), border) == fit_outline(mask, (1.0, 1.0), border)


def test_only_the_largest_component_is_fitted_and_its_holes_are_ignored():
    mask = draw_ellipse(Ellipse(120, 120, 60, 50, 0), (240, 400))
    expected = fit_outline(mask, (1.0, 1.0)).circumference_mm
    mask[110:130, 100:120] = 0
    mask[10:30, 300:330] = 1
    assert fit_outline(mask, (1.0, 1.0)).circumference_mm == expected


def test_more_than_half_of_the_ellipse_missing_gives_no_circumference_and_says_why():
    mask = draw_ellipse(Ellipse(250, 250, 130, 110, 0), (500, 500))
    border = fan_border(mask.shape, 200)
    fit = fit_outline(mask & border, (0.3, 0.3), border)
    assert fit.circumference_mm is None
    assert fit.ellipse is None
    assert "outside the field of view" in fit.absent_reason


def test_mask_that_follows_the_border_all_around_gives_no_circumference():
    sector = draw_ellipse(Ellipse(100, 100, 80, 80, 0), (200, 200))
    fit = fit_outline(np.ones_like(sector), (0.3, 0.3), sector)
    assert fit.circumference_mm is None
    assert fit.absent_reason.startswith("only 0 % of the outline") or "only 0%" in fit.absent_reason


def test_shape_unlike_an_ellipse_gives_no_circumference():
    mask = np.zeros((300, 300), np.uint8)
    mask[140:160, 20:280] = mask[20:280, 140:160] = 1
    fit = fit_outline(mask, (0.3, 0.3))
    assert fit.circumference_mm is None
    assert "not an ellipse" in fit.absent_reason
    assert fit.residual > 0.1


@pytest.mark.parametrize("pixels", [0, 1, 2])
def test_tiny_masks_never_fail(pixels):
    mask = np.zeros((50, 50), np.uint8)
    mask[20, 20 : 20 + pixels] = 1
    fit = fit_outline(mask, (0.3, 0.3))
    assert fit.circumference_mm is None or fit.circumference_mm < 2
    assert pixels > 0 or "empty" in fit.absent_reason


def test_without_spacing_the_ellipse_is_there_and_the_circumference_is_not():
    fit = fit_outline(draw_ellipse(Ellipse(120, 120, 60, 50, 0), (240, 400)), None)
    assert fit.ellipse is not None
    assert fit.circumference_mm is None
    assert fit.absent_reason == "no pixel spacing in the file"


@pytest.mark.parametrize("spacing", [(0.0, 1.0), (-1.0, 1.0), (math.nan, 1.0)])
def test_impossible_spacing_is_refused(spacing):
    with pytest.raises(ValueError, match="spacing"):
        fit_outline(np.ones((20, 20), np.uint8), spacing)


def test_implausible_circumference_is_kept_with_a_warning():
    mask = draw_ellipse(Ellipse(120, 120, 60, 50, 0), (240, 400))
    large = fit_outline(mask, (2.0, 2.0))
    assert large.circumference_mm > 450
    assert "outside the plausible" in large.warning(ABDOMEN)
    assert fit_outline(mask, (0.6, 0.6)).warning(ABDOMEN) is None
    assert fit_outline(mask, None).warning(ABDOMEN) is None


def test_resampled_expert_masks_measure_as_the_challenge_measures_them(shared_data):
    folder = shared_data / "acouslic"
    sector = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "fov_mask.mha"))) > 0
    official = {"0199616b": 313.0, "02d3a9bc": 258.9, "02ee26a5": 205.6, "0428da3d": 259.4}
    count = 0
    for path in sorted(folder.glob("resampled_*_mask_gt.png")):
        value = official.get(path.name.split("_")[1].split("-")[0])
        if value is None:
            continue
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE) > 127
        assert fit_outline(mask, (0.28, 0.28), sector).circumference_mm == pytest.approx(value, rel=0.015)
        count += 1
    if not count:
        pytest.skip("no resampled expert mask present")


def test_border_of_a_real_expert_mask_is_left_out(shared_data):
    folder = shared_data / "acouslic"
    sector = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "fov_mask.mha"))) > 0
    mask = cv2.imread(str(folder / "native_frame_A_mask_gt.png"), cv2.IMREAD_GRAYSCALE) > 127
    fit = fit_outline(mask, (0.28, 0.28), sector)
    naive = fit_outline(mask, (0.28, 0.28))
    assert fit.residual < naive.residual / 3
    assert fit.overlap > 0.995
