"""A cache of each test's own, and a sample case."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that another test or the user computed answers."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def sample_case(sample_data: Path) -> Path:
    return sorted((sample_data / "images" / "stacked_fetal_ultrasound").glob("*.mha"))[0]
