"""The best frame comes first: the model's whole look at a case goes on while the annotator works on it."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs

import numpy as np
import pytest
import SimpleITK as sitk
from app_harness import Server
from demo_server import CASES
from fake_server import FakeServer, Handler
from FetalIQALib import between, palette
from FetalIQALib.casework import CaseWork
from FetalIQALib.describing import decision_line, frame_line, measurement_line, strip_tip
from FetalIQALib.strip import QUALITY, columns_of, draw_strip
from FetalIQALib.workplace import Workplace
from workplaces import a_sweep, connected, opened, settle, wait_for

COUNT, BEST = 12, 7


def stack_bytes(folder: Path, stack: np.ndarray) -> bytes:
    path = folder / "stack.mha"
    sitk.WriteImage(sitk.GetImageFromArray(stack), str(path))
    return path.read_bytes()


class SlowModel:
    """Answers a search at once, and everything else when it is let go; of the best frame also ``extra``."""

    extra: Mapping[str, object] = {}

    def __init__(self, fake: FakeServer, folder: Path) -> None:
        self.go, self.asked = threading.Event(), list[bool]()
        stack = np.full((COUNT, 20, 30), 50, np.uint8)
        fake.on("GET", "/datastore/image", stack_bytes(folder, stack))
        masks = np.zeros_like(stack)
        masks[BEST, 5:15, 5:15] = 1
        self.masks = {True: stack_bytes(folder, masks)}
        masks[BEST + 1, 5:15, 5:15] = 1
        self.masks[False] = stack_bytes(folder, masks)
        fake.on("POST", "/infer/", self.infer)

    def infer(self, handler: Handler) -> tuple[int, bytes, dict[str, str]]:
        search = json.loads(parse_qs(handler.body.decode())["params"][0])["search"]
        self.asked.append(search)
        if not search:
            assert self.go.wait(20)
        if "output=image" in handler.path:
            return 200, self.masks[search], {}
        frames = [
            {"index": frame, "quality": 0.9 if frame == BEST else 0.3, "positive": frame in (BEST, BEST + 1)}
            for frame in range(COUNT)
        ]
        if search:
            for frame in frames:
                if frame["index"] != BEST:
                    frame |= {"positive": None, "interpolated": True}
        frames[BEST] |= self.extra
        told = {
            "frames": frames,
            "best": BEST,
            "warning": self.extra.get("warning"),
            "ranking": [BEST],
            "model": {"name": "demo", "version": "1"},
        }
        return 200, json.dumps({"fetaliqa": told}).encode(), {}


@pytest.fixture
def model(fake: FakeServer, tmp_path: Path) -> SlowModel:
    return SlowModel(fake, tmp_path)


@pytest.fixture
def place(fake: FakeServer, model: SlowModel, tmp_path: Path) -> Workplace:
    made = connected(tmp_path / "work", fake.url)
    assert made.desk.open("case_a")
    wait_for(made, lambda: made.desk.work is not None and made.desk.work.sweep.assessment is not None, 20)
    return made


def test_the_best_frame_is_shown_while_the_model_looks_at_the_others(place: Workplace, model: SlowModel) -> None:
    desk = place.desk
    assert desk.position == BEST
    assert place.hub.status.text == f"Best frame: {BEST}. The model looks at the other frames …"
    assert place.hub.status.kind == "busy"
    assert "quality 0.90" in frame_line(desk)
    desk.go_to(2)
    assert "quality about 0.30, not looked at yet" in frame_line(desk)
    assert decision_line(desk) == "Undecided, the model has not looked at this frame yet."
    desk.go_to(BEST)
    assert desk.act("accept", lambda work: work.accept(BEST))  # work goes on meanwhile
    desk.go_to(4)
    model.go.set()
    settle(place)
    assert place.hub.status.text == f"Best frame: {BEST}."
    assert desk.position == 4  # nobody is pulled away
    assert sorted(desk.work.frames) == [BEST]
    assert desk.work.sweep.assessment.whole
    assert sorted(desk.work.sweep.assessment.proposals) == [BEST, BEST + 1]
    assert decision_line(desk) == "Undecided, nothing proposed."
    assert model.asked == [True, True, False, False]


WARNING = "unlike the images that the model learnt from (distance 1.70, limit 1); check that it shows the abdomen"


def test_a_best_frame_unlike_the_training_data_is_not_announced_without_saying_so(
    fake: FakeServer, tmp_path: Path
) -> None:
    model = SlowModel(fake, tmp_path)
    model.extra = {"expected_dice": 0.62, "distance": 1.7, "unlike_training_data": True, "warning": WARNING}
    model.go.set()
    place = connected(tmp_path / "work", fake.url)
    assert place.desk.open("case_a")
    settle(place)
    desk = place.desk
    assert place.hub.status.text == f"Best frame: {BEST}, {WARNING}."
    assert "quality 0.90 · expected Dice 0.62 · unlike what the model learnt from · best frame" in frame_line(desk)
    assert measurement_line(desk).endswith(f" – {WARNING}")
    assert strip_tip(desk, BEST).endswith("expected Dice 0.62, unlike what the model learnt from")
    desk.go_to(2)
    assert "expected Dice" not in frame_line(desk)
    assert "unlike" not in strip_tip(desk, 2)


def test_without_a_usable_frame_it_is_said_how_many_are_unlike_the_training_data() -> None:
    none = replace(a_sweep().assessment, best=None, reason="no usable frame: none shows it.")
    assert none.sentence() == "no usable frame: none shows it."
    assert replace(none, unlike=frozenset({1, 2})).sentence().endswith("2 frames are unlike what it learnt from.")


def test_a_guess_is_a_line_and_not_a_bar(place: Workplace) -> None:
    picture = draw_strip(place.desk.work, 0, 240)
    columns = columns_of(COUNT, 240)
    colour = tuple(palette.quality_colours(np.array([0.3]))[0])
    guess, seen = (picture[QUALITY, (columns[frame] + columns[frame + 1]) // 2] for frame in (3, BEST))
    assert (guess == colour).all(axis=1).sum() == 2
    assert (seen == palette.quality_colours(np.array([0.9]))[0]).all(axis=1).sum() > 30


def test_a_guess_is_no_evidence(place: Workplace) -> None:
    """Nothing is called gone, and nothing is exported, that the model has not looked at."""
    work = place.desk.work
    work.sweep.assessment.quality[3] = 0.0
    assert not between._unseen(work.sweep, 3)
    work.sweep.assessment.guessed[3] = False
    assert between._unseen(work.sweep, 3)
    assert np.isnan(work.sweep.assessment.seen_quality(4))
    assert work.sweep.assessment.seen_quality(BEST) == 0.9


def test_closing_the_case_gives_the_second_look_up(place: Workplace, model: SlowModel) -> None:
    assert place.runner.busy("assess")
    assert place.desk.close()
    model.go.set()
    settle(place)
    assert place.desk.work is None


def test_a_case_that_was_assessed_before_is_whole_at_once(server: Server, tmp_path: Path) -> None:
    """On a real server: what was looked at whole answers the search, and nothing is asked again."""
    opened(connected(tmp_path / "one", server.url, tag="first"), CASES[0])
    place = connected(tmp_path / "two", server.url, tag="second")
    asked: list[bool] = []
    client = place.hub.client
    assess = client.assess
    client.assess = lambda *args, search=False, **kwargs: (
        asked.append(search),
        assess(*args, search=search, **kwargs),
    )[1]
    work: CaseWork = opened(place, CASES[0])
    assert work.sweep.assessment.whole
    assert asked == [True]
