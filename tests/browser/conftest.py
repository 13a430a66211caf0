"""Chromium, and one server with the shipped model on two short cases of the sample data."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import SimpleITK as sitk

HERE = Path(__file__).parent
REPOSITORY = HERE.parents[1]
for folder in (HERE, HERE.parent / "app", REPOSITORY / "slicer_module" / "FetalIQA"):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

from app_harness import Server, free_port, stop  # noqa: E402
from workplace import FRAMES, SAMPLES, SOURCE, STILL, SWEEP, Workplace, start_shipped  # noqa: E402


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # one worker owns server and browser when tests are spread over several
    for item in items:
        if HERE in Path(item.path).parents:
            item.add_marker(pytest.mark.xdist_group("browser"))
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The browser's executable; installed by ``make chromium``, which ``make test`` runs."""
    pytest.importorskip("playwright", reason="playwright is not installed: make install")
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        pytest.skip("Chromium is not installed: make chromium, as root on Debian or Ubuntu")
    return found


# Not of the session: asyncio.run() of other tests refuses to run within Playwright's event loop.
@pytest.fixture(scope="module")
def playwright(chromium: str) -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="module")
def browser(playwright: Any, chromium: str) -> Iterator[Any]:
    running = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
    yield running
    running.close()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real still, and twelve frames of a phantom sweep."""
    root = tmp_path_factory.mktemp("browser-server")
    images = root / "studies" / "images" / "stacked_fetal_ultrasound"
    images.mkdir(parents=True)
    shutil.copyfile(SAMPLES / f"{STILL}.png", images / f"{STILL}.png")
    whole = sitk.ReadImage(str(SAMPLES / f"{SOURCE}.mha"))
    sitk.WriteImage(whole[:, :, FRAMES], str(images / f"{SWEEP}.mha"), useCompression=True)
    (images / "<img src=x onerror='hacked=1'>.mha").write_text("no image")
    running = start_shipped(root, free_port())
    yield running
    stop(running)
    _, *tracebacks = (root / "server.log").read_text().split("Traceback (most recent call last)")
    assert [text[:3000] for text in tracebacks] == []


@pytest.fixture
def workplace(browser: Any, server: Server) -> Iterator[Workplace]:
    """A page of one annotator; every request of it must be for the server itself."""
    context = browser.new_context(viewport={"width": 1366, "height": 768})
    place = Workplace(context, server.url)
    yield place
    place.check()
    place.page.unroute_all(behavior="ignoreErrors")
    context.close()
