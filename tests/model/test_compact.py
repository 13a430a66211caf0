"""The compact model: building, bundles in 16 bits, what it says of frames."""

import json

import numpy as np
import pytest
import torch
from bundle_cards import a_card

from fetaliqa.errors import BundleError, OptionError, WeightsError
from fetaliqa.inference.predictor import Predictor
from fetaliqa.model import (
    Architecture,
    Bundle,
    CompactSeg,
    build_segmentation,
    load_architecture,
    normalise,
    save_bundle,
)
from fetaliqa.model.architecture import BackboneConfig, PyramidConfig
from fetaliqa.model.backbone import IMAGENET_FILE, IMAGENET_PACKAGE, imagenet_state
from fetaliqa.model.bundle_verification import verify_bundle

SMALL = Architecture("small", BackboneConfig(64, "test_efficientnet"), PyramidConfig(32, 32, 16))


@pytest.fixture(scope="module")
def model() -> CompactSeg:
    torch.manual_seed(3)
    built = build_segmentation(SMALL, random_init=True, encoder="full")
    assert isinstance(built, CompactSeg)
    return built.eval()


@pytest.fixture(scope="module")
def frames() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(0, 256, (5, 64, 64), dtype=np.uint8))


@pytest.fixture
def bundle(model, tmp_path) -> Bundle:
    return save_bundle(model, a_card(model), tmp_path / "bundle")


def test_a_pixel_is_inside_only_where_frame_and_outline_agree(model, frames):
    with torch.inference_mode():
        outputs, logits = model.outputs(normalise(frames)), model(normalise(frames))
    assert logits.shape == (5, 1, 64, 64)
    plane = outputs.plane[:, None, None, None].expand_as(logits)
    assert torch.equal(logits, torch.minimum(outputs.outline, plane))


def test_a_bundle_is_in_16_bits_and_answers_nearly_alike(model, bundle, frames):
    size = sum((bundle.directory / name).stat().st_size for name in bundle.card.files)
    numbers = sum(parameter.numel() for parameter in model.parameters())
    assert size < 2.6 * numbers
    with torch.inference_mode():
        before, after = model(normalise(frames)), bundle.load_model()(normalise(frames))
    assert torch.allclose(before, after, atol=0.02)
    assert not torch.equal(before, after)


def test_a_bundle_saved_again_is_the_same(bundle, tmp_path):
    model = bundle.load_model(merge=False)
    again = save_bundle(model, a_card(model), tmp_path / "again")
    assert again.card.files == bundle.card.files
    assert again.card.base == bundle.card.base


def test_a_bundle_is_verified_end_to_end(bundle):
    verification = verify_bundle(bundle)
    assert verification.parameters["adapter"] == 0
    assert verification.parameters["encoder"] == sum(
        one.numel()
        for one in bundle.load_model(merge=False).visual.state_dict().values()
        if one.is_floating_point()
    )


def test_a_changed_encoder_is_refused(bundle):
    file = bundle.directory / "base.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(BundleError, match=r"base\.safetensors is damaged"):
        bundle.load_model()


def test_a_card_that_names_adapters_or_another_base_is_refused(bundle):
    file = bundle.directory / "card.json"
    value = json.loads(file.read_text(encoding="utf-8"))
    value["base"]["kind"] = "fetalclip"
    value["files"].pop("base.safetensors")
    file.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(BundleError, match="it is included"):
        Bundle.open(bundle.directory)


def test_an_unknown_backbone_is_named(bundle):
    file = bundle.directory / "card.json"
    value = json.loads(file.read_text(encoding="utf-8"))
    value["architecture"]["vision"]["backbone"] = "../resnet"
    file.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(BundleError, match=r"backbone '\.\./resnet' is not known; known are"):
        Bundle.open(bundle.directory)


def test_it_takes_no_adapters_and_no_bfloat16(bundle):
    with pytest.raises(OptionError, match="no transformer"):
        build_segmentation(SMALL, random_init=True, encoder="lora")
    with pytest.raises(OptionError, match="precision is bf16"):
        Predictor(bundle, "cpu", precision="bf16")


def test_frames_far_from_the_training_data_are_told_apart(model, frames, tmp_path):
    with torch.inference_mode():
        features = model.reference_features(normalise(frames))
    reference = model.decoder.reference
    reference.mean.copy_(features[0])
    reference.whitening.copy_(torch.eye(len(features[0])))
    limit = (features[1:] - features[0]).norm(dim=1).min() * 0.5
    reference.limit.fill_(limit)
    saved = save_bundle(model, a_card(model, version="2"), tmp_path / "two")
    reference.limit.zero_()
    (chunk,) = Predictor(saved, "cpu").predict(frames.numpy(), np.arange(5))
    expected, distance = chunk.signals.T
    assert distance[0] < 0.1
    assert (distance[1:] > 1).all()
    assert ((expected >= 0) & (expected <= 1)).all()


def test_without_a_reference_no_distance_is_known(bundle, frames):
    (chunk,) = Predictor(bundle, "cpu").predict(frames.numpy(), np.arange(5))
    assert chunk.signals[:, 1].isnan().all()


def test_the_imagenet_weights_fit_the_compact_encoder():
    pytest.importorskip(IMAGENET_PACKAGE)
    vision = load_architecture("compact").vision
    assert isinstance(vision, BackboneConfig)
    state = imagenet_state(vision)
    model = build_segmentation("compact", weights=state, encoder="full")
    images = torch.zeros(1, 3, 224, 224)
    with torch.inference_mode():
        maps = model.eval().outline_and_maps(images)[1]
    assert [tuple(one.shape[1:]) for one in maps] == [
        (16, 112, 112),
        (24, 56, 56),
        (40, 28, 28),
        (112, 14, 14),
        (320, 7, 7),
    ]


def test_other_files_are_not_taken_for_imagenet_weights(tmp_path):
    vision = load_architecture("compact").vision
    torch.save({"one": torch.zeros(2)}, tmp_path / IMAGENET_FILE.split("/")[-1])
    with pytest.raises(WeightsError, match=r"1 tensors.*tf_efficientnet_lite0"):
        imagenet_state(vision, tmp_path / IMAGENET_FILE.split("/")[-1])
    (tmp_path / "text.pth").write_text("no weights")
    with pytest.raises(WeightsError, match="not readable as a weights file"):
        imagenet_state(vision, tmp_path / "text.pth")
