"""Fixtures shared by all tests."""

from __future__ import annotations

import gc
import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
# directories whose tests share what takes long to begin with: a server, or the catalogue of real images
SHARING = ("app", "slicer", "browser", "stills")
SHARED = re.compile(
    r"^(@pytest\.fixture.*\n)?def (?(1)|test_)\w+\([^)]*\b(server: Server|workplace: Workplace|real_stills)\b",
    re.MULTILINE,
)

# Most tests need a model that finds something in small phantom sweeps; those of the default say so themselves.
os.environ.setdefault("FETALIQA_DEFAULT_MODEL", "demo")


# A collection looks at every object of PyTorch, MONAI and thousands of tests, which takes a second: not while they
# are imported, and afterwards only at what tests make.
gc.disable()


def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()
    gc.enable()


def pytest_unconfigure() -> None:
    gc.unfreeze()  # libraries that look for leaks at the end find none


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cuda: needs a CUDA card, and is skipped without one")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # long units of distribution first, since a worker that gets one of them last would let the other one wait
    slow = {item.path for item in items if any(item.get_closest_marker(name) for name in ("slow", "full_size"))}
    items.sort(key=lambda item: (not shares(item.path), item.path not in slow))
    needing = [item for item in items if item.get_closest_marker("cuda")]
    if not needing:
        return
    import torch  # other tests need not wait for it

    if not torch.cuda.is_available():
        for item in needing:
            item.add_marker(pytest.mark.skip(reason="no CUDA device here"))


@cache
def shares(file: Path) -> bool:
    """Whether tests of a file use what the ``conftest.py`` of its directory makes once for all of them."""
    return file.parent.name in SHARING and bool(SHARED.search(file.read_text(encoding="utf-8")))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Units of distribution: the files of a directory that share a fixture, and each other file.

    (``--dist loadgroup`` does not read groups with pytest 9.2.)
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.split("::", 1)[0]
            return str(Path(file).parent) if shares(config.rootpath / file) else file

    return Scheduling(config, log) if config.getvalue("dist") == "loadfile" else None


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
