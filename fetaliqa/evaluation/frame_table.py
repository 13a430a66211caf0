"""Frame tables: one row per labelled frame, with the model's output and the reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
import torch

from fetaliqa.datasets.labelled_data import LabelledCase, LabelledData
from fetaliqa.evaluation.frame_scorers import BundleScorer, FrameAnswers, FrameScorer
from fetaliqa.inference.chunk_prediction import TORCH, ChunkPrediction
from fetaliqa.measure.square_grid import SquareGrid
from fetaliqa.model.interval_file import Intervals
from fetaliqa.sweep.sweep_ranges import black_slots

Labels = Literal["any", "optimal"]
CaseProgress = Callable[[float, int], None]  # (cases done, with the share of the one being read; cases in all)
CHUNK = 64  # frames; bounds the probabilities held at a time to 13 MB on a 224 grid

__all__ = ["BundleScorer", "CaseReader", "FrameScorer", "FrameTable", "Labels", "collect", "join_tables"]


@dataclass(frozen=True, eq=False)
class FrameTable:
    """Columns over labelled frames without padding, each [N].

    Attributes:
        case: int, index into the list of evaluated cases.
        frame: int, frame number in the case.
        sweep: int, 0-based sweep that holds the frame.
        grade: uint8; 0 nothing to outline, 1 optimal plane, 2 suboptimal plane.
        measured: bool; the sweep has a reference circumference.
        target: bool; the frame is positive in the reference.
        score: float in [0, 1].
        positive: bool; the model predicts it as positive.
        predicted: int, foreground pixels on the square grid; all 0 without masks, as the next two.
        truth: int, pixels of the true mask on the square grid.
        both: int, pixels in both masks.
    """

    case: np.ndarray
    frame: np.ndarray
    sweep: np.ndarray
    grade: np.ndarray
    measured: np.ndarray
    target: np.ndarray
    score: np.ndarray
    positive: np.ndarray
    predicted: np.ndarray
    truth: np.ndarray
    both: np.ndarray

    def __len__(self) -> int:
        return len(self.case)

    def select(self, rows: np.ndarray) -> FrameTable:
        """The rows selected by a boolean mask [N] or by their numbers (int)."""
        return replace(self, **{column.name: getattr(self, column.name)[rows] for column in fields(self)})

    def dice(self) -> np.ndarray:
        """Dice of each frame on the square grid, float [N]; NaN where neither mask has a pixel."""
        total = self.predicted + self.truth
        return np.divide(2.0 * self.both, total, out=np.full(len(self), np.nan), where=total > 0)


def join_tables(tables: Sequence[FrameTable]) -> FrameTable:
    """All rows of several tables, in order.

    Raises:
        ValueError: without a table.
    """
    if not tables:
        raise ValueError("no tables to join")
    columns = [column.name for column in fields(FrameTable)]
    return FrameTable(*(np.concatenate([getattr(table, name) for table in tables]) for name in columns))


def target_masks(masks: np.ndarray, grades: np.ndarray, labels: Labels) -> np.ndarray:
    """Target masks bool [n, H, W], from label masks [n, H, W] and their frames' grades [n].

    With ``labels="optimal"`` a suboptimal frame is negative, with an empty mask; on an optimal frame all labelled
    pixels count, whatever their label, as in the ACOUSLIC-AI challenge.
    """
    return (masks != 0) & target_frames(grades, labels)[:, None, None]


def target_frames(grades: np.ndarray, labels: Labels) -> np.ndarray:
    """Positive frames: bool [n] from grades [n]."""
    return grades == 1 if labels == "optimal" else grades > 0


class CaseReader:
    """Predicts frames of one case once, and collects a table row for each.

    It replaces a ``Predictor`` in an assessment, so that a case is predicted once for assessment and table.
    """

    threads, device, runtime = 0, "cpu", TORCH
    intervals = Intervals()  # evaluations need none

    def __init__(
        self, scorer: FrameScorer, case: LabelledCase, number: int, labels: Labels, progress: CaseProgress | None
    ) -> None:
        self.card = scorer.card
        self.image_size = scorer.image_size
        self.is_segmentation = scorer.card.task == "segmentation"
        self.padding = black_slots(case.frames)
        self._scorer = scorer
        self._case = case
        self._number = number
        self._labels: Labels = labels
        self._grades = case.grades()
        self._measured = case.measured()
        self._sweeps = np.full(len(case.frames), -1)
        for sweep, (start, stop) in enumerate(case.ranges):
            self._sweeps[start:stop] = sweep
        self._grid = SquareGrid(case.frames.shape[1], case.frames.shape[2], self.image_size)
        self._progress = progress
        self._tables: list[FrameTable] = []
        self._done = self.padding.copy()

    def predict(self, frames: np.ndarray, indices: np.ndarray) -> Iterator[ChunkPrediction]:
        """Like ``Predictor.predict``, for the case's own frames."""
        for start in range(0, len(indices), CHUNK):
            chunk = np.asarray(indices[start : start + CHUNK])
            outputs = self._scorer.predict(frames[chunk])
            self._tables.append(self._rows(chunk, outputs))
            self._done[chunk] = True
            if self._progress is not None:
                self._progress(float(self._done.mean()), 1)
            scores = outputs.scores if outputs.probabilities is None else None
            yield ChunkPrediction(chunk, outputs.probabilities, scores, signals=outputs.signals)

    def table(self) -> FrameTable:
        """Rows of all labelled frames; the remaining ones are predicted first."""
        remaining = np.flatnonzero(self._case.known & ~self._done)
        for _ in self.predict(self._case.frames, remaining):
            pass
        if not self._tables:
            none = np.empty(0, int)
            self._tables.append(self._rows(none, FrameAnswers(np.empty(0), np.empty(0, bool))))
        table = join_tables(self._tables)
        table = table.select(self._case.known[table.frame])
        return table.select(np.unique(table.frame, return_index=True)[1])

    def _rows(self, chunk: np.ndarray, outputs: FrameAnswers) -> FrameTable:
        predicted, truth, both = self._pixels(chunk, outputs.probabilities)
        return FrameTable(
            case=np.full(len(chunk), self._number),
            frame=chunk,
            sweep=self._sweeps[chunk],
            grade=self._grades[chunk],
            measured=self._measured[chunk],
            target=target_frames(self._grades[chunk], self._labels),
            score=outputs.scores.astype(np.float64),
            positive=outputs.positive.astype(bool),
            predicted=predicted,
            truth=truth,
            both=both,
        )

    def _pixels(self, chunk: np.ndarray, probabilities: torch.Tensor | None) -> tuple[np.ndarray, ...]:
        """Pixel counts on the square grid: predicted, truth, both; int [n] each."""
        predicted, truth, both = (np.zeros(len(chunk), np.int64) for _ in range(3))
        if probabilities is None:
            return predicted, truth, both
        foreground = probabilities > self.card.threshold.probability
        predicted[:] = foreground.sum(dim=(1, 2)).cpu().numpy()
        # most frames are negative: only positive ones are resampled
        targets = np.flatnonzero(target_frames(self._grades[chunk], self._labels))
        if len(targets):
            masks = target_masks(self._case.masks[chunk[targets]], self._grades[chunk[targets]], self._labels)
            on_grid = torch.from_numpy(self._grid.mask_to_square(masks)).to(foreground.device) != 0
            truth[targets] = on_grid.sum(dim=(1, 2)).cpu().numpy()
            both[targets] = (on_grid & foreground[torch.from_numpy(targets)]).sum(dim=(1, 2)).cpu().numpy()
        return predicted, truth, both


def collect(
    model: FrameScorer,
    data: LabelledData,
    case_ids: Sequence[str],
    labels: Labels = "any",
    progress: CaseProgress | None = None,
    visit: Callable[[LabelledCase, CaseReader], object] | None = None,
) -> FrameTable:
    """Score every labelled frame of the cases, reading one case at a time.

    Args:
        model: the model.
        data: the data set.
        case_ids: cases to score; a row's ``case`` is an index into this.
        labels: whether suboptimal planes count as positive (``any``) or not (``optimal``).
        progress: called with the cases done, including a fraction of the current one, and their number.
        visit: called with each case before its table is completed; predictions through the reader are reused.

    Raises:
        ValueError: without cases.
        NotFoundError, SweepError: when a case is missing or cannot be read.
    """
    tables = []
    for number, case_id in enumerate(case_ids):
        case = data.read(case_id)
        reader = CaseReader(model, case, number, labels, _shifted(progress, number, len(case_ids)))
        if visit is not None:
            visit(case, reader)
        tables.append(reader.table())
        if progress is not None:
            progress(number + 1, len(case_ids))
    return join_tables(tables)


def _shifted(progress: CaseProgress | None, number: int, total: int) -> CaseProgress | None:
    return None if progress is None else lambda share, _: progress(number + min(share, 0.999), total)
