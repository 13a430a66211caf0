"""Labels from elsewhere that cannot be used: one sentence each, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fetaliqa.errors import LabelError
from fetaliqa.export.incoming.coco import CocoLabels
from fetaliqa.export.incoming.pictures import CvatLabels, NnUnetLabels
from fetaliqa.export.manifest import _time
from fetaliqa.export.selection import Selection
from fetaliqa.labels import parse_record
from fetaliqa.sweep import sweep_from_array

SWEEP = sweep_from_array(np.full((3, 16, 16), 50, np.uint8), (1.0, 1.0), case_id="A")


def coco(folder: Path, images: list[dict[str, Any]], segmentation: Any) -> CocoLabels:
    content = {
        "categories": [{"id": 1, "name": "abdomen"}],
        "images": images,
        "annotations": [{"id": 7, "image_id": 1, "category_id": 1, "segmentation": segmentation}],
    }
    (folder / "instances.json").write_text(json.dumps(content))
    return CocoLabels(folder / "instances.json")


IMAGE = {"id": 1, "file_name": "A_0001.png", "height": 16, "width": 16}


def test_coco_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(LabelError, match="height"):
        coco(tmp_path, [{"id": 1, "file_name": "A_0001.png"}], [])
    with pytest.raises(LabelError, match="two pictures are frame 1 of A"):
        coco(tmp_path, [IMAGE, {**IMAGE, "id": 2, "file_name": "val/A_0001.png"}], [])
    with pytest.raises(LabelError, match="annotation 7"):
        coco(tmp_path, [IMAGE], [[3.0, 4.0]]).read("A", SWEEP)
    frame = coco(tmp_path, [IMAGE], []).read("A", SWEEP)[1]
    assert not np.any(frame.mask), "an empty outline is an empty frame"


def test_a_cvat_colour_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "SegmentationClass").mkdir()
    cv2.imwrite(str(tmp_path / "SegmentationClass" / "A_0001.png"), np.zeros((16, 16, 3), np.uint8))
    (tmp_path / "labelmap.txt").write_text("abdomen:a,b,c::\n")
    with pytest.raises(LabelError, match="'a:b:c' of 'abdomen'"):
        CvatLabels(tmp_path)


def test_nnunet_label_values(tmp_path: Path) -> None:
    (tmp_path / "labelsTr").mkdir()
    cv2.imwrite(str(tmp_path / "labelsTr" / "A_0001.png"), np.zeros((16, 16), np.uint8))
    for value, taken in ((1, True), (1.0, True), ([1, 2], False), (1.5, False)):
        (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "abdomen": value}}))
        if taken:
            assert NnUnetLabels(tmp_path)._names == {1: "abdomen"}
        else:
            with pytest.raises(LabelError, match="label 'abdomen' is"):
                NnUnetLabels(tmp_path)


def test_times_in_milliseconds() -> None:
    record = {"schema": 1, "frames": {"0": {"state": "empty", "time": 1764190800000}}}
    assert parse_record(record, "A").known() == [0], "labels that are there already stay readable"
    assert _time(1764190800000) is None
    assert not Selection(since="2020-01-01").takes_time(1e20)
