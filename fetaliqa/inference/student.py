"""Students: bundles distilled from a larger model, which screen frames for that model."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fetaliqa.errors import BundleError
from fetaliqa.inference.frame_guess import promise
from fetaliqa.inference.predictor import Predictor
from fetaliqa.inference.screened_search import ScreenLimits
from fetaliqa.measure.square_grid import SquareGrid
from fetaliqa.model.bundle import Bundle
from fetaliqa.model.bundle_card import BundleCard
from fetaliqa.model.bundle_names import AUTO, NONE, STUDENT_FOLDER
from fetaliqa.model.json_records import from_json
from fetaliqa.model.tensor_hashes import SHA256_PATTERN, short
from fetaliqa.sweep import Sweep

logger = logging.getLogger(__name__)
CHUNK = 64  # frames resampled to the model's grid at a time
TEACHER, SCREENING = "teacher", "screening"  # keys under ``metrics`` in a distilled bundle's card


@dataclass(frozen=True)
class Teacher:
    """The bundle that a student was distilled from: its name, version and fingerprint."""

    name: str
    version: str
    fingerprint: str

    def __post_init__(self) -> None:
        if not SHA256_PATTERN.fullmatch(self.fingerprint):
            raise ValueError(f"fingerprint is {self.fingerprint!r}; 64 hex digits are needed")


@dataclass(frozen=True)
class Screening:
    """How well a distilled bundle screens frames for its teacher, on held-out cases.

    Attributes:
        limits: limits of its predictions; None if it cannot screen.
        reason: why it cannot screen; empty if it can.
        search: figures of the search for the best frame; see ``lab.distillation.search_limits``.
        outlines: figures of screening for all outlines; see ``lab.distillation.screening_replay``.
    """

    limits: ScreenLimits | None
    reason: str
    search: dict[str, Any]
    outlines: dict[str, Any]


class Student:
    """A distilled bundle that predicts the quality its teacher would assign to frames.

    Args:
        bundle: the distilled bundle.
        screening: the screening figures of its card, with limits.
        device: see ``Predictor``.

    Attributes:
        limits: limits of its predictions.
        fingerprint: fingerprint of the bundle.
    """

    def __init__(self, bundle: Bundle, screening: Screening, device: str = "auto") -> None:
        assert screening.limits is not None
        self.card, self.screening, self.limits = bundle.card, screening, screening.limits
        self.fingerprint = bundle.fingerprint
        self._bundle, self._device = bundle, device

    @classmethod
    def open(cls, folder: str | Path, teacher: Bundle, device: str = "auto") -> Student:
        """Open a student of a bundle: read its card, and check its files.

        Raises:
            BundleError: when it is damaged or incomplete, was distilled from another model, or cannot screen.
        """
        folder = Path(folder).expanduser()
        bundle = Bundle.open(folder)
        source = teacher_of(bundle.card, folder)
        if source.fingerprint != teacher.fingerprint:
            raise BundleError(
                f"{folder}: this student was distilled from {source.name} {source.version} "
                f"({short(source.fingerprint)}), not from {teacher.card.name} {teacher.card.version} "
                f"({short(teacher.fingerprint)}); make one for it with `fetaliqa distill --student`"
            )
        screening = from_json(Screening, bundle.card.metrics.get(SCREENING), f"{folder}: {SCREENING}", BundleError)
        if screening.limits is None:
            raise BundleError(f"{folder}: this bundle cannot screen frames: {screening.reason}")
        bundle.check_files()
        return cls(bundle, screening, device)

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor(self._bundle, self._device)

    def guess(self, sweep: Sweep, indices: np.ndarray) -> np.ndarray:
        """Predicted quality of selected frames, float [N], 0 to 1; see :func:`promise`.

        Args:
            sweep: the frames.
            indices: frame numbers, int [N].
        """
        grid = SquareGrid(int(sweep.frames.shape[1]), int(sweep.frames.shape[2]), self._predictor.image_size)
        parts = np.array_split(indices, max(1, -(-len(indices) // CHUNK)))
        return np.concatenate([promise(self._predictor, grid.to_square(sweep.frames[part])) for part in parts])


def teacher_of(card: BundleCard, folder: Path) -> Teacher:
    """The teacher of a distilled bundle, from its card.

    Raises:
        BundleError: when the bundle was not distilled.
    """
    if TEACHER not in card.metrics:
        raise BundleError(
            f"{folder}: {card.name} {card.version} is not a student; make one with `fetaliqa distill`"
        )
    return from_json(Teacher, card.metrics[TEACHER], f"{folder}: {TEACHER}", BundleError)


def open_student(which: str | Path, bundle: Bundle, device: str = "auto") -> Student | None:
    """Open the student of a bundle.

    Args:
        which: ``auto`` for the bundle's own student, if any; ``none``; or a folder.
        bundle: the teacher.
        device: see ``Predictor``.

    Returns:
        The student; None for ``none``, and for ``auto`` without a usable student. An unusable one is logged and
        does not stop a server: a search only takes longer without it.

    Raises:
        BundleError: when the student in a given folder is damaged or incomplete, or was distilled from another
            model.
    """
    if which == NONE:
        return None
    if which != AUTO:
        return Student.open(which, bundle, device)
    folder = bundle.directory / STUDENT_FOLDER
    if not folder.is_dir():
        return None
    try:
        return Student.open(folder, bundle, device)
    except BundleError as problem:
        logger.warning("%s; this model does without it", problem)
        return None
