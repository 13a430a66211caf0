"""ONNX Runtime and OpenVINO give what PyTorch gives, also where PyTorch is not installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import fetaliqa
from fetaliqa.errors import OptionError
from fetaliqa.inference import Predictor
from fetaliqa.inference.duplicate_frames import DuplicateFrames
from fetaliqa.inference.graph_predictor import GraphPredictor, _Duplicates
from fetaliqa.inference.graph_runtimes import chosen_runtime
from fetaliqa.measure.array_resampling import foreground_arrays, mask_array, square_arrays
from fetaliqa.measure.square_grid import SquareGrid
from fetaliqa.model import Bundle
from fetaliqa.model.onnx_bundle import onnx_bundle
from fetaliqa.registry.model_store import resolve_bundle

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install fetaliqa[onnx]")

WITHOUT_TORCH = """
import sys
for name in ("torch", "timm", "open_clip", "peft", "segmentation_models_pytorch", "torchvision"):
    sys.modules[name] = None  # what an import of a missing module raises
from fetaliqa.cli.main import main
sys.exit(main(sys.argv[1:]))
"""
PICTURE = "Patient01171_Plane2_1_of_1.png"


def images(sample_data: Path) -> Path:
    return sample_data / "images" / "stacked_fetal_ultrasound"


@pytest.fixture(scope="module")
def frames(sample_data: Path) -> np.ndarray:
    """uint8 [N, H, W], a few of a sweep, with and without the abdomen."""
    return fetaliqa.read_sweep(sorted(images(sample_data).glob("*.mha"))[-1]).frames[[0, 18, 19, 20, 40, 67]]


@pytest.fixture(scope="module")
def by_torch(frames: np.ndarray) -> fetaliqa.Assessment:
    sweep = fetaliqa.sweep_from_array(frames, spacing=(0.5, 0.5))
    return fetaliqa.assess(sweep, fetaliqa.load_model("abdomen", "cpu", runtime="torch"))


@pytest.fixture(scope="module")
def abdomen() -> Bundle:
    return Bundle.open(resolve_bundle("abdomen"))


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def model(request: pytest.FixtureRequest) -> fetaliqa.Model:
    pytest.importorskip(request.param)
    return fetaliqa.load_model("abdomen", runtime=request.param)


@pytest.mark.parametrize("shape", [(562, 744), (90, 100), (300, 224), (224, 224), (1, 300), (448, 448)])
def test_frames_are_resampled_as_by_torch_to_the_bit(shape: tuple[int, int]) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (3, *shape), dtype=np.uint8)
    frames[1] = (frames[1] > 127) * 255  # weights overshoot at edges
    grid = SquareGrid(*shape)
    assert np.array_equal(square_arrays(grid, frames), grid.to_square(frames).numpy())


def test_outlines_come_back_to_the_native_grid_as_by_torch() -> None:
    grid = SquareGrid(281, 372)
    maps = torch.nn.functional.interpolate(torch.rand(2, 1, 14, 14), size=(224, 224), mode="bicubic")[:, 0]
    expected = grid.foreground_on_native(maps, 0.5).numpy()
    found = np.stack(list(foreground_arrays(grid, maps.numpy(), 0.5)))
    assert 0.1 < expected.mean() < 0.9
    assert (found != expected).mean() < 1e-4


def test_the_field_of_view_comes_to_the_grid_as_by_torch() -> None:
    sector = np.zeros((281, 372), np.uint8)
    sector[20:-33, 41:-30] = 1
    grid = SquareGrid(281, 372)
    assert np.array_equal(mask_array(grid, sector), grid.mask_to_square(sector[None])[0])


def test_duplicate_frames_are_those_that_torch_finds() -> None:
    random = np.random.default_rng(3)
    levels = np.repeat(np.cumsum(random.integers(-3, 4, 60)) % 200, random.integers(1, 4, 60)).astype(np.uint8)
    squares = np.ascontiguousarray(np.broadcast_to(levels[:, None, None], (len(levels), 4, 4)))
    ours, theirs = _Duplicates(), DuplicateFrames()
    for start in range(0, len(squares), 7):
        part = squares[start : start + 7]
        assert ours.sources(part) == theirs.sources(torch.from_numpy(part))


def test_a_sweep_gets_the_record_that_torch_gives(
    model: fetaliqa.Model, frames: np.ndarray, by_torch: fetaliqa.Assessment
) -> None:
    expected, found = by_torch, fetaliqa.assess(fetaliqa.sweep_from_array(frames, spacing=(0.5, 0.5)), model)
    assert expected.best is not None
    assert close(found.record, expected.record) == []
    inside = expected.masks.sum() + found.masks.sum()
    assert 2 * (expected.masks & found.masks).sum() / inside >= 0.999


def close(found: Any, expected: Any, where: str = "record") -> list[str]:
    """Where two records differ: numbers by more than 0.001, or 0.01 of a size in pixels or mm."""
    if isinstance(expected, dict):
        assert set(found) == set(expected), where
        return [line for key in expected for line in close(found[key], expected[key], f"{where}.{key}")]
    if isinstance(expected, list):
        assert len(found) == len(expected), where
        return [line for n, pair in enumerate(zip(found, expected)) for line in close(*pair, f"{where}[{n}]")]
    if isinstance(expected, float):
        allowed = 0.01 + 1e-4 * abs(expected) if expected > 1 else 1e-3
        return [] if abs(found - expected) <= allowed else [f"{where}: {found}, not {expected}"]
    return [] if found == expected else [f"{where}: {found!r}, not {expected!r}"]


@pytest.mark.long
def test_two_hundred_frames_are_those_of_torch(abdomen: Bundle, sample_data: Path) -> None:
    reference, graph = Predictor(abdomen, "cpu"), GraphPredictor(onnx_bundle(abdomen), "onnxruntime")
    dice, quality, counted = [], [], 0
    for path in sorted(images(sample_data).glob("*.mha")):
        frames = fetaliqa.read_sweep(path).frames
        both = [model.predict(frames, np.arange(len(frames))) for model in (reference, graph)]
        one, other = ([chunk.probabilities for chunk in chunks] for chunks in both)
        a, b = torch.cat(one).numpy(), np.concatenate(other)  # type: ignore[arg-type]
        counted += len(a)
        top = [np.partition(maps.reshape(len(maps), -1), -502)[:, -502] for maps in (a, b)]
        quality.append(np.abs(top[0] - top[1]).max())
        for left, right in zip(a > 0.5, b > 0.5):
            if left.any() or right.any():
                dice.append(2 * (left & right).sum() / (left.sum() + right.sum()))
    assert counted >= 200
    assert len(dice) >= 10
    assert min(dice) >= 0.999
    assert max(quality) <= 0.001


def test_results_of_runtimes_are_kept_apart(abdomen: Bundle) -> None:
    from fetaliqa.registry import AssessmentService

    services = [AssessmentService("abdomen", runtime=name) for name in ("torch", "onnxruntime")]
    keys = {service.opened.request(service.setup.options).key("content") for service in services}
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"runtime": "tflite"}, "runtime is 'tflite'"),
        ({"runtime": "onnxruntime", "precision": "bf16"}, "does not have"),
        ({"runtime": "onnxruntime", "device": "cuda"}, "computes on the CPU"),
        ({"runtime": "onnxruntime", "classifier": "demo"}, "a classifier beside the model needs torch"),
        ({"runtime": "onnxruntime", "student": "somewhere"}, "a screening model needs torch"),
    ],
)
def test_what_only_torch_computes_is_refused_by_name(settings: dict[str, str], says: str) -> None:
    from fetaliqa.registry import AssessmentService

    with pytest.raises(OptionError, match=says):
        AssessmentService("abdomen", **settings)


def test_torch_is_used_where_it_is_installed_and_else_what_is(monkeypatch: pytest.MonkeyPatch) -> None:
    from fetaliqa.inference import graph_runtimes

    assert chosen_runtime("auto", onnx_file=False) == "torch"
    assert chosen_runtime("auto", onnx_file=True) == "onnxruntime"
    monkeypatch.setattr(graph_runtimes, "find_spec", lambda name: True if name == "openvino" else None)
    assert chosen_runtime("auto", onnx_file=False) == "openvino"
    monkeypatch.setattr(graph_runtimes, "find_spec", lambda name: None)
    with pytest.raises(OptionError, match=r"fetaliqa\[onnx\]"):
        chosen_runtime("auto", onnx_file=False)


def without_torch(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    repository = Path(__file__).parents[2]
    return subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(repository), "XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_picture_is_scored_where_torch_is_not_installed(sample_data: Path, tmp_path: Path) -> None:
    picture, out = images(sample_data) / PICTURE, tmp_path / "out"
    runtime = ("--runtime", "onnxruntime", "--model", "abdomen")
    done = without_torch(tmp_path, "score", str(picture), *runtime, "--out", str(out), "--quiet")
    assert done.returncode == 0, done.stderr[-2000:]
    written = {path.name for path in (out / picture.stem).iterdir()}
    assert written == {"assessment.json", "contact_sheet.png", "done.json", "frames.csv", "masks.mha"}
    record = json.loads((out / picture.stem / "assessment.json").read_text())
    assert record["best"] == 0
    assert record["frames"][0]["expected_dice"] > 0.9


def test_a_command_that_needs_torch_names_the_extra(tmp_path: Path) -> None:
    done = without_torch(tmp_path, "models", "verify", "abdomen")
    assert done.returncode == 2
    assert (
        done.stderr
        == "fetaliqa models: this needs torch, which is not installed; run `pip install 'fetaliqa[torch]'`\n"
    )
