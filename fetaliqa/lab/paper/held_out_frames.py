"""Held-out test frames, prepared once on the model's grid, and the evaluation of models on them.

``frame_table.collect`` reads and resamples whole cases for each model; here dozens of models are evaluated on the
same prepared frames. The resulting rows are the same (a test compares the two).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from fetaliqa.atomic import atomic_path
from fetaliqa.datasets.labelled_data import LabelledData
from fetaliqa.evaluation.bootstrap import draw_cases
from fetaliqa.evaluation.frame_figures import judge
from fetaliqa.evaluation.frame_scorers import frame_scores
from fetaliqa.evaluation.frame_table import FrameTable, Labels, target_frames
from fetaliqa.evaluation.model_evaluation import ALL_SWEEPS, MEASURED_SWEEPS
from fetaliqa.inference.devices import choose_device
from fetaliqa.model import Threshold
from fetaliqa.model.preprocess import model_inputs
from fetaliqa.training.frame_store import FrameStore

BATCH = 64  # frames
Figures = dict[str, dict[str, float | None]]  # by protocol and figure


@dataclass(frozen=True, eq=False)
class HeldOut:
    """All labelled frames of the test part, with or without the black slots that pad sweeps.

    Attributes:
        store: pictures and outlines.
        sweep: int [N], 0-based sweep.
        grade: uint8 [N]; 0 nothing to outline, 1 optimal, 2 suboptimal plane.
        measured: bool [N]; the sweep has a reference circumference.
    """

    store: FrameStore
    sweep: np.ndarray
    grade: np.ndarray
    measured: np.ndarray

    def __len__(self) -> int:
        return len(self.sweep)


def held_out_frames(
    data: LabelledData, case_ids: Sequence[str], store: FrameStore, folder: Path, report: Any
) -> HeldOut:
    """Metadata of each frame of a prepared store, cached in ``folder``.

    Raises:
        SweepError: when a case cannot be read.
    """
    file = folder / f"held-out-{store.key[:24]}.npz"
    if not file.is_file():
        columns: dict[str, list[np.ndarray]] = {"sweep": [], "grade": [], "measured": []}
        for number, case_id in enumerate(case_ids):
            case = data.read(case_id)
            frames = store.numbers[store.frames.cases == number]
            sweeps = np.zeros(len(case.frames), np.int64)
            for sweep, (start, stop) in enumerate(case.ranges):
                sweeps[start:stop] = sweep
            columns["sweep"].append(sweeps[frames])
            columns["grade"].append(case.grades()[frames])
            columns["measured"].append(case.measured()[frames])
            report("look up the test frames' sweeps", number + 1, len(case_ids))
        with atomic_path(file) as temporary, open(temporary, "wb") as written:
            np.savez(written, **{name: np.concatenate(parts) for name, parts in columns.items()})  # type: ignore[arg-type]
    with np.load(file, allow_pickle=False) as held:
        return HeldOut(store, held["sweep"], held["grade"], held["measured"])


@torch.inference_mode()
def judged_tables(
    model: nn.Module,
    held: HeldOut,
    thresholds: Sequence[Threshold],
    labels: Labels,
    *,
    device: str = "auto",
    progress: Any = lambda *_: None,
) -> list[FrameTable]:
    """Predictions of a model for every held-out frame, decided at each threshold.

    Args:
        model: logits [N, 1, S, S] or [N]; moved to the device, left there in eval mode.
        held: the frames.
        thresholds: of outlines (segmentation) and of frames.
        labels: which frames count as positive.
        device: see ``choose_device``.
        progress: called with frames done and in all.
    """
    place = choose_device(device)
    model.to(place).eval()
    scores: list[np.ndarray] = []
    predicted: list[np.ndarray] = []
    truth: list[np.ndarray] = []
    both: list[np.ndarray] = []
    for start in range(0, len(held), BATCH):
        chunk = np.arange(start, min(start + BATCH, len(held)))
        images = torch.from_numpy(np.array(held.store.frames.images[chunk])).to(place)
        probabilities = torch.sigmoid(model(model_inputs(model, images)).float()).cpu()
        if probabilities.ndim == 1:
            scores.append(probabilities.numpy().astype(np.float64))
            for counts in (predicted, both):
                counts.append(np.zeros((len(chunk), len(thresholds)), np.int64))
            truth.append(np.zeros(len(chunk), np.int64))
        else:
            pixels = probabilities[:, 0]
            scores.append(frame_scores(pixels, Threshold().min_foreground_pixels(pixels.shape[-1])))
            wanted = target_frames(held.grade[chunk], labels)[:, None, None]
            outlines = torch.from_numpy(held.store.frames.outlines(chunk).astype(bool) & wanted)
            masks = [pixels > threshold.probability for threshold in thresholds]
            predicted.append(np.stack([mask.sum(dim=(1, 2)).numpy() for mask in masks], axis=1))
            both.append(np.stack([(mask & outlines).sum(dim=(1, 2)).numpy() for mask in masks], axis=1))
            truth.append(outlines.sum(dim=(1, 2)).numpy())
        progress(int(chunk[-1]) + 1, len(held))
    joined = [np.concatenate(parts) for parts in (scores, predicted, truth, both)]
    return [_table(held, labels, threshold, place, *joined) for place, threshold in enumerate(thresholds)]


def _table(
    held: HeldOut,
    labels: Labels,
    threshold: Threshold,
    place: int,
    scores: np.ndarray,
    predicted: np.ndarray,
    truth: np.ndarray,
    both: np.ndarray,
) -> FrameTable:
    return FrameTable(
        case=held.store.frames.cases,
        frame=held.store.numbers,
        sweep=held.sweep,
        grade=held.grade,
        measured=held.measured,
        target=target_frames(held.grade, labels),
        score=scores,
        positive=scores > threshold.frame,
        predicted=predicted[:, place],
        truth=truth,
        both=both[:, place],
    )


def table_figures(table: FrameTable, *, masks: bool) -> Figures:
    """Figures of a table by protocol: on all sweeps, and on those with a reference circumference (the paper's).

    A figure is None where it is undefined, such as recall without a positive frame.
    """
    cases = int(table.case.max()) + 1
    nothing = draw_cases(cases, 0, 0)  # no intervals: spread is over trials here
    parts = {ALL_SWEEPS: table, MEASURED_SWEEPS: table.select(table.measured)}
    return {
        name: {figure: estimate.value for figure, estimate in judge(part, nothing, masks=masks).figures.items()}
        for name, part in parts.items()
        if len(part)
    }
