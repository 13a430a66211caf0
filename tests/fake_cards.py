"""A machine with CUDA cards, as far as PyTorch's questions about them go."""

from __future__ import annotations

import pytest
import torch


def has_cards(
    monkeypatch: pytest.MonkeyPatch,
    count: int = 1,
    *,
    name: str = "NVIDIA H200",
    capability: tuple[int, int] = (9, 0),
) -> None:
    """Let this machine have so many cards that compute; nothing can be computed on them."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: name)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: capability)
    monkeypatch.setattr("fetaliqa.inference.devices._sound", set(range(count)))


def has_unusable_cards(monkeypatch: pytest.MonkeyPatch, problem: str) -> None:
    """Let this machine have a card that CUDA refuses to start with, for a reason."""

    def fail() -> None:
        raise RuntimeError(problem)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)  # the driver's own library counts it
    monkeypatch.setattr(torch.backends.cuda, "is_built", lambda: True)
    monkeypatch.setattr(torch.cuda, "init", fail)
