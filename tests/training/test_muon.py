"""The Muon optimiser."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from fetaliqa.training.muon import ADAM_RMS, Muon, orthogonalised


@pytest.mark.parametrize("shape", [(24, 8), (8, 24), (16, 16)])
def test_updates_keep_their_directions_and_level_their_sizes(shape):
    left, _ = torch.linalg.qr(torch.randn(shape[0], 8, generator=torch.Generator().manual_seed(0)))
    right, _ = torch.linalg.qr(torch.randn(shape[1], 8, generator=torch.Generator().manual_seed(1)))
    sizes = torch.logspace(0, -1, 8)
    result = orthogonalised((left * sizes @ right.T)[None])[0]
    inner = left.T @ result @ right  # diagonal when the singular vectors are those of the input
    assert (inner - torch.diag(inner.diag())).abs().max() < 1e-4
    assert 0.6 < inner.diag().min() <= inner.diag().max() < 1.3


def test_an_update_is_as_large_as_adam_s():
    parameter = nn.Parameter(torch.zeros(32, 128))
    optimizer = Muon([parameter], lr=0.01)
    parameter.grad = torch.randn(32, 128, generator=torch.Generator().manual_seed(0))
    optimizer.step()
    assert float(parameter.detach().square().mean().sqrt()) == pytest.approx(0.01 * ADAM_RMS, rel=0.2)


def test_it_fits_a_linear_map():
    generator = torch.Generator().manual_seed(0)
    wanted = torch.randn(12, 6, generator=generator)
    inputs = torch.randn(256, 12, generator=generator)
    parameters = [nn.Parameter(torch.zeros(12, 6)), nn.Parameter(torch.zeros(12, 6))]  # of one shape, apart
    optimizer = Muon(parameters, lr=0.3)
    for step in range(400):
        optimizer.param_groups[0]["lr"] = 0.3 * (1 - step / 400)
        loss = sum((inputs @ (p - sign * wanted)).square().mean() for p, sign in zip(parameters, (1, -1)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (parameters[0] - wanted).abs().max() < 0.1
    assert (parameters[1] + wanted).abs().max() < 0.1


def test_only_matrices_are_taken():
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        Muon([nn.Parameter(torch.zeros(3))], lr=0.1)
