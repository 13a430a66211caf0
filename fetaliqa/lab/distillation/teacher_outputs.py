"""What a teacher says of the frames of a case, computed once and kept: a run that was killed goes on cheaply."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from zipfile import BadZipFile

import numpy as np
import torch.nn.functional as functional

from fetaliqa import __version__
from fetaliqa.atomic import atomic_path
from fetaliqa.errors import SweepError
from fetaliqa.inference.assessment import assess
from fetaliqa.inference.assessment_cache import cache_key
from fetaliqa.inference.cuda_transfers import on_host, reading
from fetaliqa.inference.predictor import ChunkPrediction, Predictor
from fetaliqa.lab.distillation.distillation_cases import Source
from fetaliqa.measure.square_grid import GRID, SquareGrid
from fetaliqa.sweep import Sweep

SCHEMA = 2
FINGERPRINT_DIGITS = 16  # of the teacher's, in the name of its folder
HALF = 127  # an outline's probability times 255 above this is inside of it
NOWHERE = -1  # of a sweep in which no frame is offered


@dataclass(frozen=True, eq=False)
class Answers:
    """A model's answers on a case; black slots are left out.

    Attributes:
        squares: uint8 [N, 224, 224], the frames.
        outlines: uint8 [N, 224, 224], probability of the outline times 255, its odds divided by those of the
            model's threshold, which thereby lies at one half.
        quality: float32 [N].
        positive: bool [N].
        ranges: int [S, 2], half-open frame range of each sweep.
        best: int [S], the frame that is offered of each sweep; ``NOWHERE``: none is.
    """

    squares: np.ndarray
    outlines: np.ndarray
    quality: np.ndarray
    positive: np.ndarray
    ranges: np.ndarray
    best: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.squares)
        if not (
            self.squares.shape == self.outlines.shape == (count, GRID, GRID)
            and self.quality.shape == self.positive.shape == (count,)
            and self.ranges.shape == (*self.best.shape, 2)
        ):
            raise ValueError("arrays that do not fit each other")


def answers_on(sweep: Sweep, model: Predictor) -> Answers:
    """What a segmentation model says of the frames of a sweep that are not black."""
    outlines = np.zeros((sweep.frame_count, GRID, GRID), np.uint8)
    record = assess(sweep, cast(Predictor, _Overheard(model, outlines))).record
    grid = SquareGrid(sweep.frames.shape[1], sweep.frames.shape[2], GRID)
    lit = np.flatnonzero(~sweep.padding)
    frames: list[dict[str, Any]] = [record["frames"][number] for number in lit]
    best = [NOWHERE if part["best"] is None else part["best"] for part in record["sweeps"]]
    return Answers(
        squares=grid.to_square(sweep.frames[lit]).numpy(),
        outlines=outlines[lit],
        quality=np.array([frame["quality"] for frame in frames], np.float32),
        positive=np.array([bool(frame["positive"]) for frame in frames], bool),
        ranges=np.searchsorted(lit, np.array(sweep.ranges, np.int64)),
        best=np.array([one if one == NOWHERE else np.searchsorted(lit, one) for one in best], np.int64),
    )


class _Overheard:
    """A predictor whose probabilities are kept as well as used; see ``Answers.outlines``."""

    def __init__(self, predictor: Predictor, outlines: np.ndarray) -> None:
        self._predictor, self._outlines = predictor, outlines

    def __getattr__(self, name: str) -> Any:
        return getattr(self._predictor, name)

    def predict(self, frames: np.ndarray, indices: np.ndarray) -> Iterator[ChunkPrediction]:
        threshold = self._predictor.card.threshold.probability
        for chunk in self._predictor.predict(frames, indices):
            assert chunk.probabilities is not None
            with reading(chunk.probabilities.device, chunk.computed):
                probabilities = on_host(chunk.probabilities).float()
            if probabilities.shape[-1] != GRID:
                probabilities = functional.interpolate(probabilities[:, None], (GRID, GRID), mode="bilinear")[:, 0]
            yes, no = probabilities * (1 - threshold), (1 - probabilities) * threshold
            self._outlines[chunk.indices] = (255 * yes / (yes + no)).round().byte().numpy()
            yield chunk


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
        stored = _read(file)
        if stored is not None:
            return stored
        made = self._made(source, step)
        archive = io.BytesIO()
        np.savez_compressed(archive, **vars(made))
        with atomic_path(file) as temporary:
            temporary.write_bytes(archive.getvalue())
        return made

    def each(
        self, sources: Sequence[Source], step: int, progress: Callable[[int, int], None]
    ) -> Iterator[Answers]:
        """On one case after the other; ``progress`` is told (cases done, cases in all)."""
        for number, source in enumerate(sources):
            yield self.answers(source, step)
            progress(number + 1, len(sources))

    def _made(self, source: Source, step: int) -> Answers:
        sweep = source.sweep(step)
        if not len(sweep.frames) or bool(sweep.padding.all()):
            raise SweepError(f"{source.name}: every frame is black padding; leave this case out")
        return answers_on(sweep, self._teacher)


def _read(file: Path) -> Answers | None:
    try:
        with np.load(file, allow_pickle=False) as stored:
            return Answers(**{name: stored[name] for name in Answers.__dataclass_fields__})
    except (OSError, ValueError, KeyError, EOFError, BadZipFile):
        return None  # never made, or damaged: it is made again
