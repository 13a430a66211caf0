"""How fast the page shows frames: first frame, stepping, memory; in Chromium against a server on this machine.

``python benchmarks/browser_frames.py`` makes a case of 840 frames of 562 x 744 from a sample sweep, serves it and
drives the page. Needs playwright and Chromium (``make install chromium``).
"""

from __future__ import annotations

import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import SimpleITK as sitk

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY), str(REPOSITORY / "tests" / "app")]

from app_harness import free_port, start, stop  # noqa: E402

SAMPLE = REPOSITORY / "sample-data/images/stacked_fetal_ultrasound/f0d494c1-9ae1-4d45-a20e-fcaf30c2e979.mha"
FRAMES, ROWS, COLUMNS, SWEEP = 840, 562, 744, 140
STEPS = 200


def write_case(path: Path) -> None:
    """Six sweeps of 140 frames with noise, which compresses as badly as real ones."""
    frames = sitk.GetArrayFromImage(sitk.ReadImage(str(SAMPLE)))
    random = np.random.default_rng(0)
    stack = np.zeros((FRAMES, ROWS, COLUMNS), np.uint8)
    for number in range(FRAMES):
        if number % SWEEP >= SWEEP - 10:
            continue  # black tail
        large = cv2.resize(frames[number * 7 % 40], (COLUMNS, ROWS), interpolation=cv2.INTER_CUBIC).astype(
            np.int16
        )
        noise = random.integers(-6, 7, large.shape)
        stack[number] = np.clip(np.where(large > 2, large + noise, 0), 0, 255)
    image = sitk.GetImageFromArray(stack)
    image.SetSpacing((0.28, 0.28, 1.0))
    sitk.WriteImage(image, str(path), useCompression=True)


def measured(page: Any, url: str) -> dict[str, float]:
    """Seconds to the first frame, milliseconds of a step, and memory in MiB."""
    page.goto(url)
    page.evaluate("localStorage.setItem('fetaliqa', JSON.stringify({ name: 'bench' }))")
    page.reload()
    page.wait_for_selector(".case a")
    first = page.evaluate(
        """() => new Promise((resolve) => {
          const start = performance.now();
          document.querySelector('.case a').click();
          const look = () => document.querySelector('.stage')?.dataset.frame !== undefined
            ? resolve((performance.now() - start) / 1000) : requestAnimationFrame(look);
          look();
        })"""
    )
    page.wait_for_timeout(8000)  # frames are fetched ahead meanwhile
    steps = page.evaluate(
        """async (count) => {
          const stage = document.querySelector('.stage');
          const times = [];
          for (let step = 0; step < count; step += 1) {
            const before = stage.dataset.frame;
            const start = performance.now();
            window.dispatchEvent(new KeyboardEvent('keydown', { key: 'PageDown', cancelable: true }));
            while (stage.dataset.frame === before && performance.now() - start < 2000) {
              await new Promise((resolve) => setTimeout(resolve, 0));
            }
            times.push(performance.now() - start);
          }
          return times;
        }""",
        STEPS,
    )
    heap = page.evaluate("performance.memory.usedJSHeapSize / 1024 ** 2")
    return {
        "first frame, s": first,
        "step, median, ms": statistics.median(steps),
        "step, 95 %, ms": sorted(steps)[int(0.95 * len(steps))],
        "step, longest, ms": max(steps),
        "script memory, MiB": heap,
    }


def main() -> None:
    """Measure, and print."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "studies").mkdir()
        write_case(root / "studies" / "case.mha")
        port = free_port()
        command = ["-m", "monailabel_app.serve", "--studies", str(root / "studies"), "--port", str(port)]
        server = start(
            root, [*command, "--conf", "device", "cpu", "--conf", "cache_dir", str(root / "cache")], port
        )
        try:
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(
                    executable_path=shutil.which("chromium"), args=["--no-sandbox", "--enable-precise-memory-info"]
                )
                page = browser.new_page(viewport={"width": 1366, "height": 768})
                page.route("**/case/assessment?*", lambda route: route.abort())  # the model would take both cores
                for name, value in measured(page, server.url).items():
                    print(f"{name}: {value:.1f}")
                browser.close()
        finally:
            stop(server)


if __name__ == "__main__":
    main()
