"""Fixtures: the exported model of the abdomen, and a MONAI bundle of somebody else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from fetaliqa.cli.main import main

SIDE = 64
UNET = {"spatial_dims": 2, "in_channels": 1, "out_channels": 2, "channels": [8, 16, 32], "strides": [2, 2]}
CONFIG: dict[str, Any] = {
    "bundle_root": ".",
    "network_def": {"_target_": "UNet", **UNET, "num_res_units": 1, "norm": "batch"},
    "preprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "LoadImaged", "keys": "image"},
            {"_target_": "EnsureChannelFirstd", "keys": "image"},
            {"_target_": "ScaleIntensityd", "keys": "image"},
            {"_target_": "NormalizeIntensityd", "keys": "image"},
            {"_target_": "EnsureTyped", "keys": "image", "device": "@device"},
        ],
    },
    "inferer": {"_target_": "SimpleInferer"},
    "postprocessing": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "Activationsd", "keys": "pred", "softmax": True},
            {"_target_": "Invertd", "keys": "pred", "transform": "@preprocessing"},
            {"_target_": "AsDiscreted", "keys": "pred", "argmax": True},
            {"_target_": "SaveImaged", "keys": "pred", "output_dir": "@output_dir"},
        ],
    },
}
METADATA = {
    "name": "Somebody's heads",
    "version": "0.3",
    "license": "MIT",
    "intended_use": "Research.",
    "network_data_format": {"inputs": {"image": {"spatial_shape": [SIDE, SIDE]}}, "outputs": {"pred": {}}},
}

Maker = Callable[..., Path]


def export(name: str, out: Path) -> Path:
    assert main(["models", "export", name, "--format", "monai", "--out", str(out)]) == 0
    return out


def import_(folder: Path, *options: str) -> int:
    return main(["models", "import", str(folder), "--anatomy", "head", *options])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FETALIQA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def foreign(tmp_path: Path) -> Maker:
    """Write a MONAI bundle; ``save`` is its checkpoint, ``changes`` replace parts of its configuration."""

    def make(save: Any = None, metadata: dict[str, Any] | None = None, **changes: Any) -> Path:
        folder = tmp_path / "foreign"
        for part in ("configs", "models"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        config = {**CONFIG, **changes}
        (folder / "configs" / "inference.json").write_text(json.dumps(config), encoding="utf-8")
        (folder / "configs" / "metadata.json").write_text(json.dumps({**METADATA, **(metadata or {})}))
        torch.save({"weight": torch.zeros(1)} if save is None else save, folder / "models" / "model.pt")
        return folder

    return make


def a_unet() -> torch.nn.Module:
    """A random network of ``CONFIG``, in eval mode."""
    from monai.networks.nets import UNet

    torch.manual_seed(3)
    network = UNet(**UNET, num_res_units=1, norm="batch")
    for name, buffer in network.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 1.5)  # a batch norm that does something
    return network.eval()


def dice(one: Any, other: Any) -> float:
    return 2 * float((one & other).sum()) / max(float(one.sum() + other.sum()), 1)
