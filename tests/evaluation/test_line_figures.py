"""Errors of lines: length and ends in mm, pixels and percent, over frames and cases."""

from __future__ import annotations

import numpy as np
import pytest

from fetaliqa.evaluation.bootstrap import draw_cases
from fetaliqa.evaluation.line_figures import LineError, line_error, line_figures
from fetaliqa.measure import Line

TRUE = Line(10.0, 20.0, 110.0, 20.0)


def test_a_longer_line_is_a_positive_error_in_mm_and_percent() -> None:
    error = line_error(Line(10.0, 20.0, 120.0, 20.0), TRUE, (0.5, 0.2))
    assert (error.error_percent, error.error_mm) == (pytest.approx(10), pytest.approx(2))
    assert (error.end_px, error.end_mm) == (pytest.approx(5), pytest.approx(1))


def test_the_ends_are_paired_whatever_their_order() -> None:
    upright, turned = Line(50.0, 0.0, 50.1, 80.0), Line(49.9, 80.0, 50.0, 0.0)
    assert line_error(turned, upright, None).end_px == pytest.approx(0.15, abs=0.1)


def test_figures_count_what_was_missed_and_average_what_was_found() -> None:
    errors = [
        line_error(Line(10.0, 20.0, 115.0, 20.0), TRUE, (0.2, 0.2), case=0),
        line_error(Line(10.0, 20.0, 107.0, 20.0), TRUE, None, case=1),
        line_error(None, TRUE, (0.2, 0.2), case=1),
    ]
    figures = line_figures(errors, draw_cases(2, 20, 0))
    assert (figures["lines"], figures["lines_found"]) == (3, 2)
    assert figures["found_share"].value == pytest.approx(2 / 3)
    assert figures["length_percent"].value == pytest.approx(4)
    assert figures["length_bias_percent"].value == pytest.approx(1)
    assert figures["length_mm"].value == pytest.approx(1)  # of the one with a spacing
    assert figures["found_share"].interval is not None
    assert line_figures([], np.ones((20, 2))) is None
    assert not LineError(0, 0, 100.0).found
