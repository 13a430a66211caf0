"""Saves and loads the trained parameters and statistics of a model."""

from __future__ import annotations

from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import nn

from fetaliqa.atomic import atomic_path
from fetaliqa.errors import FetalIQAError


def save_trained(model: nn.Module, file: Path) -> None:
    """Write trainable values and statistics; the rest is rebuilt from the same seed."""
    changed = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    changed |= {name for name, _ in model.named_buffers()}
    state = {name: value.cpu().contiguous() for name, value in model.state_dict().items() if name in changed}
    with atomic_path(file) as temporary:
        save_file(state, temporary)


def load_trained(model: nn.Module, file: Path) -> None:
    """Put saved values into a model that was built with the same seed.

    Raises:
        FetalIQAError: when the file holds something that is not part of the model.
    """
    mismatch = model.load_state_dict(load_file(file), strict=False)
    if mismatch.unexpected_keys:
        raise FetalIQAError(
            f"{file.name}: {mismatch.unexpected_keys[0]!r} is not part of this model; remove the file"
        )
