"""Labels from elsewhere that cannot be used: one sentence each, and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from fetaliqa.errors import LabelError
from fetaliqa.export.frame_names import FrameNames
from fetaliqa.export.frame_selection import Selection
from fetaliqa.export.incoming import open_incoming
from fetaliqa.export.incoming.cvat_labels import CvatMasks
from fetaliqa.export.incoming.label_source import ClassLabel
from fetaliqa.export.incoming.nnunet_labels import NnUnetLabels
from fetaliqa.export.manifest import _time
from fetaliqa.labels import parse_record
from fetaliqa.sweep import sweep_from_array

SWEEP = sweep_from_array(np.full((3, 16, 16), 50, np.uint8), (1.0, 1.0), case_id="A")


def coco(folder: Path, images: list[dict[str, Any]], segmentation: Any, **more: Any) -> Any:
    """What is read of frames of A."""
    content = {
        "categories": [{"id": 1, "name": "abdomen"}],
        "images": images,
        "annotations": [{"id": 7, "image_id": 1, "category_id": 1, "segmentation": segmentation}],
    }
    (folder / "instances.json").write_text(json.dumps(content | more))
    return open_incoming(folder / "instances.json", "coco").read("A", SWEEP)


IMAGE = {"id": 1, "file_name": "A_0001.png", "height": 16, "width": 16}


def test_coco_that_cannot_be_used(tmp_path: Path) -> None:
    for images, segmentation, words in (
        ([{"id": 1, "file_name": "A_0001.png"}], [], "height"),
        ([IMAGE, {**IMAGE, "id": 2, "file_name": "val/A_0001.png"}], [], "two pictures are frame 1 of A"),
        ([IMAGE, {**IMAGE, "file_name": "A_0002.png"}], [], "two images have the id 1"),
        ([{**IMAGE, "height": 17}], [], "A_0001.png: 17 x 16 pixels, but frames of A have 16 x 16"),
        ([IMAGE], [[3.0, 4.0]], "annotation 7: its outline is no polygon"),
        ([IMAGE], [[3.0, 4.0, 5.0, 6.0]], "annotation 7: its outline is no polygon"),
        ([IMAGE], [[3.0, 4.0, 5.0, 6.0, 1e9, 2.0]], "annotation 7: its outline lies outside"),
        ([IMAGE], [[3.0, 4.0, 5.0, 6.0, float("nan"), 2.0]], "annotation 7: its outline is no polygon"),
        ([IMAGE], [[3, 4, 5, 6, 10**400, 2]], "annotation 7: its outline is no polygon"),
        ([IMAGE], {"size": [16, 16], "counts": [10, 20]}, "annotation 7: its run lengths do not fill"),
        ([IMAGE], {"size": [16, 16], "counts": [-10, 266]}, "annotation 7: its run lengths do not fill"),
        ([IMAGE], {"size": [16, 16], "counts": "0"}, "annotation 7: its run lengths do not fill"),
        ([IMAGE], {"size": [16, 16], "counts": "oo\x7f"}, "annotation 7: its run lengths do not fill"),
        ([IMAGE], {"size": [8, 32], "counts": [256]}, "annotation 7: its size"),
    ):
        with pytest.raises(LabelError, match=words):
            coco(tmp_path, images, segmentation)


def test_an_annotation_without_an_outline_is_no_empty_frame(tmp_path: Path) -> None:
    incoming = coco(tmp_path, [IMAGE], [])
    assert incoming.frames == {}
    assert incoming.left_out.without_outline == [1]


def test_a_cvat_colour_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "SegmentationClass").mkdir()
    cv2.imwrite(str(tmp_path / "SegmentationClass" / "A_0001.png"), np.zeros((16, 16, 3), np.uint8))
    (tmp_path / "labelmap.txt").write_text("abdomen:a,b,c::\n")
    with pytest.raises(LabelError, match="'a,b,c' of 'abdomen'"):
        CvatMasks(tmp_path, FrameNames())


def test_nnunet_label_values(tmp_path: Path) -> None:
    (tmp_path / "labelsTr").mkdir()
    cv2.imwrite(str(tmp_path / "labelsTr" / "A_0001.png"), np.zeros((16, 16), np.uint8))
    for value, expected in ((1, 1), (1.0, 1), ([1, 2], "[1, 2]"), (1.5, None), ([1, "2"], None), (True, None)):
        (tmp_path / "dataset.json").write_text(json.dumps({"labels": {"background": 0, "abdomen": value}}))
        if expected is not None:
            assert NnUnetLabels(tmp_path, FrameNames()).classes("A") == [ClassLabel("abdomen", expected)]
        else:
            with pytest.raises(LabelError, match="label 'abdomen' is"):
                NnUnetLabels(tmp_path, FrameNames())


def test_times_in_milliseconds() -> None:
    record = {"schema": 1, "frames": {"0": {"state": "empty", "time": 1764190800000}}}
    assert parse_record(record, "A").known() == [0], "labels that are there already stay readable"
    assert _time(1764190800000) is None
    assert not Selection(since="2020-01-01").takes_time(1e20)
