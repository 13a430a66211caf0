"""Teacher outputs for the frames of a case, cached on disk so that a killed run resumes without recomputing."""

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
HALF = 127  # a pixel with an outline probability times 255 above this is inside
NO_FRAME = -1  # best frame of a sweep without one


@dataclass(frozen=True, eq=False)
class Answers:
    """A model's outputs for a case, without black slots.

    Attributes:
        squares: uint8 [N, 224, 224], the frames.
        outlines: uint8 [N, 224, 224], probability of the outline times 255, rescaled in odds so that the model's
            threshold lies at one half.
        quality: float32 [N].
        positive: bool [N].
        ranges: int [S, 2], half-open frame range of each sweep.
        best: int [S], best frame of each sweep, or ``NO_FRAME``.
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
            raise ValueError("arrays of different lengths")


def answers_on(sweep: Sweep, model: Predictor) -> Answers:
    """Outputs of a segmentation model for the frames of a sweep that are not black."""
    outlines = np.zeros((sweep.frame_count, GRID, GRID), np.uint8)
    record = assess(sweep, cast(Predictor, _RecordingPredictor(model, outlines))).record
    grid = SquareGrid(sweep.frames.shape[1], sweep.frames.shape[2], GRID)
    lit = np.flatnonzero(~sweep.padding)
    frames: list[dict[str, Any]] = [record["frames"][number] for number in lit]
    best = [NO_FRAME if part["best"] is None else part["best"] for part in record["sweeps"]]
    return Answers(
        squares=grid.to_square(sweep.frames[lit]).numpy(),
        outlines=outlines[lit],
        quality=np.array([frame["quality"] for frame in frames], np.float32),
        positive=np.array([bool(frame["positive"]) for frame in frames], bool),
        ranges=np.searchsorted(lit, np.array(sweep.ranges, np.int64)),
        best=np.array([one if one == NO_FRAME else np.searchsorted(lit, one) for one in best], np.int64),
    )


class _RecordingPredictor:
    """A predictor that also records its probabilities; see ``Answers.outlines``."""

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
    """A cache folder of the outputs of one teacher.

    Args:
        folder: for all teachers; made on first write.
        teacher: the model.
    """

    def __init__(self, folder: Path, teacher: Predictor) -> None:
        self._folder = Path(folder) / teacher.fingerprint[:FINGERPRINT_DIGITS]
        self._teacher = teacher

    def answers(self, source: Source, step: int) -> Answers:
        """Outputs for every ``step``-th frame of a case.

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
        """Outputs case by case; ``progress`` is called with (cases done, cases in all)."""
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
        return None  # missing or damaged: it is computed again
