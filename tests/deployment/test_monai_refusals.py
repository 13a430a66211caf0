"""What `fetaliqa models export --format monai` and `fetaliqa models import` refuse, without importing MONAI."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from bundle_cards import a_card
from monai_bundles import CONFIG, Maker, export, import_

from fetaliqa.cli.main import main
from fetaliqa.model import DecoderConfig, VisionConfig, build_classification, build_segmentation, save_bundle
from fetaliqa.model.architecture import Architecture, BackboneConfig, PyramidConfig
from fetaliqa.model.bundle_card import Threshold

pytestmark = pytest.mark.usefixtures("home")


def test_the_threshold_of_the_card_becomes_that_of_the_bundle(tmp_path: Path) -> None:
    vision = BackboneConfig(64, "test_efficientnet")
    model = build_segmentation(
        Architecture("small", vision, PyramidConfig(32, 32, 8)), random_init=True, encoder="full"
    )
    save_bundle(model, a_card(model, threshold=Threshold(0.4)), tmp_path / "made")
    out = export(str(tmp_path / "made"), tmp_path / "out")
    config = json.loads((out / "configs" / "inference.json").read_text(encoding="utf-8"))
    assert config["threshold"] == 0.4


def test_a_folder_that_exists_and_a_classifier_are_refused_in_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--format", "monai", "--out"]
    assert main(["models", "export", "abdomen", *arguments, str(tmp_path)]) == 2
    assert "exists already; choose another folder" in capsys.readouterr().err
    tiny = Architecture("tiny", VisionConfig(32, 8, 32, 4, 2, 16, 4.0), DecoderConfig((1, 2, 3, 4), 4))
    model = build_classification(tiny, random_init=True)
    save_bundle(model, a_card(model), tmp_path / "made")
    assert main(["models", "export", str(tmp_path / "made"), *arguments, str(tmp_path / "out")]) == 2
    assert "only segmentation models can be exported" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


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
        (with_transform("preprocessing", _target_="Spacingd", keys="image"), "preprocessing has Spacing, which"),
        (with_transform("postprocessing", _target_="Lambdad", func="$print"), "postprocessing has Lambda, which"),
        ({"inferer": {"_target_": "SlidingWindowInferer", "roi_size": [32, 32]}}, "reads parts of an image"),
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
    assert import_(export("demo", tmp_path / "out")) == 2
    assert "network_def is an expression" in capsys.readouterr().err


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert import_(tmp_path) == 2
    assert "a MONAI bundle has it" in capsys.readouterr().err
