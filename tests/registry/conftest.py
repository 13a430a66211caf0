from pathlib import Path

import pytest
from disc_bundle import untrained
from tiny_models import card_for, tiny, tiny_model

__all__ = ["card_for", "tiny", "tiny_model", "untrained"]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model store of its own for each test."""
    monkeypatch.setenv("FETALIQA_HOME", str(tmp_path / "home"))
