"""Base classes of the models: an encoder, with or without adapters, and a head."""

from __future__ import annotations

import torch
from torch import nn

from fetaliqa.model import lora as adapters
from fetaliqa.model.architecture import Architecture
from fetaliqa.model.encoder_kinds import build_encoder, encoder_state
from fetaliqa.model.lora import LoraSettings


class EncoderModel(nn.Module):
    """An image encoder (``visual``) with a head that subclasses add.

    Attributes:
        architecture: sizes of encoder and head.
        lora: settings of the adapters in the encoder; None when there are none (or they are merged).
        base_sha256: content hash of the encoder's weights before any training, when they were loaded.
    """

    task: str
    head_name: str

    def __init__(self, architecture: Architecture, visual: nn.Module) -> None:
        super().__init__()
        self.architecture = architecture
        self.visual = visual
        self.lora: LoraSettings | None = None
        self.base_sha256: str | None = None

    @property
    def head_module(self) -> nn.Module:
        """The part that is not the encoder."""
        return getattr(self, self.head_name)

    def add_adapters(self, settings: LoraSettings | None = None) -> None:
        """Freeze the encoder and add new LoRA adapters to it; the head stays trainable.

        Raises:
            WeightsError: when there are adapters already.
            OptionError: when the encoder is no transformer.
        """
        self.architecture.transformer  # noqa: B018  raises for other encoders
        settings = settings or LoraSettings()
        adapters.inject(self.visual, settings)
        self.lora = settings

    def merged(self) -> EncoderModel:
        """A copy for inference, in eval mode, with the adapters folded into the encoder's weights."""
        base = encoder_state(self.architecture.vision, self.visual)
        state = base
        if self.lora is not None:
            adapter = adapters.adapter_state(self.visual)
            state = adapters.merged_state(base, self.architecture.transformer, self.lora, adapter)
        state = {name: tensor.clone() if tensor is base[name] else tensor for name, tensor in state.items()}
        copy = type(self)(self.architecture, build_encoder(self.architecture.vision, state=state))
        copy.head_module.load_state_dict(self.head_module.state_dict())
        copy.requires_grad_(False)
        return copy.to(next(self.parameters()).device).eval()

    def _checked(self, images: torch.Tensor) -> torch.Tensor:
        side = self.architecture.vision.image_size
        if images.ndim != 4 or tuple(images.shape[1:]) != (3, side, side):
            # a transformer would need interpolated position embeddings for another size
            raise ValueError(f"images of shape {tuple(images.shape)}; [N, 3, {side}, {side}] is needed")
        return images


class SegmentationModel(EncoderModel):
    """A segmentation model: logits float [N, 1, S, S] of images [N, 3, S, S]."""

    def outline_and_maps(self, images: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The model's logits, and the encoder's feature maps, the deepest one last."""
        raise NotImplementedError

    @property
    def outline_layer(self) -> nn.Conv2d:
        """The last layer of the outline; its bias sets the prior probability of foreground."""
        raise NotImplementedError


def trainable_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The trainable parameters."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def trainable_count(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(parameter.numel() for parameter in trainable_parameters(model))
