"""The Slicer module's library on the path, and a real server with the sample cases and the demo model."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
for folder in (HERE, HERE.parent / "app", REPOSITORY / "slicer_module" / "FetalIQA"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from app_harness import Server, free_port, stop  # noqa: E402
from demo_server import CASES, start_demo_server  # noqa: E402
from fake_server import FakeServer, an_idle_server  # noqa: E402


@pytest.fixture
def fake() -> Iterator[FakeServer]:
    """A fake server that accepts connections."""
    idle = an_idle_server()
    yield idle
    idle.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Two sample cases and the demo model, shared by all tests; no test may depend on labels of another."""
    root = tmp_path_factory.mktemp("slicer-server")
    images = Path("images") / "stacked_fetal_ultrasound"
    (root / "studies" / images).mkdir(parents=True)
    for case in CASES:
        shutil.copyfile(
            REPOSITORY / "sample-data" / images / f"{case}.mha", root / "studies" / images / f"{case}.mha"
        )
    running = start_demo_server(root, free_port())
    yield running
    stop(running)
    _, *tracebacks = (root / "server.log").read_text().split("Traceback (most recent call last)")
    assert [text[:3000] for text in tracebacks] == []
