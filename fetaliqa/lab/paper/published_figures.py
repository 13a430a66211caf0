"""The figures that the paper and its released code published, from ``published.json``."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

PUBLISHED_FIGURES = ("accuracy", "f1", "precision", "recall")


@dataclass(frozen=True)
class Published:
    """Published figures of one model.

    Attributes:
        millions: trainable parameters in millions, as printed.
        figures: (mean, standard deviation or None) by name; a name is absent where nothing is known.
    """

    millions: str
    figures: dict[str, tuple[float, float | None]]


@cache
def _content() -> dict[str, Any]:
    file = resources.files("fetaliqa.lab.paper") / "published.json"
    return json.loads(file.read_text(encoding="utf-8"))


def published(key: str) -> Published | None:
    """Published figures of the row ``key``; None without any."""
    entry = _content()["models"].get(key)
    if entry is None:
        return None
    figures = {name: tuple(entry[name]) for name in PUBLISHED_FIGURES if entry[name] is not None}
    return Published(entry["millions"], figures)


def published_source() -> str:
    """Where the figures come from."""
    return str(_content()["notes"])
