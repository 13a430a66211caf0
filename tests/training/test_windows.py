"""Windows around the fetus: where they lie, and that the decoder learns the same from them."""

from __future__ import annotations

import pytest
import torch

from fetaliqa.datasets.phantom.tissue import TISSUES
from fetaliqa.models import build_segmentation
from fetaliqa.training.frames import Batch
from fetaliqa.training.windows import (
    JITTER,
    WINDOW,
    body_windows,
    cut,
    decode_windows,
    outline_windows,
    windowed_objective,
)

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


def _outline(row: slice, column: slice) -> torch.Tensor:
    outline = torch.zeros(1, 224, 224)
    outline[0, row, column] = 1
    return outline


@pytest.mark.parametrize(
    ("row", "column", "rows", "columns"),
    [
        (slice(80, 130), slice(100, 101), range(1, 6), range(0, 7)),  # cells 5 to 8, and cell 6
        (slice(0, 224), slice(220, 224), range(0, 7), range(6, 7)),  # longer than a window: it fills it
        (slice(16, 16), slice(16, 16), range(0, 7), range(0, 7)),  # no outline: anywhere
    ],
)
def test_an_outline_lies_in_its_window_wherever_that_can_be(row, column, rows, columns):
    steps = torch.linspace(0, 1, 21)
    places = torch.cartesian_prod(steps, steps)
    first = outline_windows(_outline(row, column).expand(len(places), -1, -1), places, WINDOW)
    assert first[:, 0].unique().tolist() == list(rows)
    assert first[:, 1].unique().tolist() == list(columns)
    if row != slice(0, 224):
        inside = cut(_outline(row, column).expand(len(places), -1, -1), first * 16, WINDOW * 16)
        assert (inside.sum(dim=(1, 2)) == _outline(row, column).sum()).all()


def test_the_whole_outline_decides_where_a_long_ones_window_may_lie():
    first = outline_windows(_outline(slice(30, 200), slice(0, 16)), torch.tensor([[0.0, 0.0]]), WINDOW)
    last = outline_windows(_outline(slice(30, 200), slice(0, 16)), torch.tensor([[1.0, 1.0]]), WINDOW)
    assert (int(first[0, 0]), int(last[0, 0])) == (1, 13 - WINDOW)  # cells 1 to 12: never beside it


def test_a_window_of_the_whole_frame_gives_the_logits_of_the_frame():
    torch.manual_seed(0)
    model = build_segmentation("demo", random_init=True, encoder="frozen").eval()
    images = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        whole = model(images)[:, 0]
        window = decode_windows(model, images, model.features(images), torch.zeros(2, 2, dtype=torch.long), 14)
        torch.testing.assert_close(window, whole)
        first = torch.tensor([[0, 6], [3, 2]])
        inner = decode_windows(model, images, model.features(images), first, WINDOW)
    # away from its border a window has the logits of the frame there
    expected = cut(whole, first * 16, WINDOW * 16)
    torch.testing.assert_close(inner[:, 60:68, 60:68], expected[:, 60:68, 60:68], rtol=1e-3, atol=1e-4)
