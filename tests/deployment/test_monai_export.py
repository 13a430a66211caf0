"""`fetaliqa models export --format monai`: a bundle that MONAI runs without FetalIQA, with FetalIQA's masks."""

from __future__ import annotations

import json
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
from bundle_cards import a_card
from PIL import Image

import fetaliqa
from fetaliqa.cli.main import main
from fetaliqa.model import build_classification, build_segmentation, save_bundle
from fetaliqa.model.architecture import Architecture, BackboneConfig, PyramidConfig

SCHEMA = Path(__file__).with_name("metadata_schema.json")  # MONAI's own has to be downloaded
STACK_CONFIGS = ["configs/inference.json", "configs/inference_stack.json"]
WITHOUT_FETALIQA = (
    "import runpy, sys; sys.modules['fetaliqa'] = None; sys.argv[0] = 'bundle'; "
    "runpy.run_module('monai.bundle', run_name='__main__', alter_sys=True)"
)


def export(name: str, out: Path) -> Path:
    assert main(["models", "export", name, "--format", "monai", "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of the abdomen as a MONAI bundle."""
    return export("abdomen", tmp_path_factory.mktemp("monai") / "abdomen")


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


def native_masks(network: Any, frames: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return (network(torch.from_numpy(frames)[:, None])[:, 0] > 0.5).numpy()


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * float((one & other).sum()) / max(float(one.sum() + other.sum()), 1)


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


def test_the_threshold_of_the_card_becomes_that_of_the_bundle(tmp_path: Path) -> None:
    from fetaliqa.model.bundle_card import Threshold

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
    from fetaliqa.model import DecoderConfig, VisionConfig

    arguments = ["--format", "monai", "--out"]
    assert main(["models", "export", "abdomen", *arguments, str(tmp_path)]) == 2
    assert "exists already; choose another folder" in capsys.readouterr().err
    tiny = Architecture("tiny", VisionConfig(32, 8, 32, 4, 2, 16, 4.0), DecoderConfig((1, 2, 3, 4), 4))
    model = build_classification(tiny, random_init=True)
    save_bundle(model, a_card(model), tmp_path / "made")
    assert main(["models", "export", str(tmp_path / "made"), *arguments, str(tmp_path / "out")]) == 2
    assert "only segmentation models can be exported" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.long
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
