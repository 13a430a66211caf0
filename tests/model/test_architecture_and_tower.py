from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from fetaliqa.errors import OptionError, WeightsError
from fetaliqa.model import (
    Architecture,
    DecoderConfig,
    FetalCLIPCls,
    FetalCLIPSeg,
    VisionConfig,
    build_classification,
    build_segmentation,
    load_architecture,
    trainable_count,
    trainable_parameters,
)
from fetaliqa.model.architecture import fetalclip_text
from fetaliqa.model.decoder import UnetrDecoder, fuse_batch_norms
from fetaliqa.model.fetalclip_checkpoint import checkpoint_shapes
from fetaliqa.model.image_encoder import build_tower, empty_tower

STAGES = {  # parameters per stage, facts of the published decoder
    "up_deepest": 267_520,
    "skip_deep": 280_320,
    "merge_deep": 310_912,
    "skip_middle": 317_824,
    "merge_middle": 63_424,
    "skip_shallow": 328_384,
    "merge_shallow": 17_376,
    "skip_image": 1_732,
    "head": 4_449,
}


def _meta(kind: type) -> FetalCLIPSeg | FetalCLIPCls:
    architecture = load_architecture("fetalclip")
    with torch.device("meta"):
        model = kind(architecture, empty_tower(architecture.vision))
        model.add_adapters()
    return model


def test_segmentation_trains_the_published_number_of_parameters():
    model = _meta(FetalCLIPSeg)
    assert len(trainable_parameters(model.visual)) == 144
    assert trainable_count(model.visual) == 2_359_296
    assert trainable_count(model.decoder) == 1_591_941
    assert trainable_count(model) == 3_951_237


def test_classification_trains_the_published_number_of_parameters():
    assert trainable_count(_meta(FetalCLIPCls)) == 2_360_065


def test_every_decoder_stage_has_the_published_size():
    decoder = UnetrDecoder(1024, 32)
    assert {name: sum(p.numel() for p in stage.parameters()) for name, stage in decoder.named_children()} == STAGES


def test_taps_default_to_the_papers():
    architecture = load_architecture("fetalclip")
    assert architecture.decoder is not None
    assert architecture.decoder.taps == (6, 8, 12, 24)


@pytest.mark.parametrize("taps", [(0, 1, 2, 3), (6, 6, 12, 24), (24, 12, 8, 6), (6, 12, 18, 25)])
def test_impossible_taps_are_refused(taps):
    vision = load_architecture("fetalclip").vision
    with pytest.raises(ValueError, match="taps"):
        Architecture("other taps", vision, DecoderConfig(taps, 32))


def test_unknown_architecture_names_the_known_ones():
    with pytest.raises(OptionError, match="demo, fetalclip"):
        load_architecture("resnet")


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: VisionConfig(225, 14, 128, 8, 4, 128, 4.0),
        lambda: VisionConfig(224, 14, 130, 8, 4, 128, 4.0),
        lambda: VisionConfig(224, 14, 0, 8, 4, 128, 4.0),
        lambda: Architecture("x", VisionConfig(40, 8, 32, 4, 2, 16, 4.0), DecoderConfig((1, 2, 3, 4), 4)),
    ],
)
def test_sizes_that_do_not_divide_are_refused(wrong):
    with pytest.raises(ValueError, match=r"multiple|accepted"):
        wrong()


def test_expected_layout_is_open_clips_own_with_a_text_context_of_117():
    from open_clip.model import CLIP

    vision, text = load_architecture("fetalclip").vision, fetalclip_text()
    assert text.context_length == 117
    with torch.device("meta"):
        reference = CLIP(
            vision.embed_dim,
            {"image_size": 224, "layers": 24, "width": 1024, "patch_size": 14},
            {"context_length": 117, "vocab_size": 49408, "width": 768, "heads": 12, "layers": 12},
        )
    expected = {name: tuple(tensor.shape) for name, tensor in reference.state_dict().items()}
    assert len(expected) == 446
    assert checkpoint_shapes(vision, text) == expected


def test_no_weights_is_an_error_not_random_weights(tiny):
    with pytest.raises(WeightsError, match="no weights were given"):
        build_tower(tiny.vision)
    with pytest.raises(WeightsError, match="no weights were given"):
        build_segmentation(tiny)
    with pytest.raises(WeightsError, match="no weights were given"):
        build_classification(tiny)


def test_weights_and_random_start_together_are_an_error(tiny):
    state = build_tower(tiny.vision, random_init=True).state_dict()
    with pytest.raises(WeightsError, match="choose one"):
        build_tower(tiny.vision, state=state, random_init=True)


def test_positions_of_another_image_size_are_refused_not_interpolated(tiny):
    larger = replace(tiny.vision, image_size=64)
    state = build_tower(larger, random_init=True).state_dict()
    with pytest.raises(WeightsError, match=r"'positional_embedding' has shape \(65, 32\); \(17, 32\) is needed"):
        build_tower(tiny.vision, state=state)


@pytest.mark.parametrize("side", [16, 31, 64])
def test_images_of_another_size_are_refused(tiny_model, side):
    with pytest.raises(ValueError, match=r"\[N, 3, 32, 32\] is needed"):
        tiny_model(torch.zeros(1, 3, side, side))


@pytest.mark.parametrize("name", ["fetalclip", "demo"])
def test_activations_are_plain_gelu(name):
    vision = load_architecture(name).vision
    tower = empty_tower(vision)
    activations = [module for path, module in tower.named_modules() if path.endswith(".gelu")]
    assert len(activations) == vision.layers
    assert all(type(module) is nn.GELU and module.approximate == "none" for module in activations)


def test_custom_block_computes_what_open_clips_default_block_does(tiny):
    from open_clip.transformer import VisionTransformer

    custom = build_tower(tiny.vision, random_init=True).eval()
    default = VisionTransformer(32, 8, 32, 4, 2, 4.0, output_dim=16).eval()
    default.load_state_dict(custom.state_dict(), strict=True)
    assert any(isinstance(module, nn.MultiheadAttention) for module in default.modules())
    images = torch.randn(2, 3, 32, 32)
    assert (custom(images) - default(images)).abs().max() < 1e-5


@pytest.mark.parametrize("taps", [(1, 2, 3, 4), (2, 3, 4, 5), (1, 3, 5, 6)])
def test_decoder_reads_the_blocks_named_by_the_taps(tiny, taps):
    architecture = Architecture("x", replace(tiny.vision, layers=6), DecoderConfig(taps, 4))
    model = build_segmentation(architecture, random_init=True).eval()
    images = torch.randn(1, 3, 32, 32)
    outputs = []
    tokens = model.visual._embeds(images)
    for block in model.visual.transformer.resblocks:
        tokens = block(tokens)
        outputs.append(tokens[:, 1:].reshape(1, 4, 4, 32).permute(0, 3, 1, 2))
    assert torch.allclose(model.decoder(images, [outputs[tap - 1] for tap in taps]), model(images), atol=1e-6)


def test_outputs_have_one_logit_per_pixel_or_per_frame(tiny, tiny_model):
    images = torch.randn(3, 3, 32, 32)
    assert tiny_model(images).shape == (3, 1, 32, 32)
    assert build_classification(tiny, random_init=True).eval()(images).shape == (3,)


def test_folding_batch_norms_changes_no_output(tiny_model):
    images = torch.randn(2, 3, 32, 32)
    before = tiny_model(images)
    fuse_batch_norms(tiny_model.decoder)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in tiny_model.modules())
    assert torch.allclose(tiny_model(images), before, atol=1e-5)
