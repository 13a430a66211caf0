"""A femur on the page: measured as a line, whose ends are dragged; what is submitted is the line's band."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import SimpleITK as sitk
from app_harness import Server, free_port, stop
from workplace import SAMPLES, Workplace, start_shipped

from fetaliqa.labels import LabelStore
from fetaliqa.measure import band_thickness, fit_line

FEMUR = "patient033_DZA_plane2"  # held out, in the sample data
PIXEL_MM = 0.2  # made up: the set has no pixel size
SHAPE = (430, 500)

pytestmark = pytest.mark.long  # another server; the figures of lines are tested on the one that all tests share


@pytest.fixture(scope="module")
def femurs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Server, Path]]:
    root = tmp_path_factory.mktemp("femur-server")
    folder = root / "studies"
    folder.mkdir()
    image = sitk.GetImageFromArray(cv2.imread(str(SAMPLES / f"{FEMUR}.png"), cv2.IMREAD_GRAYSCALE)[None])
    image.SetSpacing((PIXEL_MM, PIXEL_MM, 1.0))
    sitk.WriteImage(image, str(folder / "thigh.mha"))
    running = start_shipped(root, free_port(), "femur")
    yield running, folder
    stop(running)


def test_an_end_is_dragged_and_its_band_is_submitted(browser: Any, femurs: tuple[Server, Path]) -> None:
    server, folder = femurs
    place = Workplace(browser.new_context(viewport={"width": 1366, "height": 768}), server.url)
    place.start()
    place.open("thigh")
    measured = place.page.locator(".measured")
    assert measured.inner_text().startswith("FL")
    assert "No femur" in place.page.locator(".decisions").inner_text()
    assert "Line" in place.page.locator(".tools").inner_text()
    found = place.page.evaluate("fetch('/fetaliqa/v1/case/assessment?image=thigh').then((one) => one.json())")
    found = found["frames"]["0"]["line"]
    place.press("Shift+E")
    start = place.pixel(found["x2"], found["y2"], SHAPE[::-1])
    goal = place.pixel(400.0, 100.0, SHAPE[::-1])
    place.page.mouse.move(*start)
    place.page.mouse.down()
    place.page.mouse.move(*goal, steps=4)
    place.page.mouse.up()
    place.counted("1 outlined")
    length = np.hypot(400 - found["x1"], 100 - found["y1"]) * PIXEL_MM
    assert float(measured.locator("b.own").inner_text()) == pytest.approx(length, abs=1.0)
    place.submit(1)
    version = LabelStore(folder / "label-versions").current("thigh", "final")
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(version.mask))).reshape(SHAPE)
    fit = fit_line(mask, None)
    assert (fit.line.x2, fit.line.y2) == pytest.approx((400, 100), abs=5)
    assert fit.thickness == pytest.approx(band_thickness(SHAPE), rel=0.15)
    place.page.goto(f"{server.url}/#/")
    place.page.reload()
    place.page.locator("li.case", has_text="FL").wait_for()
    place.check()
