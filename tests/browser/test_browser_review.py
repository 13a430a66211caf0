"""Review in the page: two raters and a reviewer, who sees their labels one over the other, or side by side."""

from __future__ import annotations

from typing import Any

from app_harness import Server
from workplace import SWEEP, Workplace

IMAGES = "Array.from(document.querySelectorAll('.stage canvas.frame'), (canvas) => canvas.toDataURL())"


def compare_side_by_side(vera: Workplace) -> None:
    """Both raters' outlines of frame 5, each with its circumference, moved together."""
    page = vera.page
    vera.go_to(5)
    page.get_by_role("button", name="Side by side").click()
    titles = page.locator(".pane-title")
    assert "your label" in titles.nth(0).inner_text()
    page.get_by_label("On the left").select_option("rita")
    titles.nth(0).get_by_text("rita · version 1").wait_for()
    circumferences = []
    for title, rater in ((titles.nth(0), "rita"), (titles.nth(1), "rolf")):
        assert title.locator("b").inner_text() == f"{rater} · version 1"
        circumferences.append(float(title.locator("span").inner_text().split()[1]))
    assert circumferences[0] != circumferences[1]
    page.locator(".agreement", has_text="Mean Dice").wait_for()
    whole = page.evaluate(IMAGES)
    assert whole[0] == whole[1]
    page.locator(".stage.right").hover()
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    zoomed = page.evaluate(IMAGES)
    assert zoomed[0] == zoomed[1] != whole[0]
    page.mouse.wheel(0, 60)  # the next frame, in both
    page.wait_for_selector(".stage.right[data-frame='6']")
    page.wait_for_selector(".stage[data-frame='6']:not(.right)")
    titles.nth(0).get_by_text("not labelled").wait_for()
    vera.press("d")
    vera.said("Two other labels are compared")
    assert "0 outlined" in vera.counts()
    page.get_by_role("button", name="Overlay").click()
    assert page.locator(".pane-title").count() == 0


def test_two_raters_and_a_reviewer(browser: Any, server: Server) -> None:
    places = {}
    for name in ("rita", "rolf", "vera"):
        places[name] = Workplace(browser.new_context(viewport={"width": 1366, "height": 768}), server.url)
        places[name].start(name, name if name != "vera" else "final")
        places[name].open(SWEEP)
    for name, keys in (("rita", "d"), ("rolf", "Shift+E")):
        places[name].go_to(5)
        places[name].press(keys)
    places["rolf"].press(
        "Shift+ArrowRight", "Shift+ArrowRight", "Control+ArrowRight", "Control+ArrowRight", "Escape"
    )
    for name in ("rita", "rolf"):
        places[name].submit(1)
    page = places["rita"].page
    page.reload()
    places["rita"].open(SWEEP)
    page.get_by_label("Compare with a label").select_option("rolf")
    page.locator(".agreement", has_text="Mean Dice").wait_for()
    page = places["vera"].page
    page.reload()
    places["vera"].open(SWEEP)
    page.get_by_label("Compare with a label").select_option("rolf")
    page.get_by_placeholder("What should change?").fill("too far right")
    page.get_by_role("button", name="Request changes").click()
    places["vera"].said("Changes to version 1 of “rolf” are requested.")
    compare_side_by_side(places["vera"])
    page.get_by_label("Compare with a label").select_option("rita")
    page.get_by_role("button", name="Make final").click()
    places["vera"].said("Version 1 of “rita” is the final label now.")
    page = places["rolf"].page
    page.goto(server.url)
    page.locator(".case", has_text="too far right").wait_for()
    for place in places.values():
        place.check()
        place.context.close()
