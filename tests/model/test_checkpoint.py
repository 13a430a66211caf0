from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from fetaliqa.errors import WeightsError
from fetaliqa.model.architecture import TextConfig
from fetaliqa.model.fetalclip_checkpoint import checkpoint_shapes, read_checkpoint, read_visual
from fetaliqa.model.tensor_hashes import tensors_sha256

TEXT = TextConfig(117, 50, 16, 2, 2, 16, 4.0)


@pytest.fixture
def state(tiny) -> dict[str, torch.Tensor]:
    return {name: torch.randn(shape) for name, shape in checkpoint_shapes(tiny.vision, TEXT).items()}


def _saved(folder: Path, content: object, name: str = "weights.pt") -> Path:
    torch.save(content, folder / name)
    return folder / name


def _envelopes(state):
    module = {f"module.{name}": tensor for name, tensor in state.items()}
    return {
        "flat": state,
        "flat with module": module,
        "wrapped": {"epoch": 3, "name": "run", "state_dict": state},
        "wrapped with module": {"epoch": 3, "state_dict": module},
    }


@pytest.mark.parametrize("envelope", ["flat", "flat with module", "wrapped", "wrapped with module"])
def test_published_envelopes_all_give_the_same_tensors(tiny, state, tmp_path, envelope):
    file = _saved(tmp_path, _envelopes(state)[envelope])
    visual, text = read_checkpoint(file, tiny.vision, TEXT)
    assert len(visual) + len(text) == len(state)
    assert all(torch.equal(tensor, state[f"visual.{name}"]) for name, tensor in visual.items())
    assert torch.equal(text["positional_embedding"], state["positional_embedding"])


def test_older_file_format_and_safetensors_are_read_too(tiny, state, tmp_path):
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    save_file(state, tmp_path / "whole.safetensors")
    visual = {name.removeprefix("visual."): t for name, t in state.items() if name.startswith("visual.")}
    save_file(visual, tmp_path / "visual.safetensors")
    hashes = {
        tensors_sha256(read_visual(tmp_path / name, tiny.vision, TEXT))
        for name in ("old.pt", "whole.safetensors", "visual.safetensors")
    }
    assert hashes == {tensors_sha256(visual)}


def test_clips_text_context_of_77_is_refused_not_interpolated(tiny, state, tmp_path):
    state["positional_embedding"] = torch.randn(77, 16)
    with pytest.raises(WeightsError, match=r"shape \(77, 16\); \(117, 16\) is needed .* another CLIP model"):
        read_checkpoint(_saved(tmp_path, state), tiny.vision, TEXT)


def test_image_positions_of_another_size_are_refused_not_interpolated(tiny, state, tmp_path):
    state["visual.positional_embedding"] = torch.randn(65, 32)
    with pytest.raises(
        WeightsError, match=r"'visual.positional_embedding' has shape \(65, 32\); \(17, 32\) is needed"
    ):
        read_checkpoint(_saved(tmp_path, state), tiny.vision, TEXT)


def test_missing_extra_mistyped_and_infinite_tensors_are_named(tiny, state, tmp_path):
    key = "visual.transformer.resblocks.1.mlp.c_fc.weight"
    infinite = state[key].clone()
    infinite[3, 4] = float("nan")
    cases = [
        ({name: tensor for name, tensor in state.items() if name != key}, "c_fc.weight' of shape .* is missing"),
        ({**state, "logit_bias": torch.zeros(())}, "'logit_bias' is not part"),
        ({**state, key: state[key].half()}, "float16; torch.float32 is needed"),
        ({**state, key: infinite}, "c_fc.weight' holds values that are not finite"),
        ({**state, key: 3}, "is a int, not a tensor"),
        ({}, "is missing"),
        ([1, 2], "holds a list"),
    ]
    for content, sentence in cases:
        with pytest.raises(WeightsError, match=sentence):
            read_checkpoint(_saved(tmp_path, content), tiny.vision, TEXT)


def test_a_namespace_inside_is_refused_with_a_clear_sentence(tiny, state, tmp_path):
    file = _saved(tmp_path, {"state_dict": state, "args": argparse.Namespace(lr=1)})
    with pytest.raises(WeightsError, match=r"Python objects besides tensors.*argparse.Namespace") as caught:
        read_checkpoint(file, tiny.vision, TEXT)
    assert len(str(caught.value)) < 400


class _Payload:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def test_code_in_a_checkpoint_is_never_run(tiny, state, tmp_path):
    marker = tmp_path / "was-run"
    file = _saved(tmp_path, {"state_dict": state, "extra": _Payload(marker)})
    with pytest.raises(WeightsError, match="could run code"):
        read_checkpoint(file, tiny.vision, TEXT)
    assert not marker.exists()


def test_truncated_empty_and_foreign_files_are_refused(tiny, state, tmp_path):
    whole = _saved(tmp_path, state).read_bytes()
    for name, content in {
        "cut.pt": whole[: len(whole) // 2],
        "empty.pt": b"",
        "text.pt": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "cut.safetensors": b"\x10\x00\x00\x00\x00\x00\x00\x00{}",
    }.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(WeightsError, match=name):
            read_visual(tmp_path / name, tiny.vision, TEXT)


def test_missing_file_says_how_to_get_it(tiny, tmp_path):
    with pytest.raises(WeightsError, match="fetaliqa weights download"):
        read_visual(tmp_path / "none.pt", tiny.vision, TEXT)
