"""Labels that other programs saved, as the module takes them over and sends them back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK as sitk
from FetalIQALib.frame_annotations import ANNOTATED, frame_record, parse_frames
from FetalIQALib.image_files import read_masks
from FetalIQALib.model_training import TrainingStatus

from fetaliqa.labels import parse_record


def masks_of(tmp_path: Path, stack: np.ndarray) -> dict:
    sitk.WriteImage(sitk.GetImageFromArray(stack), str(tmp_path / "masks.mha"))
    return read_masks(tmp_path / "masks.mha", stack.shape)


def test_a_grade_told_by_the_mask_alone_is_kept(tmp_path: Path) -> None:
    stack = np.zeros((4, 8, 8), np.uint8)
    stack[0, 2:5], stack[1, 2:5], stack[2, 2:5] = 1, 2, 2
    stack[2, 3, 3] = 1
    masks = masks_of(tmp_path, stack)
    for record in (
        {},
        {"frames": {str(frame): {"state": ANNOTATED, "plane": None} for frame in range(3)}},
    ):
        found = parse_frames(record, masks, 4)
        assert [found[frame].plane for frame in range(3)] == [None, "suboptimal", None]
    told = {"frames": {str(frame): {"state": ANNOTATED, "plane": "optimal"} for frame in range(3)}}
    assert parse_frames(told, masks, 4)[1].plane == "optimal", "the record says otherwise"


def test_a_time_in_seconds_comes_back_as_the_server_takes_it(tmp_path: Path) -> None:
    stack = np.zeros((2, 8, 8), np.uint8)
    stack[0, 2:5] = 1
    masks = masks_of(tmp_path, stack)
    written = "2026-01-31T14:05:00+00:00"
    expected = {
        1700000000.5: "2023-11-14T22:13:20.500000+00:00",
        1700000000: "2023-11-14T22:13:20+00:00",
        1e20: None,
        None: None,
        written: written,
    }
    for time, taken in expected.items():
        frames = parse_frames({"frames": {"0": {"state": ANNOTATED, "time": time}}}, masks, 2)
        assert parse_record(frame_record(frames), "label", 2).frames[0].time == taken


def test_why_a_training_failed_is_said() -> None:
    assert (
        "disk full"
        in TrainingStatus(state="failed", error="disk full", verdict="candidate 1: published").message()
    )
