"""The page as an annotator uses it, driven by Playwright."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app_harness import REPOSITORY, Server, start

SAMPLES = REPOSITORY / "sample-data" / "images" / "stacked_fetal_ultrasound"
SOURCE = "5cb3b4e9-bd03-43ef-851b-aa207eec56ca"  # of the sweep
FRAMES = slice(56, 68)  # of it: 12, of which four show the abdomen
STILL = "Patient00789_Plane2_1_of_1"  # a real image
SWEEP = "sweep"
WAIT_MS = 60_000  # for the model on a busy machine; a decision takes milliseconds


def start_shipped(root: Path, port: int, bundle: str = "abdomen") -> Server:
    """The server as ``make serve`` starts it, with a model that ships."""
    command = ["-m", "monailabel_app.serve", "--studies", str(root / "studies"), "--port", str(port)]
    conf = ["--conf", "device", "cpu", "--conf", "bundle", bundle, "--conf", "cache_dir", str(root / "cache")]
    return start(root, [*command, *conf], port)


class Workplace:
    """One tab.

    Args:
        context: of the browser, with its own storage.
        url: of the server.

    Attributes:
        page: the tab.
        requests: addresses that it asked for.
        errors: exceptions in the page, and what its policy refused.
    """

    def __init__(self, context: Any, url: str) -> None:
        self.context, self.url = context, url
        self.requests: list[str] = []
        self.errors: list[str] = []
        context.on("request", lambda request: self.requests.append(request.url))
        self.page = self.tab()

    def tab(self) -> Any:
        """Another tab of the same browser."""
        page = self.context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._read_console)
        return page

    def _read_console(self, message: Any) -> None:
        if message.type == "error" and "Failed to load resource" not in message.text:
            self.errors.append(message.text)

    def check(self) -> None:
        """Fail when the page asked another host for anything, or raised an error."""
        local = (self.url, "data:", "blob:", "about:")
        assert [address for address in self.requests if not address.startswith(local)] == []
        assert self.errors == []

    def start(self, name: str = "Anna", tag: str = "final") -> None:
        """Open the page as somebody whose name it knows."""
        self.page.goto(self.url)
        self.page.evaluate(
            "text => localStorage.setItem('fetaliqa', text)", json.dumps({"name": name, "tag": tag})
        )
        self.page.reload()
        self.page.wait_for_selector(".case")

    def open(self, case: str, page: Any = None) -> None:
        """Open a case and wait until labels may be changed and the model has assessed it."""
        page = page or self.page
        page.goto(f"{self.url}/#/case/{case}")
        page.wait_for_selector(".stage[data-frame]")
        page.wait_for_selector(".case-head .counts:not(:empty)")
        page.wait_for_selector(".decide:not([disabled])")
        page.wait_for_selector(".notes .loading", state="detached")

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def go_to(self, frame: int) -> None:
        """Show a frame by the keys of the strip."""
        strip = self.page.locator(".strip canvas")
        strip.focus()
        self.page.keyboard.press("Home")
        for _ in range(frame):
            self.page.keyboard.press("ArrowRight")
        self.page.wait_for_selector(f".stage[data-frame='{frame}']")
        self.page.evaluate("document.activeElement.blur()")

    def said(self, text: str) -> None:
        """Wait for a message."""
        self.page.locator(".toast", has_text=text).wait_for()

    def submit(self, version: int) -> None:
        self.press("Control+Enter")
        self.said(f"Submitted as version {version}.")

    def counted(self, text: str) -> None:
        """Wait for the numbers of labelled frames."""
        self.page.locator(".case-head .counts", has_text=text).wait_for()

    def counts(self) -> str:
        return str(self.page.locator(".case-head .counts").inner_text())

    def saved(self) -> None:
        """Wait until every action is done and in the journal."""
        drawn = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"
        self.page.evaluate(drawn)  # what was pressed last shows
        self.page.wait_for_selector(".case-head[data-saving='false']")

    def journal(self) -> list[dict[str, Any]]:
        """All unsubmitted work in this browser."""
        return self.page.evaluate("import('/web/app/journal.js').then((module) => module.allWork())")

    def journaled(self, test: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The unsubmitted work, once it passes a test; the page's policy forbids to wait in the page."""
        deadline = time.monotonic() + WAIT_MS / 1000
        while time.monotonic() < deadline:
            found = [work for work in self.journal() if test(work)]
            if found:
                return found[0]
            time.sleep(0.02)
        raise AssertionError(f"the journal holds {self.journal()}")

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the image, as shares of its size, is on the screen."""
        box = self.page.locator(".stage").bounding_box()
        return box["x"] + x * box["width"], box["y"] + y * box["height"]

    def pixel(self, column: float, row: float, size: tuple[int, int]) -> tuple[float, float]:
        """Where a pixel of an image of this size (columns, rows), which fits the stage, is on the screen."""
        box = self.page.locator(".stage").bounding_box()
        scale = min(box["width"] / size[0], box["height"] / size[1])
        left, top = (box["width"] - size[0] * scale) / 2, (box["height"] - size[1] * scale) / 2
        return box["x"] + left + (column + 0.5) * scale, box["y"] + top + (row + 0.5) * scale
