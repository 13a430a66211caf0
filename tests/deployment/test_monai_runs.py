"""With MONAI: exported bundles run and give FetalIQA's masks; networks of MONAI bundles are hosted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai_bundles import CONFIG, SIDE, Maker, a_unet, dice, export, import_
from PIL import Image

import fetaliqa
from fetaliqa.cli.main import main
from fetaliqa.errors import OptionError
from fetaliqa.registry.model_store import resolve_bundle

SCHEMA = Path(__file__).with_name("metadata_schema.json")  # MONAI's own has to be downloaded

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of the abdomen as a MONAI bundle."""
    return export("abdomen", tmp_path_factory.mktemp("monai") / "abdomen")


def native_masks(network: Any, frames: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return (network(torch.from_numpy(frames)[:, None])[:, 0] > 0.5).numpy()


def test_the_network_alone_gives_the_masks_of_an_assessment(exported: Path, sample_data: Path) -> None:
    network = torch.jit.load(str(exported / "models" / "model.ts"))
    model = fetaliqa.load_model("abdomen", "cpu")
    folder = sample_data / "images" / "stacked_fetal_ultrasound"
    for file, shown in (("patient013_MWI_plane0.png", True), ("patient033_DZA_plane2.png", False)):
        sweep = fetaliqa.read_sweep(folder / file)
        expected = fetaliqa.assess(sweep, model).masks != 0
        found = native_masks(network, sweep.frames)
        assert bool(expected.any()) is shown
        assert bool(found.any()) is shown
        assert not shown or dice(found, expected) >= 0.999


def test_monai_runs_the_bundle_on_a_folder_of_images(exported: Path, sample_data: Path, tmp_path: Path) -> None:
    from monai.bundle import run

    still = sample_data / "images" / "stacked_fetal_ultrasound" / "Patient01171_Plane2_1_of_1.png"
    (tmp_path / "images").mkdir()
    Image.open(still).convert("RGB").save(tmp_path / "images" / "still.png")  # colour becomes grey
    run(
        config_file=str(exported / "configs" / "inference.json"),
        meta_file=str(exported / "configs" / "metadata.json"),
        bundle_root=str(exported),
        dataset_dir=str(tmp_path / "images"),
        output_dir=str(tmp_path / "masks"),
    )
    expected = fetaliqa.assess(still, fetaliqa.load_model("abdomen", "cpu")).masks[0] != 0
    mask = np.asarray(Image.open(tmp_path / "masks" / "still_mask.png"))
    assert set(np.unique(mask)) == {0, 255}
    assert dice(mask != 0, expected) >= 0.999


def test_monai_accepts_the_metadata_and_the_network(exported: Path) -> None:
    from monai.bundle import verify_metadata, verify_net_in_out

    metadata = exported / "configs" / "metadata.json"
    verify_metadata(meta_file=str(metadata), filepath=str(SCHEMA))
    verify_net_in_out(
        net_id="network_def",
        meta_file=str(metadata),
        config_file=str(exported / "configs" / "inference.json"),
        device="cpu",
        bundle_root=str(exported),
    )
    values = json.loads(metadata.read_text(encoding="utf-8"))
    assert "fetaliqa" not in values["required_packages_version"]
    assert "Not for clinical use" in values["description"]


def test_the_tensors_of_the_specification_are_those_of_the_network(exported: Path) -> None:
    state = torch.load(exported / "models" / "model.pt", weights_only=True)
    network = torch.jit.load(str(exported / "models" / "model.ts"))
    assert set(state) == set(network.state_dict())
    assert all(torch.equal(state[name], tensor) for name, tensor in network.state_dict().items())


def test_the_documents_say_how_to_run_it_and_under_which_licence(exported: Path) -> None:
    readme = (exported / "docs" / "README.md").read_text(encoding="utf-8")
    assert "python -m monai.bundle run --config_file configs/inference.json" in readme
    assert "Not for clinical use" in readme
    licence = (exported / "docs" / "license.txt").read_text(encoding="utf-8")
    assert "Apache-2.0; trained on CC BY 4.0 images" in licence
    assert "African planes (Sendra-Balcells et al. 2023" in licence


def test_a_network_becomes_a_model_with_the_probabilities_that_monai_computes(foreign: Maker, capsys: Any) -> None:
    from monai.transforms import NormalizeIntensity, ScaleIntensity

    network = a_unet()
    assert import_(foreign(network.state_dict()), "--name", "heads") == 0
    assert "heads: version 0.3 is in use" in capsys.readouterr().out
    frame = np.random.default_rng(5).integers(0, 256, (1, SIDE, SIDE), dtype=np.uint8)

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
    assert import_(foreign(a_unet().state_dict()), "--name", "heads") == 0
    model = fetaliqa.load_model("heads", "cpu")
    frames = np.random.default_rng(6).integers(0, 256, (4, 90, 120), dtype=np.uint8)
    assessment = fetaliqa.assess(frames, model)
    assert [frame.expected_dice for frame in assessment.frames] == [None] * 4
    assert all(frame.quality is not None and frame.distance is None for frame in assessment.frames)
    assert assessment.masks.shape == frames.shape
    assert assessment.record["model"]["measurement"] == "HC"
    assert assessment.profile is not None  # what active learning goes by


def test_the_card_says_whose_model_it_is(foreign: Maker, capsys: pytest.CaptureFixture[str]) -> None:
    assert import_(foreign(a_unet().state_dict())) == 0
    assert main(["models", "show", "Somebody_s_heads"]) == 0
    shown = capsys.readouterr().out
    for text in ("UNet of MONAI, 2 output channel(s)", "MIT", "Not for any clinical use", "not evaluated here"):
        assert text in shown
    assert main(["models", "verify", "Somebody_s_heads"]) == 0


def test_an_imported_model_is_not_trained(foreign: Maker) -> None:
    from fetaliqa.model import Bundle
    from fetaliqa.retraining.warm_start import warm_start
    from fetaliqa.training.starting_weights import open_base

    assert import_(foreign(a_unet().state_dict()), "--name", "heads") == 0
    with pytest.raises(OptionError, match="used, not trained here"):
        open_base("heads")
    with pytest.raises(OptionError, match="used, not trained here"):
        warm_start(Bundle.open(resolve_bundle("heads")), "heads")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"network_def": {**CONFIG["network_def"], "channels": [8, 16, 64]}}, "has shape"),
        ({"network_def": {**CONFIG["network_def"], "colour": 3}}, "colour"),
        ({"metadata": {"version": "../1"}}, "give usable ones"),
        ({"metadata": {"name": "abdomen"}}, "reserved"),
    ],
)
def test_a_network_that_does_not_fit_its_tensors_or_the_store_is_refused(
    changes: dict[str, Any], sentence: str, foreign: Maker, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert import_(foreign(a_unet().state_dict(), **changes)) == 2
    message = capsys.readouterr().err
    assert sentence in message
    assert message.count("\n") == 1
    assert not list(home.rglob("card.json"))
