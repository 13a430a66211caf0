"""Students made in a test: compact bundles that say they were distilled from a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from bundle_cards import a_card

from fetaliqa.inference.screened_search import ScreenLimits
from fetaliqa.inference.student import Screening, Teacher
from fetaliqa.model import Architecture, Bundle, build_segmentation, save_bundle
from fetaliqa.model.architecture import BackboneConfig, PyramidConfig
from fetaliqa.model.json_records import to_json
from fetaliqa.registry.model_store import resolve_bundle

LIMITS = ScreenLimits(0.05, 0.5)
SMALL = Architecture("small", BackboneConfig(64, "test_efficientnet"), PyramidConfig(32, 32, 16))


def metrics_of(teacher: Bundle, limits: ScreenLimits | None = LIMITS) -> dict[str, Any]:
    """What a distilled bundle's card says of its teacher and of screening; limits None: it cannot screen."""
    figures = {"sweeps": 2, "found": 2, "share_looked_at": 0.1}
    screening = Screening(limits, "" if limits else "it misses too many frames", figures, {})
    source = Teacher(teacher.card.name, teacher.card.version, teacher.fingerprint)
    return {"teacher": to_json(source), "screening": to_json(screening)}


def save_student(folder: Path, teacher: Bundle, limits: ScreenLimits | None = LIMITS, seed: int = 0) -> Bundle:
    """A student of random weights."""
    torch.manual_seed(seed)
    model = build_segmentation(SMALL, random_init=True, encoder="full").eval()
    return save_bundle(model, a_card(model, name="student", metrics=metrics_of(teacher, limits)), folder)


def shipped_student(folder: Path, teacher: Bundle, limits: ScreenLimits) -> Path:
    """The abdomen model that ships, as a student of another one."""
    folder.mkdir()
    for file in resolve_bundle("abdomen").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    card = json.loads((folder / "card.json").read_text())
    card["metrics"] = metrics_of(teacher, limits)
    (folder / "card.json").write_text(json.dumps(card))
    return folder
