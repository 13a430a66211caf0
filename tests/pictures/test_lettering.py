"""Names on contact sheets, in any script."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from fetaliqa.pictures import text_rendering as module
from fetaliqa.pictures.text_rendering import lettering


@pytest.fixture
def no_other_fonts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_families", lambda: ("DejaVu Sans",))


@pytest.mark.usefixtures("no_other_fonts")
@pytest.mark.parametrize(
    ("name", "drawn"),
    [("größe", "größe"), ("$a_b$", "$a_b$"), ("孕妇 1", "\\u5b55\\u5987 1"), ("a\nb", "a\\nb"), ("x$", "x$")],
)
def test_a_name_is_drawn_or_escaped_and_never_a_formula_or_a_warning(
    name: str, drawn: str, tmp_path: Path
) -> None:
    figure = Figure()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        text = figure.text(0.5, 0.5, **lettering(name))
        figure.savefig(tmp_path / "sheet.png")
    assert text.get_text() == drawn
    assert not text.get_parse_math()
