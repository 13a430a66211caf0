"""The decoder as inference computes it: the same answers, whatever the batch."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fetaliqa.model import fast_decoder
from fetaliqa.model.decoder import UnetrDecoder
from fetaliqa.model.fast_decoder import FastDecoder


def trained(width: int, filters: int) -> UnetrDecoder:
    """Batch norms and biases that do something."""
    decoder = UnetrDecoder(width, filters)
    with torch.no_grad():
        for module in decoder.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.normal_(std=0.1)
                module.running_var.uniform_(0.5, 1.5)
                module.weight.uniform_(0.5, 2.0)
                module.bias.normal_(std=0.3)
            elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight)  # or the signal dies out on its way
                module.bias.normal_(std=0.3)
    return decoder.eval()


def inputs(count: int, side: int, grid: int, width: int) -> tuple[torch.Tensor, list[torch.Tensor]]:
    return torch.randn(count, 3, side, side), [torch.randn(count, width, grid, grid) for _ in range(4)]


@pytest.mark.parametrize(("width", "filters", "side", "grid"), [(32, 4, 32, 4), (96, 8, 64, 4), (48, 5, 112, 8)])
def test_it_answers_as_the_plain_decoder(width: int, filters: int, side: int, grid: int) -> None:
    decoder = trained(width, filters)
    images, maps = inputs(3, side, grid, width)
    with torch.inference_mode():
        plain = decoder(images, maps)
        fast = FastDecoder(decoder)(images, maps)
    assert fast.shape == plain.shape == (3, 1, side, side)
    assert plain.std() > 0.01
    assert torch.allclose(plain, fast, atol=1e-4 * float(plain.abs().max()))


def test_it_answers_the_same_frame_by_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    fast = FastDecoder(trained(32, 4))
    images, maps = inputs(5, 32, 4, 32)
    with torch.inference_mode():
        at_once = fast(images, maps)
        monkeypatch.setattr(fast_decoder, "AT_ONCE_BYTES", 2 * 4 * 32 * 32 * 4)
        by_twos = fast(images, maps)
    assert fast._at_once(images) == 2
    assert torch.allclose(at_once, by_twos, atol=1e-5 * float(at_once.abs().max()))


def test_it_is_of_no_use_for_training() -> None:
    assert not any(parameter.requires_grad for parameter in FastDecoder(trained(32, 4)).parameters())
