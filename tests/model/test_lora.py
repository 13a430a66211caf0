from __future__ import annotations

import pytest
import torch
from torch import nn

from fetaliqa.errors import WeightsError
from fetaliqa.model import LoraSettings, build_classification, build_segmentation
from fetaliqa.model import lora as adapters


def _model(kind: str, tiny):
    build = build_segmentation if kind == "segmentation" else build_classification
    model = build(tiny, random_init=True).eval()
    with torch.no_grad():
        for name, parameter in model.visual.named_parameters():
            if ".lora_B." in name:
                parameter.normal_(std=0.05)
    return model


@pytest.mark.parametrize("kind", ["segmentation", "classification"])
def test_every_trainable_tensor_gets_a_finite_gradient_that_is_not_zero(tiny, kind):
    model = _model(kind, tiny)
    output = model(torch.randn(2, 3, 32, 32))
    (output * torch.randn_like(output)).sum().backward()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert sum(".lora_" in name for name in trained) == 4 * 3 * 2
    for name, parameter in trained.items():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert float(parameter.grad.abs().max()) > 0, name


def test_the_encoders_own_weights_stay_frozen(tiny):
    model = _model("segmentation", tiny)
    assert not any(p.requires_grad for name, p in model.visual.named_parameters() if ".lora_" not in name)


def test_perturbing_any_adapter_changes_the_output(tiny):
    # double precision: a fresh decoder damps some changes to below the rounding of single precision
    model = _model("segmentation", tiny).double()
    images = torch.randn(1, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        before = model(images)
        for name, parameter in model.visual.named_parameters():
            if ".lora_" not in name:
                continue
            original = parameter.clone()
            parameter.add_(torch.randn_like(parameter))
            assert not torch.equal(model(images), before), name
            parameter.copy_(original)
        assert torch.equal(model(images), before)


def test_fresh_adapters_change_nothing(tiny):
    model = build_segmentation(tiny, random_init=True, encoder="full").eval()
    images = torch.randn(1, 3, 32, 32)
    before = model(images)
    model.add_adapters(LoraSettings(rank=2))
    assert torch.equal(model(images), before)


def test_merged_copy_computes_the_same_and_leaves_the_original_alone(tiny_model):
    images = torch.randn(2, 3, 32, 32)
    before = tiny_model(images)
    merged = tiny_model.merged()
    assert (merged(images) - before).abs().max() < 1e-5
    assert not adapters.has_adapters(merged.visual)
    assert adapters.has_adapters(tiny_model.visual)
    with torch.no_grad():
        for parameter in merged.parameters():
            parameter.zero_()
    assert torch.equal(tiny_model(images), before)


def test_own_merge_equals_pefts(tiny_model):
    from peft.tuners.lora import LoraLayer

    own = tiny_model.merged().visual.state_dict()
    for module in tiny_model.visual.modules():
        if isinstance(module, LoraLayer):
            module.merge()
    for name, tensor in adapters.base_state(tiny_model.visual).items():
        assert torch.allclose(own[name], tensor, atol=1e-6), name


def test_adapters_saved_and_loaded_give_the_same_output(tiny, tiny_model):
    base = adapters.base_state(tiny_model.visual)
    other = build_segmentation(tiny, weights={name: tensor.clone() for name, tensor in base.items()}).eval()
    other.decoder.load_state_dict(tiny_model.decoder.state_dict())
    state = adapters.adapter_state(tiny_model.visual)
    adapters.load_adapter(other.visual, tiny.vision, tiny_model.lora, state, "adapter")
    images = torch.randn(1, 3, 32, 32)
    assert torch.equal(other(images), tiny_model(images))


def test_a_missing_an_extra_and_a_misshapen_adapter_tensor_are_named(tiny, tiny_model):
    state = adapters.adapter_state(tiny_model.visual)
    name = "transformer.resblocks.0.attn.out_proj.lora_A.weight"
    wrong = [
        ({key: value for key, value in state.items() if key != name}, "is missing"),
        ({**state, "extra": torch.zeros(1)}, "'extra' is not part"),
        ({**state, name: torch.zeros(4, 32)}, r"has shape \(4, 32\); \(8, 32\) is needed"),
    ]
    for changed, sentence in wrong:
        with pytest.raises(WeightsError, match=sentence):
            adapters.load_adapter(tiny_model.visual, tiny.vision, tiny_model.lora, changed, "adapter")


def test_second_set_of_adapters_is_refused(tiny_model):
    with pytest.raises(WeightsError, match="already"):
        tiny_model.add_adapters()


@pytest.mark.parametrize(
    "changes", [{"rank": 0}, {"alpha": 0}, {"dropout": 1.0}, {"targets": ()}, {"targets": ("in_proj",)}]
)
def test_settings_out_of_range_are_refused(changes):
    with pytest.raises(ValueError, match="|".join(changes)):
        LoraSettings(**changes)


def test_adapted_layers_are_plain_linears_that_are_called(tiny_model):
    from peft.tuners.lora import Linear

    for block in tiny_model.visual.transformer.resblocks:
        assert not isinstance(block.attn, nn.MultiheadAttention)
        assert all(isinstance(layer, Linear) for layer in (block.attn.out_proj, block.mlp.c_fc, block.mlp.c_proj))
