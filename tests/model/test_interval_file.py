"""The calibration beside a bundle's card."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from bundle_cards import a_card

from fetaliqa.measure.circumference_interval import Calibration, Quantile
from fetaliqa.model import Architecture, Bundle, DecoderConfig, VisionConfig, build_segmentation, save_bundle
from fetaliqa.model.interval_file import INTERVAL_FILE, read_intervals, write_intervals
from fetaliqa.registry.model_store import resolve_bundle
from fetaliqa.registry.publishing import publish_bundle

CALIBRATION = Calibration(0.9, None, Quantile(1.2, 40, "phantoms"), Quantile(1.5, 40, "phantoms"))


def test_a_calibration_is_read_back_and_its_version_counts_up(tmp_path: Path) -> None:
    first = write_intervals(tmp_path, "a" * 64, CALIBRATION, "2026-12-01")
    second = write_intervals(tmp_path, "a" * 64, CALIBRATION, "2026-12-02")
    assert (first.version, second.version) == (1, 2)
    read = read_intervals(tmp_path, "a" * 64)
    assert (read.calibration, read.absent) == (CALIBRATION, None)


def test_a_folder_without_one_says_how_to_make_one(tmp_path: Path) -> None:
    read = read_intervals(tmp_path, "a" * 64)
    assert (read.calibration, read.sha256) == (None, None)
    assert "fetaliqa models calibrate" in (read.absent or "")


def test_the_calibration_of_another_model_is_not_used(tmp_path: Path) -> None:
    write_intervals(tmp_path, "a" * 64, CALIBRATION, "2026-12-01")
    read = read_intervals(tmp_path, "b" * 64)
    assert read.calibration is None
    assert "another model" in (read.absent or "")


@pytest.mark.parametrize(
    "change",
    [
        lambda content: "{",
        lambda content: json.dumps([]),
        lambda content: content.replace('"value": 1.2', '"value": -1'),
        lambda content: content.replace('"schema": 1', '"schema": 2'),
        lambda content: content.replace('"cases": 40', '"casses": 40', 1),
    ],
)
def test_a_damaged_calibration_stops_no_assessment_and_is_named(tmp_path: Path, change) -> None:
    write_intervals(tmp_path, "a" * 64, CALIBRATION, "2026-12-01")
    file = tmp_path / INTERVAL_FILE
    file.write_text(change(file.read_text()))
    read = read_intervals(tmp_path, "a" * 64)
    assert read.calibration is None
    assert INTERVAL_FILE in (read.absent or "")


@pytest.mark.parametrize("name", ["abdomen", "head"])
def test_the_bundles_that_ship_are_calibrated(name: str) -> None:
    calibration = Bundle.open(resolve_bundle(name)).intervals.calibration
    assert calibration is not None
    assert calibration.coverage == 0.9
    assert calibration.still is not None
    assert (calibration.sweep_case is not None) == (name == "abdomen")


def test_a_published_bundle_keeps_its_calibration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FETALIQA_HOME", str(tmp_path / "home"))
    tiny = Architecture("tiny", VisionConfig(32, 8, 32, 4, 2, 16, 4.0), DecoderConfig((1, 2, 3, 4), 4))
    model = build_segmentation(tiny, random_init=True)
    bundle = save_bundle(model, a_card(model, name="tiny", version="1.0"), tmp_path / "made")
    write_intervals(bundle.directory, bundle.fingerprint, CALIBRATION, "2026-12-01")
    assert publish_bundle(bundle.directory).intervals.calibration == CALIBRATION
