"""A real training, started from the page on labels that were submitted there, to the decision of its gate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from app_harness import Server
from learning_studies import learning_server, phantom, save_truth
from workplace import Workplace

IN_THE_PAGE = 50_001  # labelled there
BY_OTHERS = (50_002, 50_003, 50_004)
TRAINING_MS = 400_000

pytestmark = [pytest.mark.slow, pytest.mark.long]  # test_browser_training.py checks the same on a server's answers


@pytest.fixture(scope="module")
def cases() -> dict[str, Any]:
    return {f"case-{seed}": phantom(seed) for seed in (IN_THE_PAGE, *BY_OTHERS)}


@pytest.fixture(scope="module")
def learning(tmp_path_factory: pytest.TempPathFactory, cases: dict[str, Any]) -> Iterator[Server]:
    """A server with a weak model, whose trainings have one epoch."""
    root = tmp_path_factory.mktemp("browser-learning")
    with learning_server(root, cases) as running:
        yield running
    assert "Traceback" not in (root / "server.log").read_text()


def test_a_training_is_started_followed_and_decided_on_in_the_page(
    browser: Any, learning: Server, cases: dict[str, Any], tmp_path: Any
) -> None:
    place = Workplace(browser.new_context(viewport={"width": 1366, "height": 768}), learning.url)
    page = place.page
    page.goto(f"{learning.url}/#/learn")
    page.get_by_label("Your name").fill("Lena")
    page.get_by_role("button", name="Start", exact=True).click()
    page.get_by_role("button", name="Start training").click()
    place.said("No frame is confirmed yet")  # refused before anything is started

    for seed in BY_OTHERS:
        assert save_truth(learning, f"case-{seed}", cases[f"case-{seed}"], tmp_path).status == 200
    name = f"case-{IN_THE_PAGE}"
    outlined = [int(frame) for frame in range(len(cases[name].masks)) if cases[name].masks[frame].any()]
    place.open(name)
    place.go_to(0)
    place.press("e", "PageDown", "e")
    place.go_to(outlined[len(outlined) // 2])
    place.press("Shift+E")
    (left, top), (right, bottom) = place.point(0.35, 0.35), place.point(0.65, 0.65)
    page.mouse.move(left, top)
    page.mouse.down()
    page.mouse.move(right, bottom, steps=4)
    page.mouse.up()
    place.counted("1 outlined, 2 empty")
    place.submit(1)

    page.goto(f"{learning.url}/#/learn")
    page.get_by_role("button", name="Start training").click()
    place.said("The training has started.")
    page.locator(".tag", has_text="running").wait_for()
    page.get_by_role("img", name="Loss by step: from ").wait_for(timeout=TRAINING_MS)
    page.locator(".tag.run-done").wait_for(timeout=TRAINING_MS)
    page.get_by_role("heading", name="Gate: version 1").wait_for()
    report = learning.raw("GET", "/fetaliqa/v1/models/report?version=1").json()
    verdict = "accepted" if report["gate"]["passed"] else "refused"
    page.locator("h2 .tag", has_text=verdict).wait_for()
    gate = page.locator(".card", has=page.get_by_role("heading", name="Gate: version 1"))
    assert gate.get_by_text(report["sentence"]).is_visible()
    dice = report["gate"]["groups"]["confirmed"]["figures"]["dice"]
    row = page.locator("table.gate tr", has_text="dice").first.inner_text()
    assert f"{dice['published']:.3f}" in row
    assert f"{dice['candidate']:.3f}" in row
    pictures = page.locator(".compared img")
    assert pictures.count() == 2 * len(report["gate"]["pictures"]) > 0
    pictures.first.scroll_into_view_if_needed()
    page.wait_for_timeout(1000)
    assert pictures.first.evaluate("picture => picture.naturalWidth") > 100

    if not report["gate"]["passed"]:
        page.get_by_role("button", name="Publish", exact=True).click()
        page.get_by_label("Reason").fill("tried in a test")
        page.get_by_role("button", name="Publish anyway").click()
        place.said("Version 1 is published.")
    page.get_by_text("In use: fetalclip_seg 1").wait_for()
    served = learning.raw("GET", "/models/").json()
    assert (served["current"], served["served"]["version"]) == ("1", "1")
    place.check()
    place.context.close()
