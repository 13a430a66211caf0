"""Fixtures of the tests with a DICOM archive."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from archive_links import MEBIBYTE, SHARED
from cines import a_cine
from stub_archive import StubArchive

from fetaliqa.measure.anatomy import ABDOMEN
from monailabel_app.lib.dicomweb.archive_client import Archive
from monailabel_app.lib.dicomweb.archive_sync import ArchiveSync


@pytest.fixture(scope="module")
def cines(tmp_path_factory: pytest.TempPathFactory) -> list[pydicom.Dataset]:
    """One in a series of its own, two in one series."""
    folder, random = tmp_path_factory.mktemp("cines"), np.random.default_rng(0)
    made = []
    for number, series in ((1, None), (2, SHARED), (3, SHARED)):
        frames = random.integers(30, 200, (5, 24, 32), dtype=np.uint8)
        made.append(a_cine(folder / f"{number}.dcm", frames, number, series))
    return made


@pytest.fixture
def stub(cines: list[pydicom.Dataset]) -> Iterator[StubArchive]:
    running = StubArchive(cines)
    yield running
    running.close()


@pytest.fixture
def linked(stub: StubArchive, tmp_path: Path) -> Callable[..., ArchiveSync]:
    """A link to the stub; another one is another server's, on the same folder."""

    def make(max_bytes: int = MEBIBYTE) -> ArchiveSync:
        folder = tmp_path / "copies"
        folder.mkdir(exist_ok=True)
        return ArchiveSync(Archive(stub.address, max_bytes), folder, 0.0, lambda: ABDOMEN)

    return make


@pytest.fixture
def looked(linked: Callable[..., ArchiveSync], cines: list[pydicom.Dataset]) -> tuple[ArchiveSync, str]:
    """A link that has copied all cines, and the id of the first."""
    link = linked()
    link.run_once(search=True)
    return link, cines[0].SeriesInstanceUID
