"""Files dropped on the list of cases: refused before they are sent, followed while they are, and cancelled."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK as sitk
from app_harness import Server
from workplace import Workplace

FRAMES = 12  # of 500 x 700: 4 MiB
SLOW = 1_000_000  # bytes a second
TOO_LARGE = 2049 * 1024**2  # of a sparse file; the server takes 2048 MiB


def write_sweep(path: Path, seed: int) -> Path:
    frames = np.random.default_rng(seed).integers(0, 200, (FRAMES, 500, 700), dtype=np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(frames), str(path))
    return path


def files_of_requests(server: Server) -> list[str]:
    """Temporary files of requests; the model's compiler and MONAI Label have others there."""
    found = [path for path in server.temporary.iterdir() if not path.name.startswith("torchinductor")]
    return [path.name for path in found if path.suffix != ".json"]


def drop(page: Any, files: list[Path]) -> Any:
    """Drop files as a file manager does; the session of the browser's developer tools."""
    session = page.context.new_cdp_session(page)
    data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        session.send("Input.dispatchDragEvent", {"type": kind, "x": 600, "y": 400, "data": data})
    return session


def test_files_are_dropped_refused_followed_and_cancelled(
    workplace: Workplace, server: Server, tmp_path: Path
) -> None:
    page, sent = workplace.page, []
    page.on("request", lambda request: request.method == "PUT" and sent.append(request.url))
    huge = tmp_path / "huge.mha"
    with open(huge, "wb") as file:
        file.truncate(TOO_LARGE)
    names = ("cancelled", "added", "waiting")
    files = [huge, *(write_sweep(tmp_path / f"{name}.mha", seed) for seed, name in enumerate(names))]
    workplace.start("Ulla")
    before = sorted(path.name for path in server.images.iterdir())
    throttle = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": SLOW}
    session = page.context.new_cdp_session(page)
    session.send("Network.emulateNetworkConditions", throttle)
    drop(page, files)

    def row(name: str) -> Any:
        return page.locator(".uploads li", has_text=f"{name}.mha")

    row("huge").get_by_text("Not sent: 2049 MiB is more than the 2048 MiB that this server takes.").wait_for()
    row("cancelled").get_by_text(" % of 4 MiB").wait_for()
    row("waiting").get_by_role("button", name="Cancel waiting.mha").click()
    row("cancelled").get_by_text(re.compile(r"^[1-9]\d % of")).wait_for()
    row("cancelled").get_by_role("button", name="Cancel cancelled.mha").click()
    row("cancelled").get_by_text("cancelled; nothing of it is on the server").wait_for()
    row("added").get_by_text(" % of 4 MiB").wait_for()
    page.goto(f"{workplace.url}/#/learn")  # goes on meanwhile
    session.send("Network.emulateNetworkConditions", {**throttle, "uploadThroughput": -1})
    page.goto(f"{workplace.url}/#/")
    row("added").get_by_text("added", exact=True).wait_for()
    page.get_by_role("link", name="added").wait_for()
    try:
        assert sorted(path.name for path in server.images.iterdir()) == sorted([*before, "added.mha"])
        assert files_of_requests(server) == []
        assert len(sent) == 2  # neither the large file nor the one that was cancelled while it waited
        page.get_by_role("button", name="Close").click()
        assert page.locator(".uploads").count() == 0
    finally:
        server.call("DELETE", "/datastore/image?id=added")
