from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from fetaliqa.errors import BundleError, WeightsError
from fetaliqa.file_provenance import file_sha256
from fetaliqa.model import (
    BaseReference,
    Bundle,
    Threshold,
    build_classification,
    build_segmentation,
    load_architecture,
    save_bundle,
    trainable_count,
)
from fetaliqa.model import lora as adapters
from fetaliqa.model.bundle_verification import verify_bundle
from fetaliqa.model.fetalclip_weights import WeightsRecord
from fetaliqa.model.image_encoder import build_tower


@pytest.fixture
def bundle(tiny_model, card_for, tmp_path) -> Bundle:
    return save_bundle(tiny_model, card_for(tiny_model), tmp_path / "bundle")


def _edit_card(bundle: Bundle, change: Callable[[dict[str, Any]], Any]) -> None:
    file = bundle.directory / "card.json"
    card = json.loads(file.read_text())
    change(card)
    file.write_text(json.dumps(card))


def _edit_tensors(bundle: Bundle, name: str, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    """Change a tensor file and put its new hash into the card, as a careless tool would."""
    state = load_file(bundle.directory / name)
    change(state)
    save_file(state, bundle.directory / name)
    _edit_card(bundle, lambda card: card["files"].update({name: file_sha256(bundle.directory / name)}))


def test_saved_bundle_gives_the_same_logits_merged_and_not(bundle, tiny_model):
    images = torch.randn(2, 3, 32, 32)
    expected = tiny_model(images)
    merged, unmerged = bundle.load_model(), bundle.load_model(merge=False)
    assert (merged(images) - expected).abs().max() < 1e-5
    assert torch.equal(unmerged(images), expected)
    assert not merged.training
    assert trainable_count(merged) == 0
    assert trainable_count(unmerged) == trainable_count(tiny_model)


def test_classification_bundle_gives_the_same_logits(tiny, card_for, tmp_path):
    model = build_classification(tiny, random_init=True).eval()
    bundle = save_bundle(model, card_for(model), tmp_path / "bundle")
    images = torch.randn(2, 3, 32, 32)
    assert bundle.card.architecture.decoder is None
    assert (bundle.load_model()(images) - model(images)).abs().max() < 1e-5


def test_model_without_adapters_can_be_saved(tiny, card_for, tmp_path):
    model = build_segmentation(tiny, random_init=True, encoder="full").eval()
    bundle = save_bundle(model, card_for(model), tmp_path / "bundle")
    assert set(bundle.card.files) == {"base.safetensors", "head.safetensors"}
    images = torch.randn(1, 3, 32, 32)
    assert (bundle.load_model()(images) - model(images)).abs().max() < 1e-5


def test_bundle_continues_training_where_it_stopped(bundle):
    model = bundle.load_model(merge=False).train()
    before = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    model(torch.randn(2, 3, 32, 32)).square().sum().backward()
    torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1).step()
    assert any(not torch.equal(p, before[name]) for name, p in model.named_parameters() if name in before)


def test_card_survives_the_round_trip(bundle, tiny_model, card_for):
    card = Bundle.open(bundle.directory).card
    sent = card_for(tiny_model)
    for field in ("name", "version", "task", "architecture", "lora", "anatomy", "training_data", "metrics"):
        assert getattr(card, field) == getattr(sent, field)
    assert card.threshold.min_foreground_pixels(224) == 502
    assert (card.threshold.frame, Threshold(frame_probability=0.9).frame) == (card.threshold.probability, 0.9)
    assert card.created.startswith("20")
    assert card.base.sha256 != "0" * 64


def test_fingerprint_follows_the_tensors(bundle, tiny_model, card_for, tmp_path):
    with torch.no_grad():
        next(tiny_model.decoder.parameters()).add_(1.0)
    other = save_bundle(tiny_model, card_for(tiny_model), tmp_path / "other")
    assert other.fingerprint != bundle.fingerprint
    assert Bundle.open(bundle.directory).fingerprint == bundle.fingerprint


def test_a_bundle_is_never_overwritten(bundle, tiny_model, card_for):
    with pytest.raises(BundleError, match="never overwritten"):
        save_bundle(tiny_model, card_for(tiny_model), bundle.directory)


def test_a_diverged_model_is_not_saved_and_leaves_nothing(tiny_model, card_for, tmp_path):
    with torch.no_grad():
        next(tiny_model.decoder.parameters()).fill_(float("nan"))
    with pytest.raises(BundleError, match="diverged"):
        save_bundle(tiny_model, card_for(tiny_model), tmp_path / "bundle")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["adapter.safetensors", "head.safetensors", "base.safetensors"])
def test_a_changed_file_is_refused(bundle, name):
    file = bundle.directory / name
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(BundleError, match=f"{name} is damaged or was changed"):
        Bundle.open(bundle.directory).load_model()


def test_a_missing_file_is_named(bundle):
    (bundle.directory / "head.safetensors").unlink()
    with pytest.raises(BundleError, match=r"head\.safetensors is missing"):
        Bundle.open(bundle.directory)


@pytest.mark.parametrize("name", ["adapter.safetensors", "head.safetensors", "base.safetensors"])
@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_tensors_missing_extra_or_of_another_shape_are_refused(bundle, name, change):
    def edit(state):
        first = next(key for key in sorted(state) if state[key].ndim > 1)
        if change == "missing":
            del state[first]
        elif change == "extra":
            state["surplus"] = torch.zeros(1)
        else:
            state[first] = torch.zeros(1, 1)

    _edit_tensors(bundle, name, edit)
    if name == "base.safetensors":
        sentence = "hash"  # the encoder's content hash stands in the card, and is compared first
    else:
        sentence = {"missing": "is missing", "extra": "'surplus' is not part", "shape": r"shape \(1, 1\)"}[change]
    with pytest.raises(BundleError, match=sentence):
        Bundle.open(bundle.directory).load_model()


CARD_EDITS = [
    (lambda card: card.update(schema=2), "card schema 2; this version of FetalIQA reads schema 1"),
    (lambda card: card.pop("schema"), "card schema None"),
    (lambda card: card.pop("licence"), "'licence' is missing"),
    (lambda card: card.update(surprise=1), "'surprise' is not known"),
    (lambda card: card.update(task="detection"), "task is 'detection'"),
    (lambda card: card.update(anatomy="kidney"), "anatomy 'kidney'"),
    (lambda card: card.update(name="../up"), "not a usable name"),
    (lambda card: card["lora"].update(rank="8"), "rank is '8'; int is needed"),
    (lambda card: card["lora"].update(rank=True), "rank is True; int is needed"),
    (lambda card: card["base"].update(sha256="abc"), "64 hex digits"),
    (lambda card: card["base"].update(kind="url"), "kind is 'url'"),
    (lambda card: card["files"].update({"../../x": "0" * 64}), "are needed"),
    (lambda card: card["files"].pop("head.safetensors"), "are needed"),
    (lambda card: card["threshold"].update(probability=1.5), "probability is 1.5"),
    (lambda card: card["preprocessing"].update(interpolation="nearest"), "interpolation is 'nearest'"),
    (lambda card: card["preprocessing"].update(mean=[0.5, 0.5, 0.5]), r"mean \[0.5, 0.5, 0.5\]"),
    (lambda card: card["architecture"]["decoder"].update(taps=[1, 2, 3]), "3 entries; 4 are needed"),
    (lambda card: card["architecture"]["decoder"].update(taps=[1, 2, 3, 9]), "beyond the encoder's 4 blocks"),
    (lambda card: card["architecture"].update(decoder=None), "has no decoder"),
    (lambda card: card["architecture"]["vision"].update(width=10**9), "width is 1000000000"),
]


@pytest.mark.parametrize(("edit", "sentence"), CARD_EDITS, ids=[sentence for _, sentence in CARD_EDITS])
def test_a_wrong_card_is_refused_with_the_field_named(bundle, edit, sentence):
    _edit_card(bundle, edit)
    with pytest.raises(BundleError, match=sentence):
        Bundle.open(bundle.directory)


@pytest.mark.parametrize("content", ["", "[1, 2]", "{", "null"])
def test_a_card_that_is_not_an_object_is_refused(bundle, content):
    (bundle.directory / "card.json").write_text(content)
    with pytest.raises(BundleError, match=r"card\.json"):
        Bundle.open(bundle.directory)


def test_a_folder_or_file_without_a_card_is_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "file", tmp_path / "none"):
        with pytest.raises(BundleError, match=r"no card\.json"):
            Bundle.open(path)


def _fetalclip_bundle(model, card_for, folder: Path, monkeypatch) -> Bundle:
    """A bundle that refers to its base; the tiny encoder stands in for FetalCLIP's."""
    tiny_as_fetalclip = replace(load_architecture("fetalclip"), vision=model.architecture.vision, decoder=None)
    monkeypatch.setattr("fetaliqa.model.bundle_tensors.load_architecture", lambda _: tiny_as_fetalclip)
    return save_bundle(model, card_for(model, "fetalclip"), folder)


def test_bundle_on_fetalclip_holds_no_base_and_refuses_other_weights(tiny, card_for, tmp_path, monkeypatch):
    base = adapters.base_state(build_segmentation(tiny, random_init=True).visual)
    model = build_segmentation(tiny, weights=base).eval()
    bundle = _fetalclip_bundle(model, card_for, tmp_path / "bundle", monkeypatch)
    assert sorted(file.name for file in bundle.directory.iterdir()) == [
        "adapter.safetensors",
        "card.json",
        "head.safetensors",
    ]
    images = torch.randn(1, 3, 32, 32)
    save_file({name: tensor.contiguous() for name, tensor in base.items()}, tmp_path / "visual.safetensors")
    assert (bundle.load_model(tmp_path / "visual.safetensors")(images) - model(images)).abs().max() < 1e-5

    other = {name: tensor.clone() for name, tensor in base.items()}
    other["class_embedding"][0] += 1e-6
    save_file(other, tmp_path / "other.safetensors")
    with pytest.raises(BundleError) as caught:
        bundle.load_model(tmp_path / "other.safetensors")
    sentence = str(caught.value)
    assert bundle.card.base.sha256[:12] in sentence
    assert "other.safetensors has " in sentence


def test_a_server_learns_without_loading_that_its_weights_are_not_here(tiny, card_for, tmp_path, monkeypatch):
    monkeypatch.setenv("FETALIQA_HOME", str(tmp_path / "home"))
    base = build_tower(tiny.vision, random_init=True).state_dict()
    model = build_segmentation(tiny, weights=base)
    bundle = _fetalclip_bundle(model, card_for, tmp_path / "bundle", monkeypatch)
    with pytest.raises(WeightsError, match="none are imported on this machine"):
        bundle.check_base()
    record = WeightsRecord("FetalCLIP_weights.pt", "0" * 64, "1" * 64, "2" * 64, 446, "2026-01-01T00:00:00+00:00")
    with monkeypatch.context() as known:
        known.setattr("fetaliqa.model.fetalclip_weights.read_record", lambda: record)
        with pytest.raises(BundleError, match="111111111111"):
            bundle.check_base()
        fitting = replace(record, visual_sha256=bundle.card.base.sha256)
        known.setattr("fetaliqa.model.fetalclip_weights.read_record", lambda: fitting)
        bundle.check_base()
    with pytest.raises(WeightsError, match="no FetalCLIP weights"):
        bundle.load_model()  # the record alone is not the weights


def test_bundle_on_fetalclip_needs_an_encoder_that_was_loaded_and_left_alone(
    tiny, card_for, tmp_path, monkeypatch
):
    base = adapters.base_state(build_segmentation(tiny, random_init=True).visual)
    changed = build_segmentation(tiny, weights={name: t.clone() for name, t in base.items()}, encoder="full")
    with torch.no_grad():
        changed.visual.class_embedding.add_(1.0)
    with pytest.raises(BundleError, match="changed the encoder's own weights"):
        _fetalclip_bundle(changed, card_for, tmp_path / "a", monkeypatch)
    made_up = build_segmentation(tiny, random_init=True)
    with pytest.raises(BundleError, match="not loaded from FetalCLIP"):
        _fetalclip_bundle(made_up, card_for, tmp_path / "b", monkeypatch)


def test_a_small_encoder_cannot_pass_as_fetalclip(tiny_model, card_for, tmp_path):
    with pytest.raises(BundleError, match="not FetalCLIP's encoder"):
        save_bundle(tiny_model, card_for(tiny_model, "fetalclip"), tmp_path / "bundle")


def test_verify_reports_a_sound_bundle_and_refuses_a_broken_one(bundle):
    result = verify_bundle(bundle)
    assert result.files == ("adapter.safetensors", "base.safetensors", "head.safetensors")
    assert result.parameters["adapter"] == sum(
        t.numel() for t in load_file(bundle.directory / result.files[0]).values()
    )
    assert result.logit_range[0] <= result.logit_range[1]

    def explode(state):
        state["head.0.1.4.bias"].fill_(10.0)  # the last batch norm: ten into every channel
        state["head.1.weight"].fill_(3e38)

    _edit_tensors(bundle, "head.safetensors", explode)
    with pytest.raises(BundleError, match="not finite"):
        verify_bundle(Bundle.open(bundle.directory))


def test_copied_bundle_is_the_same_bundle(bundle, tmp_path):
    shutil.copytree(bundle.directory, tmp_path / "copy")
    assert Bundle.open(tmp_path / "copy").fingerprint == bundle.fingerprint


def test_demo_architecture_stays_small(card_for, tmp_path):
    model = build_segmentation("demo", random_init=True)
    card = card_for(model, architecture=model.architecture, base=BaseReference("included", "0" * 64))
    bundle = save_bundle(model, card, tmp_path / "demo")
    assert sum(file.stat().st_size for file in bundle.directory.iterdir()) <= 10_000_000
    with torch.inference_mode():
        assert bundle.load_model()(torch.zeros(1, 3, 224, 224)).shape == (1, 1, 224, 224)
