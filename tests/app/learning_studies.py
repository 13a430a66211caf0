"""Phantom cases in a server's studies folder, a weakened demo model, and labels sent as a client would."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from app_harness import Server, free_port, start, stop

from fetaliqa.datasets.subsample import Sampling
from fetaliqa.evaluation.frame_metrics import dice
from fetaliqa.lab.phantom.phantom_data import SampledPhantoms
from fetaliqa.lab.phantom.phantom_settings import PhantomSettings
from fetaliqa.model.user_folders import demo_folder

SHORT = PhantomSettings(scale="half", sweeps=2)
REPLAYED = (50_021, 50_022)
FEW = Sampling(annotated=4, hard=2, easy=1)


def phantom(seed: int) -> Any:
    """A few frames of two sweeps of a phantom case, with their truth."""
    return SampledPhantoms((seed,), FEW, SHORT).read(f"phantom-{seed}")


def write_stack(path: Path, stack: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(stack)
    image.SetSpacing((0.56, 0.56, 1.0))
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


def weakened_demo(folder: Path, demo: Path) -> Path:
    """The demo model with wrong statistics in its decoder's batch norms: it outlines badly, but can relearn."""
    import torch
    from torch import nn

    from fetaliqa.model import Bundle, save_bundle

    bundle = Bundle.open(demo)
    model = bundle.load_model(merge=False)
    torch.manual_seed(4)
    for module in model.decoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean += 0.5 * module.running_var.sqrt() * torch.randn_like(module.running_mean)
            module.running_var *= torch.exp(1.2 * torch.randn_like(module.running_var))
    save_bundle(model.eval(), bundle.card, folder)
    return folder


def save_truth(server: Server, case_id: str, case: Any, work: Path) -> Any:
    """Save the truth as a final label with its frame record; the server's answer."""
    mask = write_stack(work / f"{case_id}.nii.gz", (case.masks > 0).astype(np.uint8))
    frames = {
        str(frame): {"state": "annotated" if outline.any() else "empty", "rater": "truth"}
        for frame, outline in enumerate(case.masks)
    }
    return server.call(
        "PUT",
        f"/datastore/label?image={case_id}&tag=final",
        data={"params": json.dumps({"frame_record": {"schema": 1, "frames": frames}})},
        files={"label": (mask.name, mask.read_bytes())},
    )


def assessed(server: Server, case_id: str, case: Any, work: Path) -> tuple[dict[str, Any], float]:
    """The params of an inference, and the mean Dice on the case's annotated frames."""
    params, content, name = server.infer(f"image={case_id}&output=all").parts()
    (work / name).write_bytes(content)
    masks = sitk.GetArrayFromImage(sitk.ReadImage(str(work / name)))
    outlined = np.flatnonzero(case.masks.any(axis=(1, 2)))
    return params, float(np.mean([dice(masks[frame], case.masks[frame] > 0) for frame in outlined]))


@contextlib.contextmanager
def learning_server(root: Path, cases: Mapping[str, Any], **settings: object) -> Iterator[Server]:
    """A server of phantoms with a weak model, a home of its own, and two cases to train on again.

    Args:
        root: folder for all of it.
        cases: phantoms by name.
        settings: of ``--conf``.
    """
    for name, case in cases.items():
        write_stack(root / "studies" / f"{name}.mha", case.frames)
    for seed in REPLAYED:
        case = phantom(seed)
        write_stack(root / "replay" / "images" / f"old-{seed}.mha", case.frames)
        write_stack(root / "replay" / "labels" / f"old-{seed}.mha", case.masks)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FETALIQA_DEMO_MODEL", str(weakened_demo(root / "weak", demo_folder())))
        patch.setenv("FETALIQA_HOME", str(root / "home" / "fetaliqa"))
        port = free_port()
        command = ["-m", "monailabel_app.serve", "--studies", str(root / "studies"), "--port", str(port)]
        known = {"device": "cpu", "cache_dir": root / "cache", "replay": root / "replay", "train_epochs": 1}
        for key, value in {**known, **settings}.items():
            command += ["--conf", key, str(value)]
        running = start(root, command, port)
        yield running
        stop(running)
