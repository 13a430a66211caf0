from __future__ import annotations

from pathlib import Path

import pytest
import torch
from disc_bundle import untrained
from phantom_studies import disc_studies

__all__ = ["untrained"]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A model store of its own for each test."""
    monkeypatch.setenv("FETALIQA_HOME", str(tmp_path / "home"))
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """Four subjects of twelve confirmed frames each, a third of them with a disc."""
    return disc_studies(tmp_path / "studies", 4)
