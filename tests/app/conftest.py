"""Fixtures of the app's tests: bundles with random weights, and one real server for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from app_harness import (
    EXPORT_LIMIT_MB,
    UNPACKED_LIMIT_MB,
    UPLOAD_LIMIT_MB,
    VIEWER,
    Server,
    fill_studies,
    free_port,
    make_bundle,
    start,
    stop,
)

from monailabel_app.lib.startup.lazy_monai import lazy_monai

lazy_monai.begin()  # as in the server; the import of MONAI takes seconds, and no test of the app needs it


def pytest_collection_finish() -> None:
    lazy_monai.end()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A segmentation bundle of the small architecture with random weights."""
    return make_bundle(tmp_path_factory.mktemp("bundle") / "random-seg", "segmentation")


@pytest.fixture(scope="session")
def cls_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classification bundle of the small architecture with random weights."""
    return make_bundle(tmp_path_factory.mktemp("bundle") / "random-cls", "classification")


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, bundle: Path, cls_bundle: Path) -> Iterator[Server]:
    """Our front, as ``make serve`` starts it."""
    root = tmp_path_factory.mktemp("front")
    fill_studies(root)
    port = free_port()
    command = ["-m", "monailabel_app.serve", "--studies", str(root / "studies"), "--port", str(port)]
    for key, value in (
        ("bundle", bundle),
        ("cls_bundle", cls_bundle),
        ("cache_dir", root / "cache"),
        ("max_upload_mb", UPLOAD_LIMIT_MB),
        ("max_export_mb", EXPORT_LIMIT_MB),
        ("max_unpacked_mb", UNPACKED_LIMIT_MB),
        ("origins", VIEWER),
    ):
        command += ["--conf", key, str(value)]
    running = start(root, command, port)
    yield running
    stop(running)
    _, *tracebacks = (root / "server.log").read_text().split("Traceback (most recent call last)")
    assert [text[:3000] for text in tracebacks] == []
    assert "importing monai" not in (root / "server.log").read_text()  # no request and no worker needs it


@pytest.fixture
def untouched(server: Server) -> Iterator[None]:
    """Fails the test when any file under the server's root changed, appeared or went."""
    before = server.outside()
    yield
    assert server.outside() == before
