"""A student: a bundle distilled from a larger model, and how well it screens frames for that model."""

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
CHUNK = 64  # frames taken to the model's grid at a time
TEACHER, SCREENING = "teacher", "screening"  # in a distilled bundle's card, under metrics


@dataclass(frozen=True)
class Teacher:
    """The bundle that another one was distilled from: name and version for people, the fingerprint for certain."""

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
        limits: how far its guesses are trusted; None: it cannot screen.
        reason: why not; empty when it can.
        search: figures of the search for the best frame; see ``distillation.limits.figures``.
        outlines: figures of screening for all outlines; see ``distillation.screening.screening_figures``.
    """

    limits: ScreenLimits | None
    reason: str
    search: dict[str, Any]
    outlines: dict[str, Any]


class Student:
    """A distilled bundle that guesses the quality its teacher would give to frames.

    Args:
        bundle: the distilled one.
        screening: what its card says of it; it has limits.
        device: see ``Predictor``.

    Attributes:
        limits: how far its guesses are trusted.
        fingerprint: of the bundle.
    """

    def __init__(self, bundle: Bundle, screening: Screening, device: str = "auto") -> None:
        assert screening.limits is not None
        self.card, self.screening, self.limits = bundle.card, screening, screening.limits
        self.fingerprint = bundle.fingerprint
        self._bundle, self._device = bundle, device

    @classmethod
    def open(cls, folder: str | Path, teacher: Bundle, device: str = "auto") -> Student:
        """Read the card of a student of a bundle, and check its files.

        Raises:
            BundleError: when it is damaged or incomplete, learnt from another model, or cannot screen.
        """
        folder = Path(folder).expanduser()
        own = Bundle.open(folder)
        source = teacher_of(own.card, folder)
        if source.fingerprint != teacher.fingerprint:
            raise BundleError(
                f"{folder}: this student learnt from {source.name} {source.version} "
                f"({short(source.fingerprint)}), not from {teacher.card.name} {teacher.card.version} "
                f"({short(teacher.fingerprint)}); make one for it with `fetaliqa distill --student`"
            )
        screening = from_json(Screening, own.card.metrics.get(SCREENING), f"{folder}: {SCREENING}", BundleError)
        if screening.limits is None:
            raise BundleError(f"{folder}: this bundle cannot screen frames: {screening.reason}")
        own.check_files()
        return cls(own, screening, device)

    @cached_property
    def _predictor(self) -> Predictor:
        return Predictor(self._bundle, self._device)

    def guess(self, sweep: Sweep, indices: np.ndarray) -> np.ndarray:
        """Guessed quality of chosen frames, float [N], 0 to 1; see :func:`promise`.

        Args:
            sweep: the frames.
            indices: frame numbers, int [N].
        """
        grid = SquareGrid(int(sweep.frames.shape[1]), int(sweep.frames.shape[2]), self._predictor.image_size)
        parts = np.array_split(indices, max(1, -(-len(indices) // CHUNK)))
        return np.concatenate([promise(self._predictor, grid.to_square(sweep.frames[part])) for part in parts])


def teacher_of(card: BundleCard, folder: Path) -> Teacher:
    """The bundle that another one was distilled from.

    Raises:
        BundleError: when it was not distilled.
    """
    if TEACHER not in card.metrics:
        raise BundleError(f"{folder}: {card.name} {card.version} is no student; make one with `fetaliqa distill`")
    return from_json(Teacher, card.metrics[TEACHER], f"{folder}: {TEACHER}", BundleError)


def open_student(which: str | Path, bundle: Bundle, device: str = "auto") -> Student | None:
    """The student that is meant for a bundle.

    Args:
        which: ``auto``, the bundle's own, or none where it has none; ``none``; or a folder.
        bundle: that it screens frames for.
        device: see ``Predictor``.

    Returns:
        The student, or None: of none at all, and of the bundle's own when it cannot be used. A search is slower
        without, and no reason to stop a server; the log says so.

    Raises:
        BundleError: when the one that was named is damaged or incomplete, or learnt from another model.
    """
    if which == NONE:
        return None
    if which != AUTO:
        return Student.open(which, bundle, device)
    own = bundle.directory / STUDENT_FOLDER
    if not own.is_dir():
        return None
    try:
        return Student.open(own, bundle, device)
    except BundleError as problem:
        logger.warning("%s; this model does without it", problem)
        return None
