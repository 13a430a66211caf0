"""The loop on a new site, in small: images made here, a real server, a training, a better model."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from bundle_cards import a_card

from fetaliqa.lab.stills import still_sources
from fetaliqa.measure import Ellipse, draw_ellipse
from fetaliqa.model import (
    Architecture,
    build_segmentation,
    save_bundle,
)
from fetaliqa.model.architecture import BackboneConfig, PyramidConfig
from fetaliqa.training.starting_weights import expect_outlines

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SHAPE = (120, 150)
PATIENTS = 15  # of each country


@pytest.fixture
def real_loop(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return __import__("real_loop")


def picture(random: np.random.Generator, outline: Ellipse | None) -> np.ndarray:
    """Coarse noise, unlike any other, with a bright ellipse in it where there is an outline."""
    noise = cv2.resize(random.uniform(20, 110, (7, 9)).astype(np.float32), SHAPE[::-1])
    noise += random.normal(0, 8, SHAPE)
    if outline is not None:
        noise += 120.0 * draw_ellipse(outline, SHAPE)
    return noise.clip(0, 255).astype(np.uint8)


@pytest.fixture
def stills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Abdomens and femurs of three countries; every patient has one of each."""
    monkeypatch.setattr(still_sources, "PACKAGED", tmp_path)  # the project's own outlines are of other images
    random = np.random.default_rng(0)
    rows = ["file,cx,cy,semi_a,semi_b,angle_deg,confidence,calipers"]
    for part in ("african_abdomen", "african_femur"):
        (tmp_path / "data" / part).mkdir(parents=True)
    for country in ("EGY", "DZA", "MWI"):
        for number in range(PATIENTS):
            x, y, a = random.uniform(55, 95), random.uniform(45, 75), random.uniform(28, 38)
            outline = Ellipse(x, y, a, 0.85 * a, random.uniform(0, 180))
            patient = f"patient{number + 100 * len(country):03d}_{country}"
            name = f"{patient}_plane0.png"
            cv2.imwrite(str(tmp_path / "data/african_abdomen" / name), picture(random, outline))
            rows.append(f"{name},{x},{y},{a},{0.85 * a},{outline.angle_deg},sure,no")
            femur = tmp_path / "data/african_femur" / f"{patient}_plane2.png"
            cv2.imwrite(str(femur), picture(random, None))
    (tmp_path / "data/african_abdomen/ellipses.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "data"


@pytest.fixture
def blind(tmp_path: Path) -> Path:
    """A tiny compact bundle that finds nothing."""
    torch.manual_seed(3)
    architecture = Architecture("small", BackboneConfig(64, "test_efficientnet"), PyramidConfig(32, 32, 16))
    model = build_segmentation(architecture, random_init=True, encoder="full")
    expect_outlines(model, -8.0)
    card = a_card(model, name="compact")
    return save_bundle(model.eval(), card, tmp_path / "blind").directory


def test_a_site_is_divided_by_patient(real_loop, stills):
    site = real_loop.new_site(real_loop.read_catalogue(stills), ["Egypt", "Algeria"], 12, 9)
    shown = [real_loop.outlined(one, "abdomen") for one in site.confirmed]
    assert (sum(shown), len(shown)) == (12, 21)
    assert {one.centre for one in (*site.confirmed, *site.rest)} == {"Egypt", "Algeria"}
    assert not {one.patient for one in site.confirmed} & {one.patient for one in site.rest}
    greedy = real_loop.new_site(real_loop.read_catalogue(stills), ["Egypt", "Algeria"], 1000, 9)
    assert sum(real_loop.outlined(one, "abdomen") for one in greedy.rest) >= 10  # a third measures


@pytest.mark.long  # half a minute: tests/app/test_app_learning.py is the same loop on a server
def test_a_new_site_makes_a_better_model_from_one_that_finds_nothing(real_loop, stills, blind, tmp_path, capsys):
    out = tmp_path / "out"
    options = ["--data", str(stills), "--bundle", str(blind), "--outlines", "16", "--empties", "10"]
    code = real_loop.main([*options, "--centres", "Egypt", "Algeria", "--epochs", "6", "--out", str(out)])
    output = capsys.readouterr()
    assert code == 0, output
    report = json.loads((out / "result.json").read_text())
    assert report["published"]
    assert report["before"]["found"] == 0
    assert report["after"]["dice"] > 0.5
    assert report["change"]["low"] > 0
    assert report["after"]["called_positive"] <= report["after"]["empty"] // 2
    assert report["confirmed"] == {"outlined": 16, "empty": 10}
    assert "gain +0." in output.out
    assert (out / "result.txt").read_text() in output.out

    # nothing is overwritten
    assert real_loop.main([*options, "--out", str(out)]) == 2
    assert "holds an earlier result" in capsys.readouterr().err
