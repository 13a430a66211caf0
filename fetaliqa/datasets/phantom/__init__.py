"""A seeded synthetic blind-sweep generator: a fetus in a uterus under a curvilinear probe.

Importing this package is cheap; the generator is loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fetaliqa.datasets.phantom.dataset import write_dataset
    from fetaliqa.datasets.phantom.generate import draw_plan, generate_case
    from fetaliqa.datasets.phantom.settings import PhantomCase, PhantomSettings
    from fetaliqa.datasets.phantom.statistics import label_statistics

_HOMES = {
    "PhantomCase": "settings",
    "PhantomSettings": "settings",
    "draw_plan": "generate",
    "generate_case": "generate",
    "label_statistics": "statistics",
    "write_dataset": "dataset",
}
__all__ = [
    "PhantomCase",
    "PhantomSettings",
    "draw_plan",
    "generate_case",
    "label_statistics",
    "write_dataset",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
