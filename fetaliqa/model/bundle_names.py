"""Names of bundles and of their files, without importing torch."""

from __future__ import annotations

import re

CARD_FILE = "card.json"
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def valid_name(name: str) -> bool:
    """Whether ``name`` can be the name of a bundle or version: it becomes a folder name."""
    return NAME_PATTERN.fullmatch(name) is not None and len(name) <= 100


INTERACTIVE = "interactive"  # the bundle that ships for prompts, and the server's model
STUDENT_FOLDER = "student"  # subfolder of a bundle with its screening model
AUTO, NONE = "auto", "none"  # values for a student's folder: the bundle's own student, or none
