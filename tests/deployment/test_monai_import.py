"""`fetaliqa models import`: a segmentation network of a MONAI bundle as a model; nothing in the bundle is run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fetaliqa
from fetaliqa.cli.main import main
from fetaliqa.errors import OptionError
from fetaliqa.registry.model_store import resolve_bundle

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


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FETALIQA_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def foreign(tmp_path: Path) -> Maker:
    """Write a MONAI bundle with a random network; ``changes`` replace parts of its configuration."""

    def make(save: Any = None, metadata: dict[str, Any] | None = None, **changes: Any) -> Path:
        from monai.networks.nets import UNet

        folder = tmp_path / "foreign"
        for part in ("configs", "models"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        config = {**CONFIG, **changes}
        (folder / "configs" / "inference.json").write_text(json.dumps(config), encoding="utf-8")
        (folder / "configs" / "metadata.json").write_text(json.dumps({**METADATA, **(metadata or {})}))
        if save is None:
            torch.manual_seed(3)
            network = UNet(**UNET, num_res_units=1, norm="batch")
            for name, buffer in network.named_buffers():
                if name.endswith("running_var"):
                    buffer.uniform_(0.5, 1.5)  # a batch norm that does something
            save = network.state_dict()
        torch.save(save, folder / "models" / "model.pt")
        return folder

    return make


def import_(folder: Path, *options: str) -> int:
    return main(["models", "import", str(folder), "--anatomy", "head", *options])


def test_a_network_becomes_a_model_with_the_probabilities_that_monai_computes(foreign: Maker, capsys: Any) -> None:
    from monai.networks.nets import UNet
    from monai.transforms import NormalizeIntensity, ScaleIntensity

    folder = foreign()
    assert import_(folder, "--name", "heads") == 0
    assert "heads: version 0.3 is in use" in capsys.readouterr().out
    frame = np.random.default_rng(5).integers(0, 256, (1, SIDE, SIDE), dtype=np.uint8)

    network = UNet(**UNET, num_res_units=1, norm="batch").eval()
    network.load_state_dict(torch.load(folder / "models" / "model.pt", weights_only=True))
    columns_first = torch.from_numpy(frame.transpose(0, 2, 1).astype(np.float32))  # as LoadImage reads a PNG
    with torch.inference_mode():
        output = network(NormalizeIntensity()(ScaleIntensity()(columns_first)).as_tensor()[None])
    expected = torch.softmax(output, dim=1)[0, 1].T.numpy()

    model = fetaliqa.load_model("heads", "cpu")
    found = next(model.predictor.predict(frame, np.arange(1))).probabilities
    assert found is not None
    assert np.abs(found[0].numpy() - expected).max() < 1e-5
    assert expected.std() > 0.01  # the comparison is not one of constants


def test_an_imported_model_assesses_a_sweep_without_an_expected_dice(foreign: Maker) -> None:
    assert import_(foreign(), "--name", "heads") == 0
    model = fetaliqa.load_model("heads", "cpu")
    frames = np.random.default_rng(6).integers(0, 256, (4, 90, 120), dtype=np.uint8)
    assessment = fetaliqa.assess(frames, model)
    assert [frame.expected_dice for frame in assessment.frames] == [None] * 4
    assert all(frame.quality is not None and frame.distance is None for frame in assessment.frames)
    assert assessment.masks.shape == frames.shape
    assert assessment.record["model"]["measurement"] == "HC"
    assert assessment.profile is not None  # what active learning goes by


def test_the_card_says_whose_model_it_is(foreign: Maker, capsys: pytest.CaptureFixture[str]) -> None:
    assert import_(foreign()) == 0
    assert main(["models", "show", "Somebody_s_heads"]) == 0
    shown = capsys.readouterr().out
    for text in ("UNet of MONAI, 2 output channel(s)", "MIT", "Not for any clinical use", "not evaluated here"):
        assert text in shown
    assert main(["models", "verify", "Somebody_s_heads"]) == 0


def test_an_imported_model_is_not_trained(foreign: Maker) -> None:
    from fetaliqa.model import Bundle
    from fetaliqa.retraining.warm_start import warm_start
    from fetaliqa.training.starting_weights import open_base

    assert import_(foreign(), "--name", "heads") == 0
    with pytest.raises(OptionError, match="used, not trained here"):
        open_base("heads")
    with pytest.raises(OptionError, match="used, not trained here"):
        warm_start(Bundle.open(resolve_bundle("heads")), "heads")


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.file}",)


def test_a_checkpoint_that_would_run_code_is_refused_and_runs_nothing(
    foreign: Maker, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = foreign(save={"weight": Evil(tmp_path / "ran")})
    assert import_(folder) == 2
    assert "holds Python objects besides tensors" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


TRANSFORMS = CONFIG["preprocessing"]["transforms"]


def with_network(**changes: Any) -> dict[str, Any]:
    return {"network_def": {**CONFIG["network_def"], **changes}}


def with_transform(section: str, **transform: Any) -> dict[str, Any]:
    part = CONFIG[section]
    return {section: {**part, "transforms": [*part["transforms"], transform]}}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"network_def": "$torch.jit.load('models/model.ts')"}, "expressions are not run"),
        (with_network(_target_="scripts.net.UNet"), "the network 'scripts.net.UNet' is not hosted"),
        (with_network(_target_="os.system"), "is not hosted; possible are UNet"),
        (with_network(channels="$[8, 16, 32]"), "channels is '$[8, 16, 32]', not a plain value"),
        (with_network(act={"_target_": "os.system"}), "act describes an object to build"),
        (with_network(_requires_="$print(1)"), "_requires_ is not supported"),
        (with_network(channels=[8, 16, 10**9]), "numbers up to 4096 are accepted"),
        (with_network(spatial_dims=3), "UNet of 3 dimensions; 2 are needed"),
        (with_network(in_channels=4), "reads 4 channels; 1 or 3 are needed"),
        (with_network(out_channels=4), "has 4 output channels"),
        (with_network(channels=[8, 16, 64]), "has shape"),
        (with_network(colour=3), "colour"),
        (with_transform("preprocessing", _target_="Spacingd", keys="image"), "preprocessing has Spacing, which"),
        (with_transform("postprocessing", _target_="Lambdad", func="$print"), "postprocessing has Lambda, which"),
        ({"inferer": {"_target_": "SlidingWindowInferer", "roi_size": [32, 32]}}, "reads parts of an image"),
        ({"metadata": {"version": "../1"}}, "give usable ones"),
        ({"metadata": {"name": "abdomen"}}, "reserved"),
        (
            {"metadata": {"network_data_format": {"inputs": {"image": {"spatial_shape": [64, 48]}}}}},
            "a square is needed",
        ),
    ],
)
def test_what_is_not_read_or_does_not_fit_is_refused_in_one_sentence(
    changes: dict[str, Any], sentence: str, foreign: Maker, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert import_(foreign(**changes)) == 2
    message = capsys.readouterr().err
    assert sentence in message
    assert message.count("\n") == 1
    assert "Traceback" not in message
    assert not list(home.rglob("card.json"))


def test_a_bundle_that_fetaliqa_exported_is_refused_because_it_holds_only_a_script(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "export", "abdomen", "--format", "monai", "--out", str(tmp_path / "out")]) == 0
    assert import_(tmp_path / "out") == 2
    assert "network_def is an expression" in capsys.readouterr().err


@pytest.mark.long
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
