"""Clicks and carry-along in the page, answered by the interactive model that ships, on a phantom's sweep."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from app_harness import Server
from workplace import FRAMES, SAMPLES, SOURCE, SWEEP, Workplace

from monailabel_app.lib.browser.mask_runs import mask_of_runs

CLICKED = 5  # frame in the middle of the phantom's abdomen, which frames 4 to 7 show


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    """The abdomen as the phantom has it, bool [T, H, W]."""
    masks = SAMPLES.parents[1] / "masks" / "stacked_fetal_abdomen" / f"{SOURCE}.mha"
    return sitk.GetArrayFromImage(sitk.ReadImage(str(masks)))[FRAMES] > 0


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return float(2 * (one & other).sum() / (one.sum() + other.sum()))


def test_a_click_outlines_and_the_outline_is_carried_and_confirmed(
    workplace: Workplace, server: Server, drawn: np.ndarray
) -> None:
    page, (rows, columns) = workplace.page, drawn.shape[1:]

    def mask(work: dict[str, Any], frame: int) -> np.ndarray:
        return mask_of_runs(work["frames"][str(frame)]["mask"], (rows, columns), "it") > 0

    def on_assessment(route: Any) -> None:
        response = route.fetch()
        assessment = response.json()
        del assessment["frames"][str(CLICKED)]  # the click alone makes the mask
        route.fulfill(response=response, json=assessment)

    page.route("**/case/assessment?*", on_assessment)
    workplace.start("Ida", "prompted")
    workplace.open(SWEEP)
    workplace.go_to(7)
    workplace.press("e")  # a decision, which nothing that follows may change
    workplace.go_to(CLICKED)
    page.locator(".status", has_text="the model finds no abdomen here").wait_for()
    workplace.press("f")
    row, column = (float(places.mean()) for places in np.nonzero(drawn[CLICKED]))
    page.mouse.click(*workplace.pixel(column, row, (columns, rows)))
    work = workplace.journaled(lambda work: "5" in work["frames"])
    assert dice(mask(work, CLICKED), drawn[CLICKED]) > 0.9
    page.mouse.click(*workplace.pixel(20.0, row, (columns, rows)), button="right")
    workplace.journaled(lambda work: work["frames"]["5"]["origin"] == {"origin": "interactive", "clicks": 2})
    workplace.press("f", "t")
    page.locator(".toast", has_text="confirms").wait_for()
    work = workplace.journaled(lambda work: "6" in work["frames"])
    assert work["frames"]["6"]["state"] == "untouched"
    assert work["frames"]["7"]["state"] == "empty"

    workplace.press("PageDown")
    page.get_by_text("outline propagated from frame 5").wait_for()
    page.get_by_role("button", name="Confirm").click()
    workplace.said("1 outline carried from frame 5 confirmed: frame 6.")
    workplace.press("u")
    work = workplace.journaled(lambda work: work["frames"]["6"]["state"] == "untouched")
    waiting = sorted(
        int(key) for key, one in work["frames"].items() if one["pending"] and one["state"] == "untouched"
    )
    assert 4 in waiting
    workplace.press("PageUp", "Shift+T")  # at the start frame: all of them, in one step
    workplace.said("confirmed: frames")
    work = workplace.journaled(lambda work: work["frames"]["6"]["state"] == "annotated")
    assert {work["frames"][str(frame)]["state"] for frame in waiting} == {"annotated"}
    workplace.press("u")
    work = workplace.journaled(lambda work: work["frames"]["6"]["state"] == "untouched")
    assert [key for key, one in sorted(work["frames"].items()) if one["state"] != "untouched"] == ["5", "7"]
    workplace.press("Shift+U")
    work = workplace.journaled(lambda work: work["frames"]["6"]["state"] == "annotated")
    assert all(dice(mask(work, frame), drawn[frame]) > 0.9 for frame in (4, 5, 6))
    workplace.submit(1)

    saved = server.raw("GET", f"/fetaliqa/v1/label?image={SWEEP}&tag=prompted").json()
    entries = saved["frame_record"]["frames"]
    assert (entries["5"]["origin"], entries["5"]["clicks"]) == ("interactive", 2)
    assert (entries["6"]["origin"], entries["6"]["source_frame"]) == ("propagated", CLICKED)
    assert entries["7"]["state"] == "empty"
    assert {entries[key]["rater"] for key in entries} == {"Ida"}
    assert saved["masks"]["6"] == work["frames"]["6"]["mask"]
    assert "7" not in saved["masks"]
