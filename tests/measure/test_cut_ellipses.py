"""The numbers behind the limits in fetaliqa/measure/outline.py: errors of ellipses fitted to arcs."""

from __future__ import annotations

import numpy as np
import pytest

from fetaliqa.measure import Ellipse, ellipse_circumference, fit_ellipse
from fetaliqa.measure.ellipse import largest_gap

TRUE = Ellipse(0, 0, 130, 110, 0)


def circumference_errors(missing_deg: float, jitter_px: float, *, both_sides: bool = False) -> np.ndarray:
    """Errors in per cent of 100 fits to outlines with smooth jitter and an arc missing on one or both sides."""
    generator = np.random.default_rng(0)
    expected = ellipse_circumference(130, 110)
    errors = []
    for _ in range(100):
        points = Ellipse(0, 0, 130, 110, generator.random() * 180).points(1440)
        angle = np.arctan2(points[:, 1], points[:, 0])
        waves = sum(
            generator.normal() * np.cos(k * angle) + generator.normal() * np.sin(k * angle) for k in range(3, 9)
        )
        points = points * (1 + jitter_px / 120 * waves / np.sqrt(6))[:, None]
        degrees = np.degrees(np.abs(angle))
        visible = degrees < 180 - missing_deg / 2
        if both_sides:
            visible &= degrees > missing_deg / 2
        ellipse = fit_ellipse(points[visible])
        errors.append(100 * (ellipse_circumference(ellipse.semi_major, ellipse.semi_minor) / expected - 1))
    return np.array(errors)


@pytest.mark.parametrize(
    ("missing_deg", "limit_percent"), [(0, 0.5), (60, 1), (90, 2), (120, 4), (150, 7), (160, 9)]
)
def test_error_of_a_cut_outline_stays_within_the_documented_limit(missing_deg, limit_percent):
    errors = circumference_errors(missing_deg, 2.0)
    assert np.percentile(np.abs(errors), 95) < limit_percent


def test_arcs_longer_than_the_limit_would_be_guesses():
    assert np.percentile(np.abs(circumference_errors(200, 2.0)), 95) > 15


def test_two_cut_sides_are_measurable_while_enough_is_left():
    assert np.percentile(np.abs(circumference_errors(90, 2.0, both_sides=True)), 95) < 5


def test_gap_is_measured_along_the_ellipse():
    points = TRUE.points(360)
    angle = np.degrees(np.arctan2(points[:, 1] / 110, points[:, 0] / 130))
    assert largest_gap(points, TRUE) == pytest.approx(1, abs=0.01)
    assert largest_gap(points[np.abs(angle) > 50], TRUE) == pytest.approx(101, abs=1.1)
