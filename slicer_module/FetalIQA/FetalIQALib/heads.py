"""What a journal's name and first lines say: session, server, rater; without reading its masks."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from FetalIQALib.http import same_server

SUFFIX = ".journal.json"
HEAD_BYTES = 1 << 16  # of a journal, in which its server and its rater stand


def session_of(path: Path) -> str:
    """The session whose journal a file is."""
    return path.name[: -len(SUFFIX)].split("~")[-1] if path.name.endswith(SUFFIX) else path.stem


def head(path: Path, key: str) -> str | None:
    """A text at the beginning of a journal, without reading all its masks; None when it is not there."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(HEAD_BYTES)
        found = re.search(rf'"{key}": ("(?:[^"\\]|\\.)*")', text)
        value: Any = json.loads(found.group(1)) if found is not None else None
    except (OSError, ValueError):
        return None
    return value if isinstance(value, str) else None


def other_spellings(root: Path, server: str, own: Path) -> list[Path]:
    """Folders of journals that were kept under another spelling of the server's address."""
    found = []
    with suppress(OSError):
        for folder in sorted(root.iterdir()):
            files = sorted(folder.glob(f"*{SUFFIX}")) if folder != own else []
            told = next(filter(None, (head(file, "server") for file in files)), None)  # the first that can be read
            if told is not None and same_server(told) == server:
                found.append(folder)
    return found
