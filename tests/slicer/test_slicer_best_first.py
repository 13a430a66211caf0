"""The best frame is assessed first; the other frames are assessed while the annotator works."""

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
from FetalIQALib import display_colours, interpolation
from FetalIQALib.case_annotation import CaseAnnotation
from FetalIQALib.panel_text import frame_line, label_line, measurement_line, strip_tip
from FetalIQALib.quality_strip import QUALITY, columns_of, draw_strip
from FetalIQALib.workspace import Workspace
from workspaces import a_sweep, connected, opened, settle, wait_for

COUNT, BEST = 12, 7


def stack_bytes(folder: Path, stack: np.ndarray) -> bytes:
    path = folder / "stack.mha"
    sitk.WriteImage(sitk.GetImageFromArray(stack), str(path))
    return path.read_bytes()


class SlowModel:
    """Responds to a search at once, to other requests after ``go``; ``extra`` is added to the best frame."""

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
        record = {
            "frames": frames,
            "best": BEST,
            "warning": self.extra.get("warning"),
            "ranking": [BEST],
            "model": {"name": "demo", "version": "1"},
        }
        return 200, json.dumps({"fetaliqa": record}).encode(), {}


@pytest.fixture
def model(fake: FakeServer, tmp_path: Path) -> SlowModel:
    return SlowModel(fake, tmp_path)


@pytest.fixture
def workspace(fake: FakeServer, model: SlowModel, tmp_path: Path) -> Workspace:
    opening = connected(tmp_path / "work", fake.url)
    controller = opening.controller
    assert controller.open("case_a")
    wait_for(
        opening,
        lambda: controller.annotation is not None and controller.annotation.sweep.assessment is not None,
        20,
    )
    return opening


def test_the_best_frame_is_shown_while_the_others_are_assessed(workspace: Workspace, model: SlowModel) -> None:
    controller = workspace.controller
    assert controller.position == BEST
    assert workspace.session.status.text.startswith(f"Best frame: {BEST}.")
    assert workspace.session.status.kind == "busy"
    assert "quality 0.90" in frame_line(controller)
    controller.go_to(2)
    assert "0.30" in frame_line(controller)
    assert "estimated" in frame_line(controller)
    not_assessed = label_line(controller)
    assert "not assessed" in not_assessed
    controller.go_to(BEST)
    assert controller.apply("accept", lambda annotation: annotation.accept(BEST))
    controller.go_to(4)
    model.go.set()
    settle(workspace)
    assert workspace.session.status.text == f"Best frame: {BEST}."
    assert controller.position == 4  # the current frame stays
    assert sorted(controller.annotation.frames) == [BEST]
    assert controller.annotation.sweep.assessment.complete
    assert sorted(controller.annotation.sweep.assessment.proposals) == [BEST, BEST + 1]
    assert label_line(controller) not in ("", not_assessed)  # assessed, without a proposal
    assert model.asked == [True, True, False, False]


WARNING = "unlike the images that the model learnt from (distance 1.70, limit 1); check that it shows the abdomen"


def test_a_best_frame_unlike_the_training_data_has_a_warning(fake: FakeServer, tmp_path: Path) -> None:
    model = SlowModel(fake, tmp_path)
    model.extra = {"expected_dice": 0.62, "distance": 1.7, "unlike_training_data": True, "warning": WARNING}
    model.go.set()
    workspace = connected(tmp_path / "work", fake.url)
    assert workspace.controller.open("case_a")
    settle(workspace)
    controller = workspace.controller
    assert workspace.session.status.text == f"Best frame: {BEST}, {WARNING}."
    for part in ("0.90", "best frame"):
        assert part in frame_line(controller)
    for part in ("Dice 0.62", "unlike"):
        assert part in measurement_line(controller)
    assert measurement_line(controller).endswith(f" – {WARNING}")
    assert "Dice 0.62" in strip_tip(controller, BEST)
    assert "unlike" in strip_tip(controller, BEST)
    assert controller.apply("accept", lambda annotation: annotation.accept(BEST))
    assert "Dice 0.62" in measurement_line(controller)
    mask = controller.annotation.masks()[BEST].full()
    controller.draw_mask(BEST, np.roll(mask, 2, axis=1), "draw")
    assert "Dice" not in measurement_line(controller)  # of the annotator's mask nothing is expected
    assert "unlike" in measurement_line(controller)
    controller.go_to(2)
    assert "expected Dice" not in measurement_line(controller)
    assert "unlike" not in strip_tip(controller, 2)


def test_without_a_usable_frame_the_number_of_frames_unlike_the_training_data_is_shown() -> None:
    none = replace(a_sweep().assessment, best=None, reason="no usable frame: none shows it.")
    assert none.message() == "no usable frame: none shows it."
    unlike = replace(none, out_of_distribution=frozenset({1, 2})).message()
    assert unlike.startswith(none.message())
    assert "2 frames" in unlike


def test_estimated_quality_is_a_line_and_not_a_bar(workspace: Workspace) -> None:
    picture = draw_strip(workspace.controller.annotation, 0, 240)
    columns = columns_of(COUNT, 240)
    colour = tuple(display_colours.quality_colours(np.array([0.3]))[0])
    guess, seen = (picture[QUALITY, (columns[frame] + columns[frame + 1]) // 2] for frame in (3, BEST))
    assert (guess == colour).all(axis=1).sum() == 2
    assert (seen == display_colours.quality_colours(np.array([0.9]))[0]).all(axis=1).sum() > 30


def test_estimated_quality_is_not_used_as_evidence(workspace: Workspace) -> None:
    """Estimated quality neither ends an interpolation nor is exported."""
    annotation = workspace.controller.annotation
    annotation.sweep.assessment.quality[3] = 0.0
    assert not interpolation._not_found(annotation.sweep, 3)
    annotation.sweep.assessment.estimated[3] = False
    assert interpolation._not_found(annotation.sweep, 3)
    assert np.isnan(annotation.sweep.assessment.assessed_quality(4))
    assert annotation.sweep.assessment.assessed_quality(BEST) == 0.9


def test_closing_the_case_cancels_the_assessment(workspace: Workspace, model: SlowModel) -> None:
    assert workspace.runner.busy("assess")
    assert workspace.controller.close()
    model.go.set()
    settle(workspace)
    assert workspace.controller.annotation is None


def test_a_case_that_was_assessed_before_is_complete_at_once(server: Server, tmp_path: Path) -> None:
    """On a real server, a complete assessment answers the search with one request."""
    opened(connected(tmp_path / "one", server.url, tag="first"), CASES[0])
    workspace = connected(tmp_path / "two", server.url, tag="second")
    asked: list[bool] = []
    client = workspace.session.client
    assess = client.assess
    client.assess = lambda *args, search=False, **kwargs: (
        asked.append(search),
        assess(*args, search=search, **kwargs),
    )[1]
    annotation: CaseAnnotation = opened(workspace, CASES[0])
    assert annotation.sweep.assessment.complete
    assert asked == [True]
