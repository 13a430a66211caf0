"""Pictures of the page for the documentation, and of all views for looking at: ``docs/images/browser``.

``python benchmarks/browser_pictures.py [--all FOLDER]`` serves copies of sample cases, and drives Chromium. With
``--all`` every view goes to a folder, in light and dark, at 1366 x 768 and 1024 x 768. Needs
``make install chromium``.
"""

from __future__ import annotations

import argparse
import functools
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests" / "app"), str(REPOSITORY / "tests" / "browser")]

from app_harness import Server, free_port, start, stop  # noqa: E402
from workplace import Workplace  # noqa: E402

SAMPLES = REPOSITORY / "sample-data" / "images" / "stacked_fetal_ultrasound"
CASE = "5cb3b4e9-bd03-43ef-851b-aa207eec56ca"
SHOWN = REPOSITORY / "docs" / "images" / "browser"
SIZES = {"laptop": (1366, 768), "tablet": (1024, 768)}


def assess_all(server: Server) -> None:
    """Assess all cases, so that the worklist shows their figures, and give two of them a label."""
    for row in server.raw("GET", "/fetaliqa/v1/worklist").json()["cases"]:
        server.raw("GET", f"/fetaliqa/v1/case/assessment?image={row['id']}")
    for case, state in (("Patient00789_Plane2_1_of_1", "accepted"), ("Patient01171_Plane2_1_of_1", "returned")):
        found = server.raw("GET", f"/fetaliqa/v1/case/assessment?image={case}").json()["frames"]
        record = {"schema": 1, "frames": {"0": {"state": "annotated", "plane": "optimal", "rater": "Anna"}}}
        body = {"masks": {"0": found["0"]["mask"]}, "frame_record": record, "rater": "Anna"}
        server.call("POST", f"/fetaliqa/v1/label?image={case}&tag=final", json=body)
        comment = {"state": state, "comment": "" if state == "accepted" else "the stomach side is cut off"}
        server.call("POST", f"/datastore/label/review?label={case}&tag=final&version=1", data=comment)


def show_case(place: Workplace) -> None:
    """The best frame with an ellipse of one's own."""
    place.open(CASE)
    page = place.page
    page.wait_for_selector(".ac b.model, .ac b.own")
    place.press("Home")
    page.wait_for_selector(".stage[data-frame='61']")
    place.press("Shift+E", "ArrowLeft", "ArrowUp", "Control+ArrowRight", "Control+ArrowRight", "o")
    page.get_by_text("Your outline, optimal plane").wait_for()
    page.wait_for_selector(".toast", state="detached", timeout=20_000)


def views(place: Workplace, save: Any) -> None:
    """Every view, one after the other."""
    page = place.page
    page.goto(place.url)
    page.get_by_label("Your name").wait_for()
    save("welcome")
    place.start("Anna")
    page.wait_for_timeout(1500)
    save("worklist")
    show_case(place)
    save("case")
    place.press("Escape", "b")
    page.mouse.move(*place.point(0.5, 0.5))
    save("brush")
    place.press("Escape", "Shift+F1")
    page.wait_for_selector("dialog[open]")
    save("keys")
    place.press("Escape")
    page.wait_for_selector("dialog[open]", state="detached")  # keys are not the page's while it is open
    place.press("Control+Enter")
    place.said("Submitted")
    page.get_by_label("Compare with a label").select_option("final")
    page.locator(".case-panel").evaluate("panel => panel.scrollTo(0, 10000)")
    page.wait_for_timeout(500)
    save("review")
    for view in (f"report/{CASE}", "learn", "export"):
        page.goto(f"{place.url}/#/{view}")
        page.wait_for_selector(".loading", state="detached")
        if view == "export":
            page.get_by_role("button", name="Dry run").click()
            page.locator(".figures").first.wait_for()
        page.wait_for_timeout(1500)
        save(view.split("/")[0])


def save(place: Workplace, everything: Path | None, kind: str, name: str) -> None:
    """Save a picture of a view: of every one in ``everything``, else those that the pages show."""
    if everything is not None:
        everything.mkdir(parents=True, exist_ok=True)
        place.page.screenshot(path=everything / f"{name}-{kind}.png")
    elif name == "case":
        SHOWN.mkdir(parents=True, exist_ok=True)
        place.page.screenshot(path=SHOWN / f"{name}-{kind.split('-')[0]}.png")


def main() -> None:
    """Make the pictures."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", type=Path, help="folder for the pictures of every view")
    everything = parser.parse_args().all
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        root = Path(folder)
        images = root / "studies" / "images" / "stacked_fetal_ultrasound"
        images.mkdir(parents=True)
        for file in [*SAMPLES.glob("*.png"), SAMPLES / f"{CASE}.mha"]:
            shutil.copy(file, images)
        port = free_port()
        command = ["-m", "monailabel_app.serve", "--studies", str(root / "studies"), "--port", str(port)]
        server = start(
            root, [*command, "--conf", "device", "cpu", "--conf", "cache_dir", str(root / "cache")], port
        )
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        try:
            assess_all(server)
            for scheme in ("light", "dark"):
                for size, (width, height) in SIZES.items():
                    if everything is None and size == "tablet":
                        continue
                    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
                    place = Workplace(context, server.url)
                    views(place, functools.partial(save, place, everything, f"{scheme}-{size}"))
                    place.check()
                    context.close()
                    server.raw("DELETE", f"/datastore/label?id={CASE}&tag=final")
        finally:
            browser.close()
            stop(server)


if __name__ == "__main__":
    main()
