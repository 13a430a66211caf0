"""The real sizes, with random weights: 304 million parameters, built once."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from bundle_cards import a_card

from fetaliqa.errors import BundleError
from fetaliqa.model import (
    BaseReference,
    EncoderModel,
    build_classification,
    build_segmentation,
    load_architecture,
    save_bundle,
    trainable_count,
    trainable_parameters,
)
from fetaliqa.model.architecture import fetalclip_text
from fetaliqa.model.fetalclip_checkpoint import text_shapes
from fetaliqa.model.fetalclip_weights import import_checkpoint
from fetaliqa.model.image_encoder import build_tower

pytestmark = pytest.mark.full_size


@pytest.fixture(scope="module")
def visual() -> dict[str, torch.Tensor]:
    """Random weights of the image encoder, shared (never copied) by the models of this module."""
    torch.manual_seed(11)
    tower = build_tower(load_architecture("fetalclip").vision, random_init=True)
    return {name: tensor.detach() for name, tensor in tower.state_dict().items()}


@pytest.fixture(scope="module")
def model(visual) -> EncoderModel:
    model = build_segmentation("fetalclip", weights=visual)
    _wake(model)
    return model.eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def expected(model, images) -> torch.Tensor:
    with torch.inference_mode():
        return model(images)


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A folder removed at once: pytest would keep gigabytes of its own temporary folders."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _wake(model: EncoderModel) -> None:
    with torch.no_grad():
        for name, parameter in model.visual.named_parameters():
            if ".lora_B." in name:
                parameter.normal_(std=0.01)


def _check_gradients(model: EncoderModel, images: torch.Tensor) -> None:
    output = model(images)
    (output * torch.randn_like(output)).sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            assert bool(torch.isfinite(parameter.grad).all()), name
            assert float(parameter.grad.abs().max()) > 0, name
    model.zero_grad(set_to_none=True)


def test_all_144_adapter_tensors_and_the_decoder_learn(model, images):
    assert len(trainable_parameters(model.visual)) == 144
    assert trainable_count(model) == 3_951_237
    _check_gradients(model, images)


@pytest.mark.long  # as those of the segmentation model
def test_all_144_adapter_tensors_of_the_classifier_learn(visual, images):
    classifier = build_classification("fetalclip", weights=visual)
    _wake(classifier)
    assert trainable_count(classifier) == 2_360_065
    _check_gradients(classifier.eval(), images)


def test_merged_equals_unmerged(model, images, expected):
    with torch.inference_mode():
        assert (model.merged()(images) - expected).abs().max() < 1e-5


def test_custom_block_equals_open_clips_default_block(visual, images):
    from open_clip.transformer import VisionTransformer

    with torch.device("meta"):
        default = VisionTransformer(224, 14, 1024, 24, 16, 4.0, output_dim=768)
    default.load_state_dict(visual, strict=True, assign=True)
    custom = build_tower(load_architecture("fetalclip").vision, state=visual)
    with torch.inference_mode():
        assert (custom.eval()(images) - default.eval()(images)).abs().max() < 1e-4


@pytest.fixture(scope="module")
def whole(visual) -> Iterator[dict[str, torch.Tensor]]:
    """All 446 tensors, as published."""
    state = {f"visual.{name}": tensor for name, tensor in visual.items()}
    state.update({name: torch.randn(shape) * 0.02 for name, shape in text_shapes(fetalclip_text()).items()})
    assert len(state) == 446
    yield state
    state.clear()


def test_published_file_through_import_load_bundle_and_reload(
    whole, model, images, expected, scratch, monkeypatch
):
    monkeypatch.setenv("FETALIQA_HOME", str(scratch / "home"))
    file = scratch / "FetalCLIP_weights.pt"
    torch.save({"epoch": 20, "state_dict": {f"module.{name}": tensor for name, tensor in whole.items()}}, file)
    record = import_checkpoint(file)
    assert record.tensor_count == 446
    assert record.visual_sha256 == model.base_sha256
    file.unlink()

    bundle = save_bundle(model, a_card(model, base=BaseReference("fetalclip", "0" * 64)), scratch / "bundle")
    assert not (bundle.directory / "base.safetensors").exists()
    assert sum(entry.stat().st_size for entry in bundle.directory.iterdir()) < 20_000_000
    with torch.inference_mode():
        assert torch.equal(bundle.load_model(merge=False)(images), expected)


@pytest.mark.long
def test_flat_published_file_is_used_in_place_and_another_is_refused(whole, model, scratch):
    bundle = save_bundle(model, a_card(model, base=BaseReference("fetalclip", "0" * 64)), scratch / "bundle")
    file: Path = scratch / "FetalCLIP_weights.pt"
    torch.save(whole, file)
    loaded = bundle.load_model(file, merge=False).state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in model.state_dict().items())
    changed = {name.removeprefix("visual."): t for name, t in whole.items() if name.startswith("visual.")}
    changed["ln_post.bias"] = changed["ln_post.bias"] + 1
    with pytest.raises(BundleError, match=bundle.card.base.sha256[:12]):
        bundle.load_model(changed)
    file.unlink()
