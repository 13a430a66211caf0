from __future__ import annotations

import pytest
import torch
from safetensors.torch import load_file, save_file

from fetaliqa.errors import WeightsError
from fetaliqa.file_provenance import file_sha256
from fetaliqa.model import fetalclip_weights
from fetaliqa.model.architecture import TextConfig
from fetaliqa.model.fetalclip_checkpoint import checkpoint_shapes
from fetaliqa.model.fetalclip_weights import import_checkpoint, load_visual, read_record
from fetaliqa.model.tensor_hashes import tensors_sha256

TEXT = TextConfig(117, 50, 16, 2, 2, 16, 4.0)


@pytest.fixture
def checkpoint(tiny, tmp_path, monkeypatch):
    """A checkpoint of a tiny model in the published layout, which here passes for FetalCLIP's."""
    monkeypatch.setenv("FETALIQA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(fetalclip_weights, "fetalclip_text", lambda: TEXT)
    monkeypatch.setattr(fetalclip_weights, "load_architecture", lambda _: tiny)
    state = {name: torch.randn(shape) for name, shape in checkpoint_shapes(tiny.vision, TEXT).items()}
    torch.save({"epoch": 1, "state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "weights.pt")
    return tmp_path / "weights.pt", state


def test_import_keeps_the_two_towers_apart_and_records_hashes(checkpoint, tmp_path):
    file, state = checkpoint
    record = import_checkpoint(file)
    folder = tmp_path / "home" / "weights"
    visual = load_file(folder / "fetalclip-visual.safetensors")
    text = load_file(folder / "fetalclip-text.safetensors")
    assert {f"visual.{name}" for name in visual} | set(text) == set(state)
    assert record == read_record()
    assert record.source_sha256 == file_sha256(file)
    assert record.visual_sha256 == tensors_sha256(visual)
    assert record.tensor_count == len(state)
    assert not record.source_is_known
    assert all(torch.equal(tensor, visual[name]) for name, tensor in load_visual()[0].items())


def test_no_imported_weights_is_a_sentence(checkpoint):
    assert read_record() is None
    with pytest.raises(WeightsError, match=r"no FetalCLIP weights.*download.*import"):
        load_visual()


def test_weights_changed_after_the_import_are_refused(checkpoint, tmp_path):
    import_checkpoint(checkpoint[0])
    file = tmp_path / "home" / "weights" / "fetalclip-visual.safetensors"
    state = load_file(file)
    state["proj"][0, 0] += 1
    save_file(state, file)
    with pytest.raises(WeightsError, match="changed since its import"):
        load_visual()


def test_a_wrong_checkpoint_leaves_the_imported_weights_alone(checkpoint, tmp_path):
    file, state = checkpoint
    import_checkpoint(file)
    before = read_record()
    torch.save({**state, "positional_embedding": torch.randn(77, 16)}, tmp_path / "clip.pt")
    with pytest.raises(WeightsError, match="another CLIP model"):
        import_checkpoint(tmp_path / "clip.pt")
    assert read_record() == before
    assert load_visual()[1] == before.visual_sha256


def test_the_hash_a_third_party_recorded_is_recognised(checkpoint):
    record = import_checkpoint(checkpoint[0], source_sha256=fetalclip_weights.KNOWN_SOURCE_SHA256)
    assert record.source_is_known


def test_a_damaged_record_is_a_sentence(checkpoint, tmp_path):
    import_checkpoint(checkpoint[0])
    (tmp_path / "home" / "weights" / "weights.json").write_text("{")
    with pytest.raises(WeightsError, match="import the weights again"):
        load_visual()
