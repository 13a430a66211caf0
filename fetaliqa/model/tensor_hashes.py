"""Content hashes of tensors, and the format of hashes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

CHUNK_BYTES = 1 << 20
SHA256_PATTERN = re.compile(r"[0-9a-f]{64}")
SHORT = 12  # hex digits in messages


def tensors_sha256(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 (hex) of named tensors: names, types, shapes and values, independent of the file format.

    The same weights have the same hash whether read from a pickle, wrapped or flat, or from safetensors.
    """
    import torch

    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def short(sha256: str) -> str:
    """The first hex digits of a hash, for messages."""
    return sha256[:SHORT]
