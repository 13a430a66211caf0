"""The server of the Slicer tests: sample cases and the demo model, as ``make serve`` serves them."""

from __future__ import annotations

from pathlib import Path

from app_harness import Server, start

CASES = ("5cb3b4e9-bd03-43ef-851b-aa207eec56ca", "888f4a32-9a52-48d1-843c-1621e1ab0dd6")  # of the sample data


def start_demo_server(root: Path, port: int) -> Server:
    """The server as ``make serve`` starts it, on the studies in ``root``."""
    command = ["-m", "monailabel_app.serve", "--studies", str(root / "studies"), "--port", str(port)]
    return start(root, [*command, "--conf", "device", "cpu", "--conf", "cache_dir", str(root / "cache")], port)
