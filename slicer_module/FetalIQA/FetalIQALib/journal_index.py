"""Instance, server and rater of a journal, from its name and its first lines, without reading the masks."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from FetalIQALib.http_client import canonical_address

SUFFIX = ".journal.json"
HEAD_BYTES = 1 << 16  # first bytes of a journal, which contain its server and rater


def instance_of(path: Path) -> str:
    """The Slicer instance that wrote a journal."""
    return path.name[: -len(SUFFIX)].split("~")[-1] if path.name.endswith(SUFFIX) else path.stem


def read_header_field(path: Path, key: str) -> str | None:
    """A text field at the beginning of a journal; None if it is not found."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(HEAD_BYTES)
        match = re.search(rf'"{key}": ("(?:[^"\\]|\\.)*")', text)
        value: Any = json.loads(match.group(1)) if match is not None else None
    except (OSError, ValueError):
        return None
    return value if isinstance(value, str) else None


def legacy_folders(root: Path, server: str, current: Path) -> list[Path]:
    """Folders of journals written under another spelling of the server's address."""
    folders = []
    with suppress(OSError):
        for folder in sorted(root.iterdir()):
            files = sorted(folder.glob(f"*{SUFFIX}")) if folder != current else []
            address = next(
                filter(None, (read_header_field(file, "server") for file in files)), None
            )  # the first readable one
            if address is not None and canonical_address(address) == server:
                folders.append(folder)
    return folders
