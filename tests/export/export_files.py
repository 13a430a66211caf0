"""A folder of studies with records of several raters, proposals and odd spacing, written for a test."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import SimpleITK as sitk

from fetaliqa.labels import FrameLabel, LabelStore

SPACING = (0.4, 0.25)  # mm, rows and columns differ, so that a swap shows
ORIGIN = (3.0, -7.5, 2.0)
SHAPE = (12, 96, 120)
CASES = ("alpha", "beta", "gamma", "delta")
AXES = (30, 22)  # pixels, along columns and rows


def ellipse(value: int, shift: int = 0) -> np.ndarray:
    mask = np.zeros(SHAPE[1:], np.uint8)
    cv2.ellipse(mask, (60 + shift, 50), AXES, 0, 0, 360, [float(value)], cv2.FILLED)
    return mask


def sector() -> np.ndarray:
    """A fan: bool [H, W]."""
    fan = np.zeros(SHAPE[1:], np.uint8)
    cv2.fillConvexPoly(fan, np.array([[50, 8], [70, 8], [112, 80], [60, 92], [8, 80]]), [1.0])
    return fan > 0


def frames_of(seed: int) -> np.ndarray:
    """Speckle in a fan, a name burned into the corner; the last slot of each of two sweeps is black."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(60, 200, SHAPE, dtype=np.uint8)
    frames[:, ~sector()] = 0
    frames[:, 2:6, 2:20] = 255
    frames[[5, 11]] = 0
    return frames


def masks_of() -> np.ndarray:
    masks = np.zeros(SHAPE, np.uint8)
    masks[1], masks[3], masks[7], masks[9] = ellipse(1), ellipse(1, 4), ellipse(1, -3), ellipse(1, 2)
    return masks


def record_of(rater: str = "anna", day: int = 1) -> dict:
    def label(state, plane=None, **more):
        return {
            "state": state,
            "plane": plane,
            "rater": rater,
            "time": f"2026-03-{day:02d}T10:00:00+00:00",
            **more,
        }

    values = {
        1: label("annotated", "optimal"),
        3: label("annotated", "suboptimal"),
        4: label("empty"),
        7: label("annotated"),
        9: {"state": "proposed", "plane": None, "model": "demo", "model_version": "7"},
    }
    return {"schema": 1, "frames": {str(frame): entry for frame, entry in values.items()}}


def write_volume(path: Path, stack: np.ndarray, fields: dict[str, str] | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(stack)
    image.SetSpacing((SPACING[1], SPACING[0], 1.0))
    image.SetOrigin(ORIGIN)
    for key, value in (fields or {}).items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(path), useCompression=True)


def write_studies(root: Path, cases: tuple[str, ...] = CASES) -> Path:
    """Plain studies; gamma was labelled by bo, a month later, and shares its subject with delta."""
    for seed, case in enumerate(cases):
        write_volume(root / "images" / f"{case}.mha", frames_of(seed), {"SweepRanges": "0:6,6:12"})
        write_volume(root / "labels" / f"{case}.mha", masks_of())
        record = record_of("bo", 31) if case == "gamma" else record_of()
        (root / "labels" / f"{case}.frames.json").write_text(json.dumps(record))
    subjects = "".join(f"{case},{'s-3' if case in ('gamma', 'delta') else 's-' + case}\n" for case in cases)
    (root / "subjects.csv").write_text("case_id,subject_id\n" + subjects)
    return root


def expected_masks() -> dict[int, np.ndarray]:
    """Masks of the confirmed frames of any case, by frame number."""
    return {1: ellipse(1), 3: ellipse(2, 4), 4: np.zeros(SHAPE[1:], np.uint8), 7: ellipse(1, -3)}


def stored(served: Path, case: str = "alpha", tag: str = "cleo") -> tuple[np.ndarray, Mapping[int, FrameLabel]]:
    """Masks and record of a label."""
    version = LabelStore(served / "label-versions").current(case, tag)
    return sitk.GetArrayFromImage(sitk.ReadImage(str(version.mask))), version.record.frames
