"""Names of bundles and of the files in them; nothing here imports torch, so settings can be checked before it."""

from __future__ import annotations

import re

CARD_FILE = "card.json"
NAME_PATTERN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def valid_name(name: str) -> bool:
    """Whether a bundle or version may be called so: it becomes a folder name."""
    return NAME_PATTERN.fullmatch(name) is not None and len(name) <= 100


STUDENT_FOLDER = "student"  # in a bundle: the small model that screens frames for it
AUTO, NONE = "auto", "none"  # in place of a student's folder: the bundle's own, or no student
