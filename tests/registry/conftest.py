from pathlib import Path

import pytest
from disc_bundle import disc_bundle
from tiny_models import card_for, tiny, tiny_model

from fetaliqa.model import Bundle

__all__ = ["card_for", "tiny", "tiny_model"]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model store of its own for each test."""
    monkeypatch.setenv("FETALIQA_HOME", str(tmp_path / "home"))


@pytest.fixture
def untrained(tmp_path: Path) -> Bundle:
    """A tiny bundle that has learnt nothing yet."""
    return disc_bundle(tmp_path / "untrained")
