"""The page itself: accessible, offline, deaf to markup in names, the same keys and figures as elsewhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_harness import Server
from workplace import STILL, SWEEP, Workplace

from fetaliqa.measure import (
    Ellipse,
    Line,
    draw_ellipse,
    draw_line,
    ellipse_circumference,
    fit_line,
    fit_outline,
)
from fetaliqa.measure.outline import BORDER_PX, away_from_border
from monailabel_app.lib.browser.mask_runs import runs_of

HERE = Path(__file__).parent
AXE = (HERE / "axe-core-4.14.1.min.js").read_text(encoding="utf-8")
SERIOUS = ("serious", "critical")
MARKUP = "<img src=x onerror='window.hacked=1'>"
SHAPE = (90, 120)
SPACING = (0.31, 0.28)


def violations(page: Any) -> list[str]:
    page.evaluate(AXE)
    result = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{found['id']}: {found['help']}: {[node['html'][:160] for node in found['nodes'][:3]]}"
        for found in result["violations"]
        if found["impact"] in SERIOUS
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_view_has_a_serious_barrier(browser: Any, server: Server, scheme: str) -> None:
    context = browser.new_context(
        viewport={"width": 1366, "height": 768}, color_scheme=scheme, reduced_motion="reduce"
    )
    place = Workplace(context, server.url)
    page = place.page
    page.goto(server.url)
    page.get_by_label("Your name").wait_for()
    found = {"welcome": violations(page)}
    place.start("Axel", "axe")
    found["worklist"] = violations(page)
    place.open(SWEEP)
    place.go_to(5)
    place.press("d", "Shift+E")
    found["case"] = violations(page)
    place.press("Shift+F1")
    found["keys"] = violations(page)
    place.press("Shift+F1")
    for view in ("learn", "export", f"report/{SWEEP}"):
        page.goto(f"{server.url}/#/{view}")
        page.locator("h1").first.wait_for()
        page.wait_for_selector(".loading", state="detached")
        found[view] = violations(page)
    place.check()
    context.close()
    assert {view: problems for view, problems in found.items() if problems} == {}


def test_markup_in_names_is_text(workplace: Workplace, server: Server) -> None:
    record = {"schema": 1, "frames": {"0": {"state": "empty", "rater": MARKUP}}}
    label = {"masks": {}, "frame_record": record, "rater": MARKUP}
    assert server.call("POST", f"/fetaliqa/v1/label?image={STILL}&tag=markup", json=label).status == 200
    review = {"state": "returned", "comment": MARKUP}
    target = f"/datastore/label/review?label={STILL}&tag=markup&version=1"
    assert server.call("POST", target, data=review).status == 200
    workplace.start(MARKUP, "markup")
    page = workplace.page
    row = page.locator(".case", has_text=STILL)
    assert MARKUP in row.inner_text()
    assert "Changes requested" in row.inner_text()
    page.get_by_role("link", name="<img src=x onerror='hacked=1'>").click()
    page.locator(".stage-notes .problem").wait_for()  # its file is no image
    workplace.open(STILL)
    page.get_by_label("Compare with a label").select_option("markup")
    page.locator(".review", has_text=MARKUP).wait_for()
    page.goto(f"{server.url}/#/report/{STILL}")
    page.locator(".report table", has_text=MARKUP).wait_for()
    assert page.evaluate("window.hacked") is None


def test_an_upload_that_is_no_image_is_refused_with_a_sentence(workplace: Workplace) -> None:
    workplace.start("Uli")
    page = workplace.page
    cases = page.locator(".case").count()
    files = [
        {"name": "letter.mha", "mimeType": "text/plain", "buffer": b"this is a letter"},
        {"name": f"{MARKUP}.png", "mimeType": "image/png", "buffer": b"\x89PNG nothing"},
        {"name": "letter.docx", "mimeType": "text/plain", "buffer": b"this is a letter"},
    ]
    page.locator("input[type=file]").set_input_files(files)
    page.locator(".uploads .failed").nth(2).wait_for()
    sentences = page.locator(".uploads .failed span").all_inner_texts()
    assert all(len(sentence) > 20 for sentence in sentences)
    assert page.locator(".case").count() == cases
    assert page.evaluate("window.hacked") is None


def test_keys_are_those_of_the_slicer_module(workplace: Workplace) -> None:
    from FetalIQALib.user_actions import EDITOR_KEYS, all_actions

    slicer = {action.name: (action.key, action.text) for action in all_actions()}
    table = json.loads((HERE.parents[1] / "monailabel_app" / "web" / "keys.json").read_text())
    shared = {key["name"]: key["key"] for key in table if key.get("only") != "browser"}
    assert shared == {name: key for name, (key, _) in slicer.items() if name in shared}
    assert len({key["key"] for key in table}) == len(table)
    assert not {key["key"] for key in table if key.get("only")} & {
        *(key for key, _ in slicer.values()),
        *EDITOR_KEYS,
    }
    assert {"next", "accept", "empty", "optimal", "suboptimal", "undo", "nextSuggestion", "submit"} <= set(shared)
    assert {"brush", "eraser", "click", "carry", "confirmCarried", "zoom"} <= set(shared)
    workplace.start()
    texts = workplace.page.evaluate("import('/web/app/texts_en.js').then((module) => module.TEXTS)")
    different = {"ellipse", "clear", "help"}  # drawn, ended, and shown, in another way
    assert {name: texts[f"key_{name}"] for name in shared if name not in different} == {
        name: slicer[name][1] for name in shared if name not in different
    }


def test_ellipses_and_masks_are_measured_as_by_the_library(workplace: Workplace) -> None:
    from FetalIQALib.ellipse_measurement import measure

    workplace.start()
    random = np.random.default_rng(4)
    ellipses = [Ellipse(*random.uniform((30, 25, 15, 8, 0), (90, 65, 40, 15, 180))) for _ in range(30)]
    field = draw_ellipse(Ellipse(60.0, 40.0, 58.0, 42.0, 0.0), SHAPE)
    masks = [draw_ellipse(ellipse, SHAPE) for ellipse in ellipses]
    masks[0][40:, :] = 0  # half of it
    masks[1][2:6, 2:6] = 1  # and a speck
    masks[2][::7] = 0  # in stripes
    measurable = away_from_border(SHAPE, field, BORDER_PX)
    found = workplace.page.evaluate(
        """async ({ ellipses, masks, field, measurable, spacing, rows, columns }) => {
          const { circumferenceMm, drawEllipse, ellipseOfRecord } = await import('/web/app/ellipse.js');
          const { measureMask } = await import('/web/app/mask_measurement.js');
          const { maskOf, pixelsOf } = await import('/web/app/run_lengths.js');
          const draw = (one) => drawEllipse(ellipseOfRecord(one), rows, columns);
          const [within, free] = [pixelsOf(field), pixelsOf(measurable)];
          return {
            mm: ellipses.map((one) => circumferenceMm(ellipseOfRecord(one), spacing)),
            drawn: ellipses.map((one) => maskOf(draw(one), rows, columns).runs),
            measured: masks.map((one) => measureMask(pixelsOf(one), rows, columns, spacing, within, free)),
          };
        }""",
        {
            "ellipses": [vars(ellipse) for ellipse in ellipses],
            "masks": [runs_of(mask) for mask in masks],
            "field": runs_of(field),
            "measurable": runs_of(measurable),
            "spacing": SPACING,
            "rows": SHAPE[0],
            "columns": SHAPE[1],
        },
    )
    for ellipse, mm, drawn in zip(ellipses, found["mm"], found["drawn"]):
        in_mm = ellipse.scaled(SPACING[1], SPACING[0])
        assert mm == pytest.approx(ellipse_circumference(in_mm.semi_major, in_mm.semi_minor), rel=1e-9)
        assert drawn == runs_of(draw_ellipse(ellipse, SHAPE))["runs"]
    measurable_count = 0
    for mask, measured in zip(masks, found["measured"]):
        fit = fit_outline(mask, SPACING, field)
        assert (measured["mm"] is None) == (fit.circumference_mm is None), measured
        if fit.circumference_mm is not None:
            measurable_count += 1
            assert measured["mm"] == pytest.approx(fit.circumference_mm, rel=2e-3)  # OpenCV's fit is in float32
            exact = measure(mask * field, SPACING, measurable != 0)
            assert measured["mm"] == pytest.approx(exact.circumference_mm, rel=1e-9)
    assert measurable_count > 15


def test_lines_are_drawn_and_measured_as_by_the_library(workplace: Workplace) -> None:
    workplace.start()
    random = np.random.default_rng(7)
    drawn = [Line.between(*random.uniform((12, 12), (SHAPE[1] - 12, SHAPE[0] - 12), (2, 2))) for _ in range(40)]
    lines = [line for line in drawn if line.length > 25]
    masks = [draw_line(line, SHAPE) for line in lines]
    found = workplace.page.evaluate(
        """async ({ lines, spacing, rows, columns }) => {
          const { drawLine, lengthMm, measureLine } = await import('/web/app/line.js');
          const { maskOf } = await import('/web/app/run_lengths.js');
          const short = { x1: 50, y1: 50, x2: 53, y2: 50 };
          const masks = lines.map((one) => drawLine(one, rows, columns));
          return {
            mm: lines.map((one) => lengthMm(one, spacing)),
            drawn: masks.map((one) => maskOf(one, rows, columns).runs),
            measured: masks.map((one) => measureLine(one, rows, columns, spacing, null)),
            round: measureLine(drawLine(short, rows, columns), rows, columns, spacing, null),
          };
        }""",
        {"lines": [vars(line) for line in lines], "spacing": SPACING, "rows": SHAPE[0], "columns": SHAPE[1]},
    )
    assert len(lines) > 20
    assert found["mm"] == pytest.approx([line.length_mm(SPACING) for line in lines])
    assert found["drawn"] == [runs_of(mask)["runs"] for mask in masks]
    for mask, measured in zip(masks, found["measured"]):
        fit = fit_line(mask, SPACING)
        assert measured["mm"] == pytest.approx(fit.length_mm, abs=0.05)
        assert measured["line"] == pytest.approx(vars(fit.line), abs=0.3)
    assert found["round"]["line"] is None
    assert "round" in found["round"]["absent"]
