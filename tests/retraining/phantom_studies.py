"""Folders of studies whose labels are a phantom's truth, and starting bundles that have something to learn."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from fetaliqa.datasets.subsample import Sampling
from fetaliqa.lab.phantom.phantom_data import SampledPhantoms
from fetaliqa.lab.phantom.phantom_settings import PhantomSettings

SMALL = PhantomSettings(scale="half", sweeps=2)
FEW = Sampling(annotated=4, hard=2, easy=2)


def confirmed_phantom(seed: int, settings: PhantomSettings = SMALL, sampling: Sampling = FEW):
    """A short case: frames, masks, and the sweep ranges of a phantom, only some of its frames."""
    return SampledPhantoms((seed,), sampling, settings).read(f"phantom-{seed}")


def write_study(
    folder: Path,
    case_id: str,
    frames: np.ndarray,
    masks: np.ndarray,
    *,
    states: dict[int, str] | None = None,
    spacing: float = 0.56,
) -> None:
    """A case in ``images/`` and its label in ``labels/``; every frame is confirmed unless ``states`` says so."""
    for name, stack in (("images", frames), ("labels", masks)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        image = sitk.GetImageFromArray(stack)
        image.SetSpacing((spacing, spacing, 1.0))
        sitk.WriteImage(image, str(folder / name / f"{case_id}.mha"), useCompression=True)
    if states is None:
        states = {frame: "annotated" if mask.any() else "empty" for frame, mask in enumerate(masks)}
    record = {
        str(frame): {"state": state, "plane": None, "rater": "phantom truth"} for frame, state in states.items()
    }
    (folder / "labels" / f"{case_id}.frames.json").write_text(json.dumps({"schema": 1, "frames": record}))


def phantom_studies(
    folder: Path, seeds: list[int], change: Callable[[np.ndarray], np.ndarray] = lambda frames: frames
) -> Path:
    """Studies of phantom cases, their frames changed by ``change``."""
    for seed in seeds:
        case = confirmed_phantom(seed)
        write_study(folder, f"case-{seed}", change(case.frames), case.masks)
    return folder


def disc_studies(folder: Path, cases: int, first: int = 0) -> Path:
    """Cases ``case-FIRST`` on, of 12 frames of noise, four of which show a bright disc."""
    for number in range(first, first + cases):
        random = np.random.default_rng(number)
        frames = random.integers(20, 90, (12, 64, 64)).astype(np.uint8)
        masks = np.zeros_like(frames)
        rows, columns = np.mgrid[:64, :64]
        for frame in range(3, 7):
            y, x = random.uniform(22, 42, 2)
            masks[frame][np.hypot(rows - y, columns - x) < random.uniform(12, 16)] = 1
        frames[masks > 0] += 120
        write_study(folder, f"case-{number}", frames, masks, spacing=2.5)
    return folder
