"""At length: all sample data with MONAI alone, and each network that may be hosted."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from monai_bundles import SIDE, Maker, dice, export, import_
from PIL import Image

import fetaliqa

SCHEMA = Path(__file__).with_name("metadata_schema.json")  # MONAI's own has to be downloaded
STACK_CONFIGS = ["configs/inference.json", "configs/inference_stack.json"]
WITHOUT_FETALIQA = (
    "import runpy, sys; sys.modules['fetaliqa'] = None; sys.argv[0] = 'bundle'; "
    "runpy.run_module('monai.bundle', run_name='__main__', alter_sys=True)"
)


pytestmark = [pytest.mark.long, pytest.mark.usefixtures("home")]


def monai_bundle(folder: Path, *arguments: str) -> str:
    """Run ``python -m monai.bundle`` in the bundle's folder where `import fetaliqa` fails; returns its output."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_FETALIQA, *arguments],
        cwd=folder,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


@pytest.mark.parametrize("name", ["abdomen", "head", "demo"])
def test_monai_alone_gives_the_masks_of_all_sample_data(name: str, sample_data: Path, tmp_path: Path) -> None:
    """By the commands of the bundle's README, in processes where FetalIQA cannot be imported."""
    folder = export(name, tmp_path / name)
    (tmp_path / "images").mkdir()
    cases = sorted((sample_data / "images" / "stacked_fetal_ultrasound").iterdir())
    for case in cases:
        if case.suffix == ".png":
            shutil.copy(case, tmp_path / "images")
            continue
        frames = np.ascontiguousarray(fetaliqa.read_sweep(case).frames.transpose(2, 1, 0))
        nibabel.save(nibabel.Nifti1Image(frames, np.eye(4)), tmp_path / "images" / f"{case.stem}.nii.gz")
    shutil.copy(SCHEMA, folder / "schema.json")
    where = ("--dataset_dir", str(tmp_path / "images"), "--output_dir", str(tmp_path / "masks"))
    meta = ("--meta_file", "configs/metadata.json")
    config = ("--config_file", "configs/inference.json")
    assert "no error" in monai_bundle(folder, "verify_metadata", *meta, "--filepath", "schema.json")
    assert "no error" in monai_bundle(folder, "verify_net_in_out", "network_def", *meta, *config)
    monai_bundle(folder, "run", *config, *where)
    monai_bundle(folder, "run", "--config_file", str(STACK_CONFIGS), *where)
    # the demo model outlines phantoms up to the edge of the field of view, which the bundle does not cut
    least = 0.98 if name == "demo" else 0.999
    model = fetaliqa.load_model(name, "cpu")
    outlined = 0
    for case in cases:
        expected = fetaliqa.assess(case, model).masks != 0
        if case.suffix == ".png":
            found = np.asarray(Image.open(tmp_path / "masks" / f"{case.stem}_mask.png"))[None] != 0
        else:
            stack = nibabel.load(tmp_path / "masks" / f"{case.stem}_mask.nii.gz")
            found = np.asarray(stack.dataobj).transpose(2, 1, 0) != 0
        assert np.array_equal(found.any(axis=(1, 2)), expected.any(axis=(1, 2)))
        both = [dice(*pair) for pair in zip(found, expected) if pair[1].any()]
        assert min(both, default=1.0) >= least
        outlined += len(both)
    assert outlined > 0


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("BasicUNet", {"features": [8, 8, 16, 16, 32, 8]}),
        ("AttentionUnet", {"channels": [8, 16, 32], "strides": [2, 2]}),
        ("SegResNet", {"init_filters": 8}),
        ("SwinUNETR", {"feature_size": 12, "depths": [1, 1, 1, 1]}),
        ("UNETR", {"img_size": [64, 64], "hidden_size": 48, "num_heads": 4, "mlp_dim": 96}),
    ],
)
def test_each_network_that_may_be_hosted_gives_its_own_logits(
    name: str, parameters: dict[str, Any], foreign: Maker
) -> None:
    from monai.networks import nets

    torch.manual_seed(4)
    arguments = {"spatial_dims": 2, "in_channels": 3, "out_channels": 1, **parameters}
    network = getattr(nets, name)(**arguments).eval()
    after = [{"_target_": "Activationsd", "keys": "pred", "sigmoid": True}]
    folder = foreign(
        save={"model": network.state_dict()},
        network_def={"_target_": f"monai.networks.nets.{name}", **arguments},
        preprocessing=[{"_target_": "ScaleIntensityRanged", "a_min": 0, "a_max": 255, "b_min": 0, "b_max": 1}],
        postprocessing={"transforms": after},
    )
    assert import_(folder, "--name", "heads") == 0
    frame = np.random.default_rng(5).integers(0, 256, (1, SIDE, SIDE), dtype=np.uint8)
    columns_first = torch.from_numpy(frame.transpose(0, 2, 1) / np.float32(255))[None].expand(-1, 3, -1, -1)
    with torch.inference_mode():
        expected = torch.sigmoid(network(columns_first))[0, 0].T.numpy()
    found = next(fetaliqa.load_model("heads", "cpu").predictor.predict(frame, np.arange(1))).probabilities
    assert found is not None
    assert np.abs(found[0].numpy() - expected).max() < 1e-4
