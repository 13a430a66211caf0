"""Windows around the fetus: where they lie, and that the decoder learns the same from them."""

from __future__ import annotations

import pytest
import torch

from fetaliqa.datasets.phantom.tissue import TISSUES
from fetaliqa.models import build_segmentation
from fetaliqa.training.frames import Batch
from fetaliqa.training.windows import JITTER, WINDOW, body_windows, windowed_objective

HEAD, FLUID = TISSUES.index("head"), TISSUES.index("fluid")


def _tissues(row: slice, column: slice, tissue: int) -> torch.Tensor:
    tissues = torch.zeros(1, 56, 56, dtype=torch.long)
    tissues[0, row, column] = tissue
    return tissues


@pytest.mark.parametrize(
    ("row", "column", "middle"),
    [
        (slice(20, 28), slice(32, 40), (6, 9)),
        (slice(0, 4), slice(50, 56), (4, 10)),
        (slice(0, 56), slice(0, 56), (7, 7)),
    ],
)
def test_a_window_is_centred_on_the_fetus_and_stays_in_the_frame(row, column, middle):
    tissues = _tissues(row, column, HEAD).expand(200, -1, -1)
    first = body_windows(tissues, 14, torch.Generator().manual_seed(0))
    assert int(first.min()) >= 0
    assert int(first.max()) <= 14 - WINDOW
    assert (first + WINDOW // 2 - torch.tensor(middle)).abs().max() <= JITTER
    in_a_corner = middle == (4, 10)  # no move leads away from it
    assert len(first.unique(dim=0)) == (1 if in_a_corner else (2 * JITTER + 1) ** 2)


def test_without_a_fetus_the_window_lies_in_the_middle_of_what_is_there():
    tissues = _tissues(slice(20, 36), slice(20, 36), FLUID)
    first = body_windows(tissues, 14, torch.Generator().manual_seed(0))
    assert (first + WINDOW // 2 - 7).abs().max() <= JITTER


def _batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 255, (2, 224, 224), dtype=torch.uint8, generator=generator)
    outlines = torch.zeros(2, 224, 224)
    outlines[:, 80:140, 90:150] = 1
    return Batch(images, outlines, _tissues(slice(20, 35), slice(22, 37), HEAD).expand(2, -1, -1))


def test_windows_reach_encoder_adapters_and_decoder():
    torch.manual_seed(0)
    model = build_segmentation("demo", random_init=True, encoder="lora").train()
    windowed_objective(0)(model, _batch(), 0.0).backward()
    without = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert without == []
