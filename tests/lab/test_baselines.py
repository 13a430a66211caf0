from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from fetaliqa.errors import OptionError, WeightsError
from fetaliqa.lab.baselines import BASELINES, BaselineClassifier, build_baseline
from fetaliqa.lab.parameter_counts import learning_count, parameter_counts
from fetaliqa.model import trainable_count

SIDE = 64  # pixels; input of the reduced models
TRANSFORMERS = ("swin", "deit", "vit", "vit_small")


def _images(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, SIDE, SIDE)


def _awake(key: str, **options) -> BaselineClassifier:
    """A reduced model with adapters that do something, as after a first step of training."""
    model = build_baseline(key, strategy="lora", reduced=True, **options).eval()
    with torch.no_grad():
        for name, parameter in model.backbone.named_parameters():
            if ".lora_B." in name:
                parameter.normal_(std=0.05)
    return model


@pytest.mark.parametrize("key", BASELINES)
def test_each_reduced_model_grades_frames_and_gives_the_features_its_head_reads(key):
    model = build_baseline(key, reduced=True).eval()
    frames = np.random.default_rng(5).integers(0, 256, (2, SIDE, SIDE), np.uint8)
    images = model.normalise(frames)
    with torch.inference_mode():
        features, logits = model.features(images), model(images)
        from_features = model.classifier(features)[:, 0]
    assert logits.shape == (2,)
    assert torch.allclose(from_features, logits, atol=1e-5)
    assert not torch.equal(logits[0], logits[1])
    assert (model.task, model.strategy, model.reduced) == ("classification", BASELINES[key].strategy, True)


@pytest.mark.parametrize("key", [*TRANSFORMERS, "densenet"])
def test_every_trainable_tensor_gets_a_finite_gradient_that_is_not_zero(key):
    model = _awake(key)
    model(_images()).sum().backward()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    assert sum(".lora_" in name for name in trained) == len(trained) - 2
    for name, parameter in trained.items():
        assert parameter.grad is not None, name
        assert bool(torch.isfinite(parameter.grad).all()), name
        assert float(parameter.grad.abs().max()) > 0, name


@pytest.mark.parametrize("key", ["swin", "deit", "vit"])
def test_perturbing_any_adapter_changes_the_output(key):
    model = _awake(key).double()
    images = _images(1).double()
    with torch.no_grad():
        before = model(images)
        for name, parameter in model.backbone.named_parameters():
            if ".lora_" not in name:
                continue
            original = parameter.clone()
            parameter.add_(torch.randn_like(parameter))
            assert not torch.equal(model(images), before), name
            parameter.copy_(original)


def test_adapters_reach_three_linears_of_every_block_and_nothing_else():
    for key in TRANSFORMERS:
        model = build_baseline(key, strategy="lora", reduced=True)
        adapted = {
            name.partition(".lora_A.")[0] for name, _ in model.backbone.named_parameters() if "lora_A" in name
        }
        blocks = {
            name.rsplit(".attn", 1)[0] for name, _ in model.backbone.named_modules() if name.endswith(".attn")
        }
        expected = {f"{block}.{layer}" for block in blocks for layer in ("attn.proj", "mlp.fc1", "mlp.fc2")}
        assert adapted == expected, key


@pytest.mark.parametrize("key", TRANSFORMERS)
def test_the_patch_embedding_is_adapted_only_as_released(key):
    def adapts_patches(**options) -> bool:
        model = build_baseline(key, strategy="lora", reduced=True, **options)
        return any(
            name.startswith("patch_embed") and p.requires_grad for name, p in model.backbone.named_parameters()
        )

    assert not adapts_patches()
    assert adapts_patches(as_released=True)


def test_released_targets_are_refused_where_they_match_nothing_and_reach_vggs_dense_layers():
    for key in ("densenet", "efficientnet"):
        with pytest.raises(OptionError, match=r"proj, fc1, fc2\) match no layer of .*; leave as_released out"):
            build_baseline(key, strategy="lora", reduced=True, as_released=True)
    model = build_baseline("vgg", strategy="lora", reduced=True, as_released=True)
    trained = {name.split(".lora_")[0] for name, p in model.backbone.named_parameters() if p.requires_grad}
    assert trained == {"pre_logits.fc1", "pre_logits.fc2"}


def test_adapters_of_a_convolutional_network_leave_its_stem_and_grouped_convolutions_alone():
    model = build_baseline("efficientnet", strategy="lora", reduced=True)
    adapted = [name for name, _ in model.backbone.named_modules() if name.endswith(".lora_A")]
    assert any(name.startswith("conv_head") for name in adapted)
    assert not any(name.startswith("conv_stem") or "conv_dw" in name for name in adapted)


@pytest.mark.parametrize(("strategy", "moves"), [("linear", False), ("lora", False), ("full", True)])
def test_batch_norm_statistics_move_in_full_training_only(strategy, moves):
    model = build_baseline("efficientnet", strategy=strategy, reduced=True).train()
    norms = [module for module in model.backbone.modules() if isinstance(module, nn.BatchNorm2d)]
    before = [norm.running_mean.clone() for norm in norms]
    model(_images()).sum().backward()
    assert all(torch.equal(norm.running_mean, earlier) for norm, earlier in zip(norms, before)) is not moves
    assert model.classifier.weight.grad is not None


def test_linear_probe_trains_the_head_alone_and_is_repeatable_in_training_mode():
    model = build_baseline("vit", strategy="linear", reduced=True).train()
    assert trainable_count(model) == model.classifier.in_features + 1
    images = _images()
    assert torch.equal(model.features(images), model.features(images))


def test_full_training_reaches_every_parameter():
    model = build_baseline("vit_small", reduced=True)
    assert learning_count(model, _images()) == sum(parameter.numel() for parameter in model.parameters())


def test_square_frames_of_the_input_size_are_only_normalised():
    model = build_baseline("densenet", reduced=True)
    frames = torch.full((1, SIDE, SIDE), 255, dtype=torch.uint8)
    expected = [(1 - mean) / std for mean, std in zip((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))]
    assert torch.allclose(model.normalise(frames).mean(dim=(0, 2, 3)), torch.tensor(expected))
    clip = build_baseline("vit", reduced=True).normalise(frames)
    assert torch.allclose(clip[0, 0, 0, 0], torch.tensor((1 - 0.48145466) / 0.26862954))


@pytest.mark.parametrize(("key", "side"), [("densenet", 64), ("vgg", 97), ("swin", 150), ("vit", 64)])
def test_the_crop_is_timms_own_evaluation_transform(key, side):
    from PIL import Image
    from timm.data import create_transform

    frame = np.random.default_rng(2).integers(0, 256, (side, side), np.uint8)
    model = build_baseline(key, reduced=True, crop=True)
    spec = model.spec
    theirs = create_transform(
        (3, spec.size, spec.size), interpolation=spec.interpolation, mean=spec.mean, std=spec.std,
        crop_pct=spec.crop_pct,
    )  # fmt: skip
    expected = theirs(Image.fromarray(frame).convert("RGB"))
    assert (model.normalise(frame[None])[0] - expected).abs().max() < 1.5 / 255 / min(spec.std)  # one grey level


def test_the_border_of_a_square_frame_is_kept_unless_the_crop_is_asked_for():
    frame = np.zeros((1, SIDE, SIDE), np.uint8)
    frame[:, 0] = 255

    def sees_border(**options) -> bool:
        image = build_baseline("densenet", reduced=True, **options).normalise(frame)
        return float(image.max() - image.min()) > 4

    assert sees_border()
    assert not sees_border(crop=True)
    assert not sees_border(as_released=True)
    assert sees_border(as_released=True, crop=False)


@pytest.mark.parametrize(
    "frames", [np.zeros((1, 8, 9), np.uint8), np.zeros((1, 8, 8)), np.zeros((8, 8), np.uint8)]
)
def test_frames_that_are_not_square_bytes_are_refused(frames):
    with pytest.raises(ValueError, match="uint8 \\[N, S, S\\] is needed"):
        build_baseline("vit", reduced=True).normalise(frames)


def test_images_of_another_size_are_refused_not_interpolated():
    with pytest.raises(ValueError, match="64, 64\\] is needed"):
        build_baseline("densenet", reduced=True)(torch.zeros(1, 3, 32, 32))


def test_unknown_names_and_contradicting_options_are_refused():
    with pytest.raises(OptionError, match="unknown baseline 'resnet'; known: densenet"):
        build_baseline("resnet")
    with pytest.raises(OptionError, match="unknown strategy 'half'; known: linear, full, lora"):
        build_baseline("vit", strategy="half")  # type: ignore[arg-type]
    for options in ({"reduced": True}, {"pretrained": False}):
        with pytest.raises(OptionError, match="choose one"):
            build_baseline("vit", weights="file.safetensors", **options)


def test_without_stored_weights_or_connection_it_says_what_to_fetch(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        WeightsError, match=r"fetch model\.safetensors of timm/efficientnet_b0\.ra_in1k .* weights, or"
    ):
        build_baseline("efficientnet")


@pytest.fixture(scope="module")
def published() -> dict[str, torch.Tensor]:
    """Tensors as in the published file of EfficientNet-B0: with its classifier, here of random values."""
    import timm

    torch.manual_seed(4)
    return timm.create_model("efficientnet_b0", pretrained=False).state_dict()


@pytest.mark.parametrize("name", ["model.safetensors", "model.pth"])
def test_a_local_file_fills_the_whole_backbone(published, tmp_path, name):
    file = tmp_path / name
    save_file(published, file) if name.endswith("safetensors") else torch.save(published, file)
    own = build_baseline("efficientnet", weights=file).backbone.state_dict()
    assert all(torch.equal(tensor, published[key]) for key, tensor in own.items())
    assert set(published) - set(own) == {"classifier.weight", "classifier.bias"}


def test_weights_that_do_not_fill_the_backbone_are_refused_by_name(published, tmp_path):
    first = "blocks.0.0.conv_dw.weight"
    wrong = [
        ({name: tensor for name, tensor in published.items() if name != first}, f"'{first}' is missing"),
        ({**published, "extra": torch.zeros(1)}, "'extra' is not part of it"),
        ({**published, first: torch.zeros(1, 3)}, f"'{first}' has shape \\(1, 3\\)"),
        ({**published, first: published[first] * float("nan")}, f"'{first}' holds values that are not finite"),
        ({**published, first: "text"}, f"'{first}' is a str"),
        ({**published, first: nn.Identity()}, "Python objects besides tensors"),
    ]
    file = tmp_path / "model.pth"
    for state, sentence in wrong:
        torch.save(state, file)
        with pytest.raises(WeightsError, match=sentence):
            build_baseline("efficientnet", weights=file)
    with pytest.raises(WeightsError, match=r"no such file; weights of EfficientNet-B0 are efficientnet_b0\.ra"):
        build_baseline("efficientnet", weights=tmp_path / "none.pth")


def test_position_embeddings_of_another_image_size_are_refused_not_stretched(tmp_path):
    import timm

    other = timm.create_model("vit_small_patch16_224", pretrained=False, num_classes=0, img_size=160).state_dict()
    save_file(other, tmp_path / "model.safetensors")
    with pytest.raises(WeightsError, match=r"'pos_embed' has shape \(1, 101, 384\), \(1, 197, 384\) is needed"):
        build_baseline("vit_small", weights=tmp_path / "model.safetensors")


@pytest.mark.full_size
def test_trainable_parameters_are_the_papers_and_every_difference_to_the_released_code_has_a_reason():
    rows = {row["key"]: row for row in parameter_counts()}
    papers = [row["paper"] for row in rows.values()]
    assert papers == ["7.0", "4.0", "134", "1.7", "2.4", "2.4", "2.4", "4.0"]
    assert rows["fetalclip_seg"]["agrees"] is True
    assert {key: row["ours"] for key, row in rows.items()} == {
        "densenet": 6_953_856 + 1025,
        "efficientnet": 4_007_548 + 1281,
        "vgg": 134_260_544 + 4097,
        "swin": 1_732_608 + 1537,
        "deit": 2_359_296 + 1025,
        "vit": 2_359_296 + 1025,
        "fetalclip_cls": 2_359_296 + 769,
        "fetalclip_seg": 2_359_296 + 1_591_941,
    }
    released = {key: row["released"] for key, row in rows.items()}
    assert released["swin"] == 1_734_528 + 1537
    assert released["fetalclip_cls"] == 1_966_080 + 769  # adapters on out_proj never learn there
    assert released["fetalclip_seg"] == 1_591_941  # the decoder alone
    assert rows["fetalclip_seg"]["released_marked"] == 3_951_237
    for row in rows.values():
        assert bool(row["reason"]) == (row["ours"] != row["released"])
    assert "the released code marks" in rows["fetalclip_seg"]["reason"]
    assert rows["fetalclip_seg"]["agrees"] is True
