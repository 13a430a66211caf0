"""What a teacher says of the frames of a case, computed once and kept: a run that was killed goes on cheaply."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from fetaliqa import __version__
from fetaliqa.atomic import atomic_path
from fetaliqa.distillation.sources import Source
from fetaliqa.errors import SweepError
from fetaliqa.geometry import SquareGrid
from fetaliqa.inference.assessment import assess
from fetaliqa.inference.cache import cache_key
from fetaliqa.inference.predictor import Predictor
from fetaliqa.student.network import GRID

SCHEMA = 1
FINGERPRINT_DIGITS = 16  # of the teacher's, in the name of its folder


@dataclass(frozen=True, eq=False)
class Answers:
    """A teacher's answers on a case; black slots are left out.

    Attributes:
        squares: uint8 [N, 112, 112], the frames as a student sees them.
        quality: float32 [N].
        positive: bool [N].
        ranges: int [S, 2], half-open frame range of each sweep.
    """

    squares: np.ndarray
    quality: np.ndarray
    positive: np.ndarray
    ranges: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.squares)
        if not (
            self.squares.shape == (count, GRID, GRID)
            and self.quality.shape == self.positive.shape == (count,)
            and self.ranges.ndim == 2
        ):
            raise ValueError("arrays that do not fit each other")


class AnswerStore:
    """A folder of answers of one teacher.

    Args:
        folder: for all teachers; made on first write.
        teacher: whose answers.
    """

    def __init__(self, folder: Path, teacher: Predictor) -> None:
        self._folder = Path(folder) / teacher.fingerprint[:FINGERPRINT_DIGITS]
        self._teacher = teacher

    def answers(self, source: Source, step: int) -> Answers:
        """On every ``step``-th frame of a case.

        Raises:
            FetalIQAError: when the case cannot be read, or all of it is black.
        """
        how = (SCHEMA, __version__, self._teacher.fingerprint, self._teacher.precision)
        file = self._folder / f"{cache_key(*how, source.identity(), step)}.npz"
        kept = _read(file)
        if kept is not None:
            return kept
        made = self._made(source, step)
        archive = io.BytesIO()
        np.savez_compressed(archive, **vars(made))
        with atomic_path(file) as temporary:
            temporary.write_bytes(archive.getvalue())
        return made

    def all_answers(
        self, sources: Sequence[Source], step: int, progress: Callable[[int, int], None]
    ) -> list[Answers]:
        """On several cases; ``progress`` is told (cases done, cases in all)."""
        found = []
        for number, source in enumerate(sources):
            found.append(self.answers(source, step))
            progress(number + 1, len(sources))
        return found

    def _made(self, source: Source, step: int) -> Answers:
        sweep = source.sweep(step)
        if not len(sweep.frames):
            raise SweepError(f"{source.name}: every frame is black padding; leave this case out")
        frames: list[dict[str, Any]] = assess(sweep, self._teacher).record["frames"]
        grid = SquareGrid(sweep.frames.shape[1], sweep.frames.shape[2], GRID)
        lit = np.flatnonzero(~sweep.padding)
        return Answers(
            squares=grid.to_square(sweep.frames[lit]).numpy(),
            quality=np.array([frames[number]["quality"] for number in lit], np.float32),
            positive=np.array([bool(frames[number]["positive"]) for number in lit], bool),
            ranges=np.searchsorted(lit, np.array(sweep.ranges, np.int64)),
        )


def _read(file: Path) -> Answers | None:
    try:
        with np.load(file, allow_pickle=False) as stored:
            return Answers(**{name: stored[name] for name in Answers.__dataclass_fields__})
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None  # never made, or damaged: it is made again
