"""Selection of example frames for a report: typical outlines, and the worst errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from fetaliqa.datasets.labelled_data import LabelledCase, LabelledData
from fetaliqa.evaluation.frame_scorers import FrameScorer
from fetaliqa.evaluation.frame_table import FrameTable
from fetaliqa.measure.square_grid import SquareGrid


@dataclass(frozen=True, eq=False)
class Example:
    """A frame with predicted and reference outline.

    Attributes:
        case_id, frame, sweep, grade, score, positive: as in the frame table.
        dice: Dice on the square grid; None without a reference outline or without a segmentation model.
        image: uint8 [H, W].
        truth: bool [H, W], the reference outline, including suboptimal planes.
        predicted: bool [H, W], pixels above the threshold; None without a segmentation model.
    """

    case_id: str
    frame: int
    sweep: int
    grade: int
    score: float
    positive: bool
    dice: float | None
    image: np.ndarray
    truth: np.ndarray
    predicted: np.ndarray | None


@dataclass(frozen=True)
class Examples:
    """Example frames by kind.

    Attributes:
        missed: positive frames with the lowest Dice (without masks: the lowest score), worst first.
        invented: false positive frames, highest score first.
        typical: true positive frames, evenly over the range of Dice (or score), worst first.
    """

    missed: tuple[Example, ...]
    invented: tuple[Example, ...]
    typical: tuple[Example, ...]


def choose_examples(
    scorer: FrameScorer, data: LabelledData, case_ids: Sequence[str], table: FrameTable, *, count: int = 6
) -> Examples:
    """Select frames from a frame table, then read and predict them again.

    Args:
        scorer: the model that made the table.
        data: the data set.
        case_ids: the evaluated cases, indexed by the table's ``case``.
        table: every frame.
        count: largest number of frames of each kind, from different cases where possible.
    """
    masks = scorer.card.task == "segmentation"
    worth = np.nan_to_num(table.dice()) if masks else table.score
    # among frames of equal Dice (0 for all missed ones) the one with the lowest score is the worst
    rising = np.lexsort((table.score, worth))
    falling = np.lexsort((-table.predicted, -table.score))
    selected = {
        "missed": _spread(rising[table.target[rising]], table.case, count),
        "invented": _spread(falling[(table.positive & ~table.target)[falling]], table.case, count),
        "typical": _quantiles(rising[(table.positive & table.target)[rising]], count),
    }
    examples = _read(scorer, data, case_ids, table, sorted({row for rows in selected.values() for row in rows}))
    return Examples(**{kind: tuple(examples[row] for row in rows) for kind, rows in selected.items()})


def _spread(rows: np.ndarray, cases: np.ndarray, count: int) -> list[int]:
    """The first ``count`` rows, in their order, with the first row of each case before any second one."""
    _, first = np.unique(cases[rows], return_index=True)
    distinct = set(np.sort(first)[:count])
    others = [place for place in range(len(rows)) if place not in distinct]
    places = sorted([*distinct, *others[: max(0, count - len(distinct))]])
    return [int(rows[place]) for place in places]


def _quantiles(rows: np.ndarray, count: int) -> list[int]:
    places = np.unique(np.linspace(0, len(rows) - 1, count).round().astype(int)) if len(rows) else []
    return [int(rows[place]) for place in places]


def _read(
    scorer: FrameScorer, data: LabelledData, case_ids: Sequence[str], table: FrameTable, rows: Sequence[int]
) -> dict[int, Example]:
    examples: dict[int, Example] = {}
    for number in sorted({int(table.case[row]) for row in rows}):
        case_rows = [row for row in rows if table.case[row] == number]
        case = data.read(case_ids[number])
        predicted = _outlines(scorer, case, table.frame[case_rows])
        for place, row in enumerate(case_rows):
            examples[row] = _example(case, table, row, None if predicted is None else predicted[place])
    return examples


def _outlines(scorer: FrameScorer, case: LabelledCase, frames: np.ndarray) -> np.ndarray | None:
    probabilities = scorer.predict(case.frames[frames]).probabilities
    if probabilities is None:
        return None
    grid = SquareGrid(case.frames.shape[1], case.frames.shape[2], scorer.image_size)
    return grid.masks_to_native(probabilities, scorer.card.threshold.probability) != 0


def _example(case: LabelledCase, table: FrameTable, row: int, predicted: np.ndarray | None) -> Example:
    frame = int(table.frame[row])
    compared = predicted is not None and bool(table.target[row])
    return Example(
        case_id=case.case_id,
        frame=frame,
        sweep=int(table.sweep[row]),
        grade=int(table.grade[row]),
        score=float(table.score[row]),
        positive=bool(table.positive[row]),
        dice=float(np.nan_to_num(table.dice()[row])) if compared else None,
        image=case.frames[frame],
        truth=case.masks[frame] != 0,
        predicted=predicted,
    )
