"""The page of trainings: what a running one and a gate's report look like; answers as in docs/learning.md."""

from __future__ import annotations

import math
from typing import Any

from workplace import SAMPLES, STILL, Workplace

GROUP = {
    "cases": 9,
    "subjects": 8,
    "frames": 120,
    "outlined": 60,
    "empty": 60,
    "synthetic": False,
    "figures": {
        "dice": {
            "published": 0.861,
            "candidate": 0.902,
            "difference": 0.041,
            "interval": [0.012, 0.07],
            "subjects": 8,
            "sure": "better",
        },
        "f1": {
            "published": 0.88,
            "candidate": 0.87,
            "difference": -0.01,
            "interval": [-0.05, 0.03],
            "subjects": 8,
            "sure": None,
        },
        "score": None,  # not defined on these frames
    },
}
PICTURES = [
    {"case": "one", "frame": 12, "outlined": True, "published": 0.91, "candidate": 0.84},
    {"case": "two", "frame": 3, "outlined": False, "published": 0.0, "candidate": 1.0},
]
REPORT = {
    "version": "2",
    "sentence": "dice is significantly better",
    "gate": {"passed": True, "groups": {"confirmed": GROUP}, "pictures": PICTURES},
}
MODELS = {
    "name": "fetalclip_seg",
    "current": "2",
    "served": {"name": "fetalclip_seg", "version": "2"},
    "follows": True,
    "versions": [
        {"version": "2", "published": True, "sentence": "dice is significantly better", "refused": False},
        {"version": "3", "published": False, "sentence": "not better", "refused": True},
    ],
}
HISTORY = [
    {"time": "2026-11-30T10:00:00+00:00", "action": "publish", "version": "2", "reason": "the gate accepted it"}
]


def mocked(place: Workplace, asked: list[tuple[str, str, Any]]) -> None:
    """A server on which a training runs and two versions wait."""
    known = place.page.evaluate("fetch('/info/').then((response) => response.json())")

    def on_info(route: Any) -> None:
        info = dict(known)
        losses = [round(0.9 * math.exp(-step / 20) + 0.1, 4) for step in range(50)]
        info["train_stats"] = {
            "fetalclip_seg": {
                "run": 4,
                "state": "running",
                "stage": "train",
                "epoch": 2,
                "epochs": 4,
                "step": 50,
                "steps": 80,
                "losses": losses,
                "validation": {"val_dice": 0.912},
                "eta_seconds": 35,
                "frames_since": 12,
            }
        }
        route.fulfill(json=info)

    def on_change(route: Any) -> None:
        request = route.request
        asked.append((request.method, request.url.removeprefix(place.url), request.post_data_json))
        route.fulfill(json={})

    page = place.page
    page.route("**/info/", on_info)
    page.route("**/models/", lambda route: route.fulfill(json=MODELS))
    page.route("**/models/history", lambda route: route.fulfill(json=HISTORY))
    page.route("**/models/report?*", lambda route: route.fulfill(json=REPORT))
    page.route("**/models/report/picture?*", lambda route: route.fulfill(path=SAMPLES / f"{STILL}.png"))
    page.route("**/models/publish", on_change)
    page.route("**/models/rollback", on_change)
    page.route(
        "**/train/",
        lambda route: (
            on_change(route)
            if route.request.method == "DELETE"
            else route.fulfill(json={"details": ["epoch 2 of 4: loss 0.150"]})
        ),
    )


def test_a_training_is_watched_stopped_and_its_versions_are_chosen(workplace: Workplace) -> None:
    asked: list[tuple[str, str, Any]] = []
    workplace.start("Tina")
    mocked(workplace, asked)
    page = workplace.page
    page.goto(f"{workplace.url}/#/learn")
    page.get_by_role("img", name="Loss by step: from 1.000 to 0.").wait_for()
    assert page.get_by_text("epoch 2 of 4 · about 35 s left").is_visible()
    assert page.get_by_role("button", name="Start training").is_disabled()
    row = page.locator("table.gate tr", has_text="dice")
    assert [text in row.inner_text() for text in ("0.861", "0.902", "+0.041", "better")] == [True] * 4
    assert row.get_by_role("img", name="+0.012 … +0.070").count() == 1
    pictures = page.locator(".compared")
    assert ["worse" in pictures.nth(0).inner_text(), "better" in pictures.nth(1).inner_text()] == [True] * 2
    page.get_by_role("img", name="Published: case one, frame 12; Dice 0.91").scroll_into_view_if_needed()
    assert page.get_by_role("img", name="Candidate: case two, frame 3; empty, and called so").count() == 1
    assert pictures.nth(1).get_by_role("link", name="two").get_attribute("href") == "#/case/two"
    page.get_by_role("button", name="Publish", exact=True).click()
    page.get_by_label("Reason").fill("checked by eye")
    page.get_by_role("button", name="Publish anyway").click()
    workplace.said("Version 3 is published.")
    page.get_by_role("button", name="Roll back").click()
    workplace.said("The version before is in use again.")
    page.get_by_role("button", name="Stop").click()
    workplace.said("The training was stopped.")
    assert asked == [
        ("POST", "/models/publish", {"version": "3", "force": True, "reason": "checked by eye"}),
        ("POST", "/models/rollback", None),
        ("DELETE", "/train/", None),
    ]
