"""Files segmented by clicks: read once, again when they change, and plain errors."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from fetaliqa.errors import BundleError, OptionError, RequestStopped
from fetaliqa.inference.interactive_segmentation import Prompts
from fetaliqa.measure.anatomy import ABDOMEN
from fetaliqa.model.user_folders import interactive_folder
from fetaliqa.registry.interactive_service import InteractiveService
from fetaliqa.registry.recent_values import RecentValues
from fetaliqa.sweep import read_sweep

CLICK = Prompts(foreground=((40.0, 30.0),))


@pytest.fixture(scope="module")
def service() -> InteractiveService:
    return InteractiveService(interactive_folder())


def still(path: Path, radius: int) -> Path:
    frame = np.full((60, 80), 30, np.uint8)
    cv2.circle(frame, (40, 30), radius, [160.0], cv2.FILLED)
    cv2.imwrite(str(path), frame)
    return path


def test_a_file_is_read_and_encoded_once(service: InteractiveService, tmp_path: Path) -> None:
    path = still(tmp_path / "still.png", 15)
    first = service.open(path)
    service.segment(path, 0, CLICK, ABDOMEN)
    assert service.open(path) is first
    assert service.encoded(first, 0) is service.encoded(first, 0)


def test_a_case_that_is_decoded_elsewhere_is_not_decoded_again(tmp_path: Path) -> None:
    path = still(tmp_path / "still.png", 15)
    decoded = read_sweep(path)
    service = InteractiveService(interactive_folder(), lambda _: decoded)
    assert service.open(path).sweep is decoded


def test_a_file_that_changed_is_read_again(service: InteractiveService, tmp_path: Path) -> None:
    path = still(tmp_path / "still.png", 15)
    before = service.open(path)
    still(path, 8)
    after = service.open(path)
    assert after is not before
    assert after.sweep.frames[0].sum() < before.sweep.frames[0].sum()


def test_the_measurement_is_that_of_an_assessments_frame(service: InteractiveService, tmp_path: Path) -> None:
    answer = service.segment(still(tmp_path / "still.png", 15), 0, CLICK, ABDOMEN)
    assert answer.measurement["area_px"] == answer.outlined.area_px
    assert answer.measurement["circumference_mm"] is None  # a picture without pixel size
    assert answer.latencies["total"] >= answer.latencies["decode"]


def test_frames_that_are_not_there_are_refused(service: InteractiveService, tmp_path: Path) -> None:
    path = still(tmp_path / "still.png", 15)
    with pytest.raises(OptionError, match="frames 0 to 0"):
        service.segment(path, 1, CLICK, ABDOMEN)
    with pytest.raises(OptionError, match="frames 0 to 0"):
        service.propagate(path, 1, np.ones((60, 80), np.uint8))


def test_a_client_that_has_gone_ends_the_work(service: InteractiveService, sample_data: Path) -> None:
    path = next((sample_data / "images" / "stacked_fetal_ultrasound").glob("f0d494c1*.mha"))
    shape = service.open(path).sweep.shape[1:]
    mask = np.zeros(shape, np.uint8)
    mask[100:180, 100:180] = 1
    with pytest.raises(RequestStopped):
        service.propagate(path, 5, mask, stopped=lambda: True)


def test_without_a_bundle_there_is_a_plain_error(tmp_path: Path) -> None:
    service = InteractiveService(tmp_path)
    assert not service.installed
    with pytest.raises(BundleError, match="no interactive model is installed") as problem:
        service.segment(still(tmp_path / "still.png", 15), 0, CLICK, ABDOMEN)
    assert problem.value.http_status == 503


def test_the_least_recently_used_values_go_first() -> None:
    recent: RecentValues[str] = RecentValues(10)
    for name in "abc":
        recent.put(name, name.upper(), 4)
    assert (recent.get("a"), recent.get("b"), recent.nbytes) == (None, "B", 8)
    recent.put("d", "D", 4)
    assert (recent.get("c"), recent.get("b")) == (None, "B")
    recent.put("b", "B2", 9)
    assert (recent.get("b"), recent.get("d"), recent.nbytes) == ("B2", None, 9)


def test_a_value_larger_than_the_bound_is_kept_until_the_next_one() -> None:
    recent: RecentValues[str] = RecentValues(10)
    recent.put("a", "A", 99)
    assert recent.get("a") == "A"
    recent.put("b", "B", 1)
    assert (recent.get("a"), recent.get("b"), recent.nbytes) == (None, "B", 1)
