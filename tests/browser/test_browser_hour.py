"""An hour of an annotator in the browser: decisions at random, with crashes of the tab and kills of the server."""

from __future__ import annotations

import contextlib
import json
import random
import signal
from typing import Any

from app_harness import Server
from workplace import SWEEP, Workplace, start_shipped

from fetaliqa.labels import LabelStore

ROUNDS, ACTIONS = 6, 14
KEYS = (
    "d",
    "d",
    "e",
    "o",
    "s",
    "c",
    "Delete",
    "u",
    "Shift+U",
    "PageDown",
    "PageDown",
    "PageUp",
    "n",
    "Home",
    "l",
    "j",
)
TAG, RATER = "hour", "Hana"


def labels(work: dict[str, Any] | None) -> dict[str, tuple[str, str | None]]:
    """State and plane of each labelled frame of a journal."""
    frames = {} if work is None else work["frames"]
    return {frame: (one["state"], one["plane"]) for frame, one in frames.items() if one["state"] != "untouched"}


def shown(place: Workplace) -> tuple[int, int]:
    """Numbers of outlined and of empty frames that the page shows."""
    outlined, empty = place.counts().split(" · ")[0].split(", ")
    return int(outlined.split()[0]), int(empty.split()[0])


def settled(place: Workplace) -> dict[str, Any] | None:
    """The journal, once every action is done and it holds what the page shows."""
    place.saved()

    def agrees(work: dict[str, Any]) -> bool:
        states = [state for state, _ in labels(work).values()]
        return (states.count("annotated"), states.count("empty")) == shown(place)

    return place.journaled(agrees) if shown(place) != (0, 0) or place.journal() else None


def crash(place: Workplace) -> None:
    with contextlib.suppress(Exception):
        place.page.goto("chrome://crash", timeout=3000)
    place.page = place.tab()


def kill(place: Workplace, server: Server) -> None:
    server.process.send_signal(signal.SIGKILL)
    server.process.wait()
    place.press("PageDown", "d")  # goes on meanwhile
    server.process = start_shipped(server.root, server.address[1]).process


def test_an_hour_with_crashes_and_kills_loses_no_decision(browser: Any, server: Server) -> None:
    chance = random.Random(7)
    place = Workplace(browser.new_context(viewport={"width": 1366, "height": 768}), server.url)
    place.start(RATER, TAG)
    place.open(SWEEP)
    version, last = 0, {}
    for round_number in range(ROUNDS):
        for _ in range(ACTIONS):
            place.press(chance.choice(KEYS))
        if round_number % 3 == 1:
            kill(place, server)
        last = labels(settled(place))
        if round_number % 2 == 0:
            crash(place)
        else:
            place.page.reload()
        place.open(SWEEP)
        assert labels(settled(place)) == last
        if round_number % 3 == 2 and place.journal():
            version += 1
            place.submit(version)
            record = LabelStore(server.studies / "label-versions").version(SWEEP, TAG, version).record
            assert record is not None
            assert json.dumps({str(f): (one.state, one.plane) for f, one in record.frames.items()}) == json.dumps(
                {frame: last[frame] for frame in sorted(last, key=int)}
            )
    place.context.close()
    assert version == 2
    assert len(last) > 3
