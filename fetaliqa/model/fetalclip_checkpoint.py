"""Reading of FetalCLIP's published checkpoint, treated as untrusted input.

Only tensors and plain values are unpickled (``torch.load(weights_only=True)``). The names, shapes, types and
values of all 446 tensors are checked first: FetalCLIP is an OpenCLIP model with a text context of 117. A
checkpoint of plain ViT-L-14 (context 77), or of another image size, is rejected, never interpolated.
"""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from fetaliqa.errors import WeightsError
from fetaliqa.model.architecture import TextConfig, VisionConfig
from fetaliqa.model.image_encoder import check_state, tower_shapes, transformer_shapes

VISUAL_PREFIX = "visual."
WRAPPER_PREFIX = "module."  # left by distributed training


def text_shapes(text: TextConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the text side of a checkpoint."""
    return {
        "positional_embedding": (text.context_length, text.width),
        "text_projection": (text.width, text.embed_dim),
        "logit_scale": (),
        "token_embedding.weight": (text.vocab_size, text.width),
        "ln_final.weight": (text.width,),
        "ln_final.bias": (text.width,),
        **transformer_shapes(text.layers, text.width, text.mlp_width),
    }


def checkpoint_shapes(vision: VisionConfig, text: TextConfig) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a full checkpoint (446 for FetalCLIP)."""
    return {**tower_shapes(vision, VISUAL_PREFIX), **text_shapes(text)}


def read_tensors(path: Path) -> dict[str, Any]:
    """The named values of a ``.pt`` or ``.safetensors`` file, unwrapped but unchecked.

    Raises:
        WeightsError: when the file is missing, damaged, or holds more than tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise WeightsError(f"{path}: no such weights file; see `fetaliqa weights download` or `import FILE`")
    content = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    if not isinstance(content, Mapping):
        raise WeightsError(f"{path}: holds a {type(content).__name__}; named tensors are needed")
    wrapped = content.get("state_dict")
    if isinstance(wrapped, Mapping):
        content = wrapped
    names = [str(name) for name in content]
    if names and all(name.startswith(WRAPPER_PREFIX) for name in names):
        return {str(name).removeprefix(WRAPPER_PREFIX): value for name, value in content.items()}
    return {str(name): value for name, value in content.items()}


def read_checkpoint(
    path: Path, vision: VisionConfig, text: TextConfig
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """Read and check a full checkpoint.

    Args:
        path: flat OpenCLIP tensors, or wrapped in ``state_dict`` with or without ``module.``.
        vision: the image encoder expected.
        text: the text encoder expected.

    Returns:
        Tensors of the image encoder (without the ``visual.`` prefix), and all others.

    Raises:
        WeightsError: when the file is damaged or unsafe, or naming the first wrong tensor.
    """
    state = read_tensors(path)
    positions, expected = state.get("positional_embedding"), (text.context_length, text.width)
    if isinstance(positions, torch.Tensor) and tuple(positions.shape) != expected:
        raise WeightsError(
            f"{path}: 'positional_embedding' has shape {tuple(positions.shape)}; {expected} is needed "
            f"(FetalCLIP's text context is {text.context_length}), so this is another CLIP model"
        )
    check_state(state, checkpoint_shapes(vision, text), str(path))
    visual = {
        name.removeprefix(VISUAL_PREFIX): tensor
        for name, tensor in state.items()
        if name.startswith(VISUAL_PREFIX)
    }
    text_side = {name: tensor for name, tensor in state.items() if not name.startswith(VISUAL_PREFIX)}
    return visual, text_side


def read_visual(path: Path, vision: VisionConfig, text: TextConfig) -> dict[str, torch.Tensor]:
    """The image encoder from an imported ``.safetensors`` file or from a full checkpoint.

    Raises:
        WeightsError: when the file is damaged or unsafe, or naming the first wrong tensor.
    """
    path = Path(path)
    if path.suffix != ".safetensors":
        return read_checkpoint(path, vision, text)[0]
    state = read_tensors(path)
    if any(name.startswith(VISUAL_PREFIX) for name in state):
        return read_checkpoint(path, vision, text)[0]
    check_state(state, tower_shapes(vision), str(path))
    return state


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as problem:
        raise WeightsError(f"{path}: not a readable safetensors file ({problem})") from None


def _read_pickle(path: Path) -> Any:
    # memory-mapped, as it has 1.7 GB; files of torch before 1.6 are not zip archives
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as problem:
        raise WeightsError(
            f"{path}: not loaded, because it holds Python objects besides tensors, which could run code when read "
            f"({_first_sentence(problem)}); ask its owner to save only the tensors"
        ) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as problem:
        raise WeightsError(
            f"{path}: damaged or not a PyTorch checkpoint ({_first_sentence(problem)}); download it again"
        ) from None


def _first_sentence(problem: Exception) -> str:
    """The part of torch's long message that names the cause."""
    text = " ".join(str(problem).split())
    marker = "Unsupported global: GLOBAL "
    if marker in text:
        return f"it names {text.split(marker, 1)[1].split(' ', 1)[0]}"
    return text.split(". ", 1)[0][:160] or type(problem).__name__
