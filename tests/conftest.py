"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]

# Most tests need a model that finds something in small phantom sweeps; those of the default say so themselves.
os.environ.setdefault("FETALIQA_DEFAULT_MODEL", "demo")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cuda: needs a CUDA card, and is skipped without one")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    needing = [item for item in items if item.get_closest_marker("cuda")]
    if not needing:
        return
    import torch  # other tests need not wait for it

    if not torch.cuda.is_available():
        for item in needing:
            item.add_marker(pytest.mark.skip(reason="no CUDA device here"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real ultrasound images kept outside of the project; tests that need it skip without it."""
    folder = Path(os.environ.get("FETALIQA_REAL_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("real images not present: set FETALIQA_REAL_DATA to the folder that holds them")
    return folder


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """The small phantom cases and the demo model shipped with the project."""
    return REPOSITORY / "sample-data"
