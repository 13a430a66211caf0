"""The transformer image encoder: open_clip's VisionTransformer.

``block_type="custom"`` is used because open_clip's default block contains an ``nn.MultiheadAttention``, which
reads ``out_proj.weight`` without calling ``out_proj.forward``: a LoRA adapter there would have no effect. The
custom block has the same state-dict keys and calls plain linear layers.

The class is constructed directly, not by open_clip's model factory, to exclude the factory's silent behaviours
(random weights when none are given, interpolated position embeddings, QuickGELU).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from fetaliqa.errors import WeightsError
from fetaliqa.model.architecture import VisionConfig

INIT_STD = 0.02  # standard deviation of random patch and position embeddings (timm's vision transformers)


def tower_shapes(vision: VisionConfig, prefix: str = "") -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the encoder, in open_clip's naming.

    Args:
        vision: the encoder's size.
        prefix: prefix of each name (``"visual."`` in a full checkpoint).
    """
    width = vision.width
    shapes: dict[str, tuple[int, ...]] = {
        "class_embedding": (width,),
        "positional_embedding": (vision.tokens, width),
        "proj": (width, vision.embed_dim),
        "conv1.weight": (width, 3, vision.patch_size, vision.patch_size),
        "ln_pre.weight": (width,),
        "ln_pre.bias": (width,),
        "ln_post.weight": (width,),
        "ln_post.bias": (width,),
    }
    shapes.update(transformer_shapes(vision.layers, width, vision.mlp_width))
    return {prefix + name: shape for name, shape in shapes.items()}


def transformer_shapes(layers: int, width: int, mlp_width: int) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of a stack of residual attention blocks, in open_clip's naming."""
    block = {
        "ln_1.weight": (width,),
        "ln_1.bias": (width,),
        "attn.in_proj_weight": (3 * width, width),
        "attn.in_proj_bias": (3 * width,),
        "attn.out_proj.weight": (width, width),
        "attn.out_proj.bias": (width,),
        "ln_2.weight": (width,),
        "ln_2.bias": (width,),
        "mlp.c_fc.weight": (mlp_width, width),
        "mlp.c_fc.bias": (mlp_width,),
        "mlp.c_proj.weight": (width, mlp_width),
        "mlp.c_proj.bias": (width,),
    }
    return {
        f"transformer.resblocks.{layer}.{name}": shape for layer in range(layers) for name, shape in block.items()
    }


def check_state(
    state: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    what: str,
    *,
    dtype: torch.dtype = torch.float32,
) -> None:
    """Check that ``state`` holds exactly the tensors of ``shapes``, with the given type and finite values.

    Raises:
        WeightsError: naming the first missing, extra, mis-shaped, mis-typed or non-finite tensor.
    """
    for name, shape in shapes.items():
        tensor = state.get(name)
        if tensor is None:
            raise WeightsError(f"{what}: the tensor {name!r} of shape {shape} is missing")
        if not isinstance(tensor, torch.Tensor):
            raise WeightsError(f"{what}: {name!r} is a {type(tensor).__name__}, not a tensor")
        if tuple(tensor.shape) != shape:
            raise WeightsError(f"{what}: {name!r} has shape {tuple(tensor.shape)}; {shape} is needed")
        if tensor.dtype != dtype:
            raise WeightsError(f"{what}: {name!r} is {tensor.dtype}; {dtype} is needed")
    for name in state:
        if name not in shapes:
            raise WeightsError(f"{what}: the tensor {name!r} is not part of this model ({len(shapes)} tensors)")
    for name in shapes:
        # aminmax needs no temporary mask; both extremes are NaN if any value is
        if state[name].numel() and not bool(torch.isfinite(torch.stack(torch.aminmax(state[name]))).all()):
            raise WeightsError(f"{what}: {name!r} holds values that are not finite numbers")


def build_tower(
    vision: VisionConfig, *, state: Mapping[str, torch.Tensor] | None = None, random_init: bool = False
) -> nn.Module:
    """Build the image encoder with given or random weights.

    Args:
        vision: the encoder's size.
        state: all tensors of the encoder (names of ``tower_shapes``), float32. They become the encoder's
            parameters without a copy.
        random_init: build with random weights, for training from scratch and for tests.

    Returns:
        An open_clip ``VisionTransformer`` of float32 parameters on the CPU.

    Raises:
        WeightsError: when neither or both of ``state`` and ``random_init`` are given, or a tensor is wrong.
    """
    if state is None and not random_init:
        raise WeightsError("no weights were given for the image encoder; pass weights, or ask for random ones")
    if state is not None and random_init:
        raise WeightsError("weights and random initialisation were both asked for; choose one")
    if state is None:
        tower = empty_tower(vision).to_empty(device="cpu")
        _initialise(tower, vision.width, vision.layers)
        return tower
    check_state(state, tower_shapes(vision), "image encoder")
    tower = empty_tower(vision)
    tower.load_state_dict(dict(state), strict=True, assign=True)
    return tower


def empty_tower(vision: VisionConfig) -> nn.Module:
    """The encoder on the meta device, without values."""
    # imported here: open_clip takes seconds to import, and reading a bundle's card does not need it
    from open_clip.transformer import LayerNorm, VisionTransformer

    with torch.device("meta"):
        return VisionTransformer(
            image_size=vision.image_size,
            patch_size=vision.patch_size,
            width=vision.width,
            layers=vision.layers,
            heads=vision.heads,
            mlp_ratio=vision.mlp_ratio,
            output_dim=vision.embed_dim,
            act_layer=nn.GELU,  # not QuickGELU; checkpoints do not record it
            norm_layer=LayerNorm,
            block_type="custom",
        )


@torch.no_grad()
def _initialise(tower: nn.Module, width: int, layers: int) -> None:
    """CLIP's initialisation (arXiv 2103.00020, reference code), which open_clip omits for the image encoder.

    Standard deviations decrease with the width, and for layers that write to the residual stream also with the
    depth.
    """
    deviations = {
        "in_proj_weight": width**-0.5,
        "out_proj.weight": width**-0.5 * (2 * layers) ** -0.5,
        "c_proj.weight": width**-0.5 * (2 * layers) ** -0.5,
        "c_fc.weight": (2 * width) ** -0.5,
        "proj": width**-0.5,
        "conv1.weight": INIT_STD,
        "embedding": INIT_STD,
    }
    for name, parameter in tower.named_parameters():
        if name.endswith("bias"):
            parameter.zero_()
        elif ".ln_" in f".{name}":
            parameter.fill_(1.0)
        else:
            parameter.normal_(std=next(std for ending, std in deviations.items() if name.endswith(ending)))
