"""Agreement of a distilled model with its teacher on held-out cases."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from fetaliqa.evaluation.acouslic_metrics import TOLERANCE_FRAMES
from fetaliqa.evaluation.frame_metrics import FrameMetrics, dice, frame_metrics
from fetaliqa.lab.distillation.teacher_outputs import HALF, NO_FRAME, Answers


def agreement(cases: Iterable[tuple[Answers, Answers]]) -> dict[str, Any]:
    """Compare the outputs of teacher and distilled model on whole cases.

    Args:
        cases: (teacher, distilled) of each.

    Returns:
        JSON values: mean Dice of the outlines over frames positive by the teacher (a missed one counts 0);
        precision and recall of positive frames; of the sweeps with a best frame by the teacher, how many have the
        distilled model's within 15 frames of it; of the other sweeps, how many have one by the distilled model.
        An undefined figure is None.
    """
    frames = FrameMetrics(0, 0, 0, 0)
    dices: list[float] = []
    count = with_best = near = empty = offered = 0
    for teacher, distilled in cases:
        count += 1
        frames += frame_metrics(distilled.positive, teacher.positive)
        for frame in np.flatnonzero(teacher.positive):
            dices.append(dice(distilled.outlines[frame] > HALF, teacher.outlines[frame] > HALF))
        has, finds = teacher.best != NO_FRAME, distilled.best != NO_FRAME
        close = np.abs(distilled.best - teacher.best) <= TOLERANCE_FRAMES
        with_best += int(has.sum())
        near += int((has & finds & close).sum())
        offered += int((~has & finds).sum())
        empty += int((~has).sum())
    return {
        "cases": count,
        "frames": sum((frames.true_positive, frames.false_positive, frames.false_negative, frames.true_negative)),
        "positive_frames": frames.true_positive + frames.false_negative,
        "dice_mean": round(float(np.mean(dices)), 4) if dices else None,
        "precision": _rounded(frames.precision),
        "recall": _rounded(frames.recall),
        "sweeps_with_a_best_frame": with_best,
        "best_within_15": near,
        "sweeps_without_a_best_frame": empty,
        "best_offered_there": offered,
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
