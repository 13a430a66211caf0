"""An annotator in the browser: from a first look to the label in the store, through crashes and a dead server."""

from __future__ import annotations

import json
import signal
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_harness import Server
from workplace import STILL, SWEEP, Workplace, start_shipped

from fetaliqa.labels import LabelStore, LabelVersion
from fetaliqa.sweep import read_sweep
from monailabel_app.lib.browser.mask_runs import mask_of_runs


def stored(server: Server, case: str, tag: str) -> LabelVersion:
    store = LabelStore(server.studies / "label-versions")
    version = store.current(case, tag)
    assert version is not None
    assert version.record is not None
    return version


def masks_of(server: Server, version: LabelVersion) -> dict[int, np.ndarray]:
    path = next(server.images.glob(f"{version.case}.*"))
    stack = version.masks(read_sweep(path))
    return {frame: stack[frame] for frame in range(len(stack)) if stack[frame].any()}


def test_a_newcomer_outlines_corrects_and_submits_a_real_frame(workplace: Workplace, server: Server) -> None:
    page = workplace.page
    page.goto(server.url)
    page.get_by_label("Your name").fill("Nora")
    page.get_by_role("button", name="Start", exact=True).click()
    page.get_by_role("link", name=STILL).click()
    page.get_by_role("button", name="Accept outline").click()
    page.get_by_role("button", name="Ellipse").click()
    page.locator(".ac", has_text="no pixel spacing in the file").wait_for()
    workplace.press("ArrowRight", "ArrowRight", "Control+ArrowRight", ".")
    page.get_by_role("button", name="Optimal O").click()
    page.get_by_text("Your outline, optimal plane").wait_for()
    (work,) = workplace.journal()
    page.get_by_role("button", name="Submit").click()
    workplace.said("Submitted as version 1.")
    assert workplace.journal() == []

    version = stored(server, STILL, "final")
    label = version.record.frames[0] if version.record else None
    assert label is not None
    assert (label.state, label.plane, label.rater, label.model) == ("annotated", "optimal", "Nora", "abdomen")
    assert version.info["client"] == "FetalIQA in the browser"
    (mask,) = masks_of(server, version).values()
    drawn = work["frames"]["0"]["mask"]
    assert (mask == mask_of_runs(drawn, mask.shape, "it")).all()
    proposed = server.raw("GET", f"/fetaliqa/v1/case/assessment?image={STILL}").json()
    assert drawn != proposed["frames"]["0"]["mask"]


def test_the_label_is_the_one_that_slicer_sends(workplace: Workplace, server: Server) -> None:
    """The same masks and record through the Slicer module's own writer and the other endpoint."""
    from FetalIQALib.image_files import read_stack, write_masks

    workplace.start("Sara", "from-browser")
    workplace.open(SWEEP)
    workplace.go_to(5)
    workplace.press("d", "PageDown", "d", "s", "PageDown", "PageDown", "e")
    workplace.submit(1)
    browser_label = stored(server, SWEEP, "from-browser")
    masks = masks_of(server, browser_label)
    assert browser_label.record is not None

    from FetalIQALib.frame_masks import Mask

    with tempfile.TemporaryDirectory() as folder:
        stack = read_stack(server.images / f"{SWEEP}.mha", None)
        file = Path(folder) / "masks.mha"
        write_masks(file, {frame: Mask.of(mask) for frame, mask in masks.items()}, stack.grid)
        params = {"frame_record": browser_label.record.to_json(), "based_on": 0, "rater": "Sara"}
        answer = server.call(
            "PUT",
            f"/datastore/label?image={SWEEP}&tag=from-slicer",
            files={"label": (file.name, file.read_bytes())},
            data={"params": json.dumps(params)},
        )
    assert answer.status == 200, answer.body
    slicer_label = stored(server, SWEEP, "from-slicer")
    assert slicer_label.record == browser_label.record
    assert slicer_label.image == browser_label.image
    others = masks_of(server, slicer_label)
    assert sorted(others) == sorted(masks) == [5, 6]
    assert all((others[frame] == masks[frame]).all() for frame in masks)


def test_keys_that_are_pressed_faster_than_the_journal_writes_reach_their_frames(workplace: Workplace) -> None:
    workplace.start("Fay", "fast")
    workplace.open(SWEEP)
    workplace.go_to(4)
    workplace.press("d")
    field = workplace.page.get_by_label("Comment on this frame")
    field.fill("d e and u are typed here")
    field.press("Enter")
    workplace.press("o", "PageDown", "d", "s", "PageDown", "d", "PageDown", "PageDown", "e", "u", "u")
    workplace.saved()
    work = workplace.journaled(lambda work: sorted(work["frames"]) == ["4", "5"])
    labels = {frame: (one["state"], one["plane"]) for frame, one in work["frames"].items()}
    assert labels == {"4": ("annotated", "optimal"), "5": ("annotated", "suboptimal")}
    assert work["frames"]["4"]["comment"] == "d e and u are typed here"


def test_decisions_survive_a_killed_browser_and_a_dead_server(
    playwright: Any, chromium: str, server: Server, tmp_path: Path
) -> None:
    def launched() -> Any:
        options = {"executable_path": chromium, "args": ["--no-sandbox"]}
        return playwright.chromium.launch_persistent_context(tmp_path / "profile", **options)

    context = launched()
    place = Workplace(context, server.url)
    place.start("Kim", "killed")
    place.open(SWEEP)
    place.go_to(5)
    place.press("d", "o")
    place.said("optimal plane")
    place.journaled(lambda work: work["frames"].get("5", {}).get("plane") == "optimal")
    crash = context.new_cdp_session(place.page)
    crash.on("Inspector.targetCrashed", lambda _: None)
    with pytest.raises(Exception, match=r"crash|closed|Timeout"):
        place.page.goto("chrome://crash", timeout=5000)
    place.page = place.tab()
    place.open(SWEEP)
    assert "1 outlined" in place.counts()
    assert place.page.get_by_text("Your unsubmitted work was restored.").is_visible()

    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    place.page.wait_for_selector(".stage[data-frame]")
    place.press("PageDown", "d")
    place.press("Control+Enter")
    place.page.get_by_text("The server does not respond. Your work is kept").wait_for()
    assert "2 outlined" in place.counts()
    context.close()

    context = launched()
    restarted = start_shipped(server.root, server.address[1])
    server.process = restarted.process
    place = Workplace(context, server.url)
    place.start("Kim", "killed")
    place.open(SWEEP)
    assert "2 outlined" in place.counts()
    place.submit(1)
    context.close()
    assert sorted(masks_of(server, stored(server, SWEEP, "killed"))) == [5, 6]


def test_a_conflict_is_shown_with_a_choice_that_loses_nothing(workplace: Workplace, server: Server) -> None:
    workplace.start("Cleo", "shared")
    workplace.open(SWEEP)
    workplace.go_to(5)
    workplace.press("d")
    other = {
        "masks": {},
        "frame_record": {"schema": 1, "frames": {"5": {"state": "empty", "rater": "Otto"}}},
        "based_on": 0,
        "rater": "Otto",
    }
    saved = server.call("POST", f"/fetaliqa/v1/label?image={SWEEP}&tag=shared", json=other)
    assert saved.status == 200
    page = workplace.page
    workplace.press("Control+Enter")
    page.get_by_role("heading", name="Otto saved version 1 in the meantime").wait_for()
    assert page.get_by_text("yours: outlined; theirs: no abdomen").is_visible()
    page.get_by_role("button", name="Keep both").click()
    workplace.said("Saved as label “shared-Cleo”, version 1.")
    workplace.counted("0 outlined, 1 empty")
    assert sorted(masks_of(server, stored(server, SWEEP, "shared-Cleo"))) == [5]
    workplace.press("d")  # on the frame that Otto called empty
    workplace.submit(2)
    history = LabelStore(server.studies / "label-versions").history(SWEEP, "shared")
    assert [version.info["rater"] for version in history] == ["Otto", "Cleo"]


def test_a_second_tab_does_not_overwrite_the_first(workplace: Workplace) -> None:
    workplace.start("Tom", "tabs")
    workplace.open(SWEEP)
    workplace.go_to(5)
    workplace.press("d")
    second = workplace.tab()
    second.goto(f"{workplace.url}/#/case/{SWEEP}")
    second.locator(".problem", has_text="open in another tab").wait_for()
    assert second.locator(".decide:not([disabled])").count() == 0
    assert len(workplace.journal()[0]["frames"]) == 1
