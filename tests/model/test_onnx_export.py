"""ONNX files: what they hold, that they are the model's, and what is said of damaged and foreign ones."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fetaliqa.cli.main import main
from fetaliqa.errors import BundleError, OptionError
from fetaliqa.inference import model_export
from fetaliqa.inference.graph_predictor import GraphPredictor
from fetaliqa.model import Bundle, CompactSeg, load_architecture
from fetaliqa.model.encoder_kinds import build_encoder
from fetaliqa.model.graph_model import GraphModel
from fetaliqa.model.onnx_bundle import COUNTERS, has_shipped_graph, onnx_bundle, shipped_graph
from fetaliqa.model.onnx_file import OnnxModel, read_onnx, with_metadata, with_weights
from fetaliqa.registry.model_store import resolve_bundle

onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: pip install fetaliqa[onnx]")


@pytest.fixture(scope="module")
def abdomen() -> Bundle:
    return Bundle.open(resolve_bundle("abdomen"))


@pytest.fixture(scope="module")
def content(abdomen: Bundle) -> bytes:
    source = onnx_bundle(abdomen).source
    assert isinstance(source, bytes)
    return source


@pytest.fixture(scope="module")
def random_model() -> CompactSeg:
    """A compact model whose every tensor is random, so that none can be mistaken for another."""
    torch.manual_seed(0)
    architecture = load_architecture("compact")
    model = CompactSeg(architecture, build_encoder(architecture.vision, random_init=True)).eval()
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif tensor.ndim == 1 and tensor.dtype == torch.float32:
                tensor.uniform_(0.2, 0.6)
        model.decoder.reference.whitening.normal_(std=0.1)
    return model.requires_grad_(False)


def run(content: bytes, frames: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(content)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"frames": frames})))


def test_the_shipped_graph_is_the_compact_model(abdomen: Bundle, random_model: CompactSeg) -> None:
    frames = model_export.check_frames(224)
    module = GraphModel(random_model, abdomen.card).eval()
    weights = {n: t.numpy() for n, t in random_model.state_dict().items() if not n.endswith(COUNTERS)}
    found = run(with_weights(shipped_graph(), weights), frames)
    with torch.inference_mode():
        expected = dict(zip(module.output_names, (part.numpy() for part in module(torch.from_numpy(frames)))))
    assert set(found) == set(expected) == {"probabilities", "frame_score", "expected_dice", "distance"}
    assert np.ptp(expected["probabilities"]) > 0.01
    for name, values in expected.items():
        assert np.allclose(found[name], values, rtol=1e-3, atol=1e-4), name


def test_the_graph_takes_native_frames(content: bytes) -> None:
    from fetaliqa.measure.square_grid import SquareGrid

    native = np.kron(model_export.check_frames(224), np.ones((1, 2, 3), np.uint8))[:, :401, :650]
    grid = SquareGrid(401, 650)
    found, expected = run(content, native), run(content, grid.to_square(native).numpy())
    assert found["probabilities"].shape == (len(native), 224, 224)
    for name, values in expected.items():
        assert np.allclose(found[name], values, rtol=1e-3, atol=1e-3), name


def test_a_frame_score_above_the_threshold_means_positive(content: bytes, abdomen: Bundle) -> None:
    found = run(content, model_export.check_frames(224))
    pixels = (found["probabilities"][:, None] > found["frame_score"][:, None, None, None]).sum(axis=(1, 2, 3))
    assert (pixels < abdomen.card.threshold.min_foreground_pixels()).all()
    reached = (found["probabilities"] >= found["frame_score"][:, None, None]).sum(axis=(1, 2))
    assert (reached >= abdomen.card.threshold.min_foreground_pixels()).all()


def test_the_file_states_its_card_contract_and_opset(content: bytes, abdomen: Bundle, tmp_path: Path) -> None:
    metadata = onnxruntime.InferenceSession(content).get_modelmeta().custom_metadata_map
    assert metadata["fetaliqa.contract"] == "1"
    assert json.loads(metadata["fetaliqa.card"]) == abdomen.card.to_json()
    assert metadata["fetaliqa.fingerprint"] == abdomen.fingerprint
    file = tmp_path / "one.onnx"
    file.write_bytes(content)
    assert read_onnx(file).card == abdomen.card
    assert abdomen.intervals.calibration is not None
    assert read_onnx(file).intervals.calibration == abdomen.intervals.calibration
    onnx = pytest.importorskip("onnx")
    proto = onnx.load_from_string(content)
    onnx.checker.check_model(proto, full_check=True)
    assert [(one.domain, one.version) for one in proto.opset_import] == [("", 18)]
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "frames"


def test_no_name_of_a_source_file_is_in_the_graph() -> None:
    assert re.search(rb"\.py\b", shipped_graph()) is None


BROKEN: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "empty": (lambda content: b"", "an empty file"),
    "text": (lambda content: b"hello world\n", "not an ONNX file"),
    "png": (lambda content: b"\x89PNG\r\n\x1a\n" + bytes(100), "not an ONNX file"),
    "cut early": (lambda content: content[:1000], "truncated"),
    "cut late": (lambda content: content[:-50], "truncated"),
    "without weights": (lambda content: shipped_graph(), "without the metadata"),
    "another version": (
        lambda content: content.replace(b"fetaliqa.contract\x12\x011", b"fetaliqa.contract\x12\x012"),
        "version 2",
    ),
    "a changed weight": (
        lambda content: content[:4_000_000] + b"\x01" + content[4_000_001:],
        "damaged or changed",
    ),
    "a changed card": (lambda content: content.replace(b'"probability": 0.5', b'"probability": 0.6'), "damaged"),
    "no checksum": (lambda content: content[: content.rindex(b"fetaliqa.sha256") - 4], "damaged or changed"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_that_cannot_be_used_is_one_sentence(
    kind: str, content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str], sample_data: Path
) -> None:
    change, says = BROKEN[kind]
    file = tmp_path / "model.onnx"
    file.write_bytes(change(content))
    case = next((sample_data / "images" / "stacked_fetal_ultrasound").glob("*.png"))
    assert main(["score", str(case), "--model", str(file), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    said = capsys.readouterr()
    assert says in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""
    assert not (tmp_path / "out").exists()


def test_a_graph_that_the_runtime_refuses_is_one_sentence(abdomen: Bundle) -> None:
    without_weights = with_metadata(shipped_graph(), abdomen.card, abdomen.fingerprint, abdomen.intervals)
    with pytest.raises(BundleError, match="onnxruntime cannot compile this graph"):
        GraphPredictor(OnnxModel(without_weights, abdomen.card, "", "here"), "onnxruntime")


def test_an_exported_file_is_compared_with_torch_and_never_overwritten(
    abdomen: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "a.onnx"
    assert main(["models", "export", "abdomen", "--out", str(target), "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["files"] == [str(target)]
    assert done["difference"] < 1e-3
    before = target.read_bytes()
    assert main(["models", "export", "abdomen", "--out", str(target)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert target.read_bytes() == before


def test_a_graph_with_other_outputs_is_not_written(
    abdomen: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = onnx_bundle(Bundle.open(resolve_bundle("head")))
    monkeypatch.setattr(model_export, "onnx_bundle", lambda bundle, weights: replace(other, card=abdomen.card))
    with pytest.raises(BundleError, match="nothing is written"):
        model_export.export_model(abdomen, tmp_path / "a.onnx", "onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_name_of_another_format_is_refused(abdomen: Bundle, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"ends in \.onnx"):
        model_export.export_model(abdomen, tmp_path / "a.pt", "onnx")


def test_openvino_files_compute_the_same(abdomen: Bundle, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    done = model_export.export_model(abdomen, tmp_path / "a.xml", "openvino")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin", "a.xml"]
    assert done.difference is not None
    assert done.difference < 1e-3
    graph = openvino.Core().read_model(tmp_path / "a.xml")
    assert json.loads(graph.get_rt_info(["fetaliqa", "card"]).value) == abdomen.card.to_json()


def test_a_model_of_another_threshold_gets_a_graph_of_its_own(abdomen: Bundle) -> None:
    assert has_shipped_graph(abdomen.card)
    threshold = replace(abdomen.card.threshold, min_foreground_fraction=0.02)
    assert not has_shipped_graph(replace(abdomen.card, threshold=threshold))


@pytest.mark.long
def test_a_transformer_is_exported_by_torch(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    done = model_export.export_model(Bundle.open(resolve_bundle("demo")), tmp_path / "demo.onnx", "onnx")
    assert done.difference is not None
    assert done.difference < 1e-3
    assert read_onnx(tmp_path / "demo.onnx").card.name == "demo"
