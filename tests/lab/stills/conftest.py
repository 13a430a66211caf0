"""The real stills, read once."""

from __future__ import annotations

import pytest

from fetaliqa.lab.stills import Still, read_catalogue


@pytest.fixture(scope="session")
def real_stills(shared_data) -> list[Still]:
    return read_catalogue(shared_data)
