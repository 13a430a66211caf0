"""Loads the pretrained weights of a baseline from timm's hub or a local file, and checks completeness.

timm loads silently when tensors are missing (as it must once the classifier is dropped), so a backbone could stay
partly random. Here every tensor must be present and of the right shape.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from fetaliqa.errors import WeightsError
from fetaliqa.lab.baselines.baseline_networks import Baseline
from fetaliqa.model.fetalclip_checkpoint import read_tensors

# names under which timm keeps a family's renaming of other projects' checkpoints
FILTERS = ("checkpoint_filter_fn", "_filter_fn", "_filter_torchvision_pretrained")


def load_pretrained(backbone: nn.Module, baseline: Baseline, weights: str | Path | None) -> None:
    """Fill a backbone from a file, or from timm's hub when ``weights`` is None.

    Raises:
        WeightsError: when the file or the hub cannot be read, or a tensor is missing, extra or of another shape.
    """
    if weights is None:
        state, what = _from_hub(backbone, baseline), baseline.timm_id
    else:
        path = Path(weights)
        if not path.is_file():
            raise WeightsError(
                f"{path}: no such file; weights of {baseline.label} are {baseline.timm_id}'s "
                ".safetensors or PyTorch file"
            )
        state, what = read_tensors(path), str(path)
    _fill(backbone, baseline, state, what)


def _from_hub(backbone: nn.Module, baseline: Baseline) -> dict[str, Any]:
    from timm.models import load_state_dict_from_hf

    repository = str(backbone.pretrained_cfg["hf_hub_id"])  # type: ignore[index]
    try:
        return dict(load_state_dict_from_hf(repository))
    except (OSError, RuntimeError, ValueError) as problem:
        raise WeightsError(
            f"{baseline.label}: the weights {baseline.timm_id} are neither stored here nor could be downloaded "
            f"({type(problem).__name__}); fetch model.safetensors of {repository} where there is a connection and "
            "pass it as weights, or pass pretrained=False for random values"
        ) from None


def _fill(backbone: nn.Module, baseline: Baseline, state: Mapping[str, Any], what: str) -> None:
    inner = state.get("model")
    state = inner if isinstance(inner, Mapping) else state  # DeiT's and Swin's checkpoints are nested
    for name, tensor in state.items():
        if not isinstance(tensor, torch.Tensor):
            raise WeightsError(f"{what}: {name!r} is a {type(tensor).__name__}; named tensors are needed")
    own = backbone.state_dict()
    # before timm's renaming, which silently resizes position embeddings of another image size
    _check_shapes(state, own, baseline, what)
    head = str(backbone.pretrained_cfg.get("classifier") or "head")  # type: ignore[union-attr, operator]
    renamed = _renamed(backbone, state)
    renamed = {name: tensor for name, tensor in renamed.items() if not name.startswith(f"{head}.")}
    _check_shapes(renamed, own, baseline, what)
    mismatch = backbone.load_state_dict(renamed, strict=False)
    for kind, names in (("is missing", mismatch.missing_keys), ("is not part of it", mismatch.unexpected_keys)):
        if names:
            raise WeightsError(f"{what}: not the weights of {baseline.timm_id}: {names[0]!r} {kind}")
    for name, tensor in renamed.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise WeightsError(f"{what}: {name!r} holds values that are not finite numbers")


def _renamed(backbone: nn.Module, state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    module = sys.modules[type(backbone).__module__]
    for name in FILTERS:
        rename = getattr(module, name, None)
        if rename is not None:
            return dict(rename(dict(state), backbone) if name == FILTERS[0] else rename(dict(state)))
    return dict(state)


def _check_shapes(
    state: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor], baseline: Baseline, what: str
) -> None:
    for name, tensor in state.items():
        if name in own and tensor.shape != own[name].shape:
            raise WeightsError(
                f"{what}: not the weights of {baseline.timm_id}: {name!r} has shape {tuple(tensor.shape)}, "
                f"{tuple(own[name].shape)} is needed"
            )
