"""Femurs are exported as thin masks, with their ends as keypoints in COCO and their length in the manifest."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from export_files import SHAPE, SPACING, frames_of, record_of, write_volume

from fetaliqa.measure import Line, draw_line

LINE = Line(40.0, 60.0, 80.0, 50.0)


@pytest.fixture(scope="module")
def femurs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("femurs")
    masks = np.zeros(SHAPE, np.uint8)
    for frame in (1, 3, 7):
        masks[frame] = draw_line(LINE, SHAPE[1:])
    write_volume(root / "images" / "alpha.mha", frames_of(0))
    write_volume(root / "labels" / "alpha.mha", masks)
    (root / "labels" / "alpha.frames.json").write_text(json.dumps(record_of()))
    return root


def test_coco_has_the_ends_as_keypoints_and_the_manifest_the_length(export, femurs) -> None:
    done = export("--format", "coco", "--anatomy", "femur", folder=femurs)
    assert done.code == 0, done.err
    content = json.loads(
        min((done.out / "annotations").glob("instances_*.json"), key=lambda path: len(path.name)).read_text()
    )
    assert content["categories"][0]["keypoints"] == ["left_end", "right_end"]
    for annotation in content["annotations"]:
        assert annotation["num_keypoints"] == 2
        x1, y1, seen, x2, y2, _ = annotation["keypoints"]
        assert seen == 2
        assert (x1, y1, x2, y2) == pytest.approx((40, 60, 80, 50), abs=1)
    with (done.out / "manifest.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["outlined"] == "true"]
    assert len(rows) == 3
    for row in rows:
        assert float(row["length_mm"]) == pytest.approx(LINE.length_mm(SPACING), abs=0.3)
        assert row["circumference_mm"] == ""
    assert done.card["source"]["measurement"] == "FL"
    assert "its length (FL)" in (done.out / "README.md").read_text()


def test_the_challenge_s_layout_is_refused_for_a_line(export, femurs) -> None:
    done = export("--format", "acouslic", "--anatomy", "femur", folder=femurs)
    assert done.code == 2
    assert "made for circumferences" in done.err
    assert not done.out.exists()
