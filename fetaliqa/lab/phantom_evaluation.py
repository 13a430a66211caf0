"""Evaluation of a model on held-out phantom cases, as for the demo model.

All figures are on synthetic images; they say nothing about patients.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fetaliqa.evaluation.frame_metrics import best_frame_distance, dice, frame_metrics
from fetaliqa.inference import Predictor, assess
from fetaliqa.lab.phantom import PhantomCase, PhantomSettings, generate_case
from fetaliqa.lab.phantom.phantom_seeds import PHANTOM, TEST
from fetaliqa.sweep import Sweep, sweep_from_array

NEAR_FRAMES = 15  # frames; the tolerance of the ACOUSLIC-AI challenge


def phantom_sweep(case: PhantomCase, settings: PhantomSettings) -> Sweep:
    """A generated case as a Sweep."""
    return sweep_from_array(case.frames, case.spacing_mm, sweeps=settings.sweeps, case_id=case.case_id)


def evaluate_on_phantoms(
    predictor: Predictor,
    cases: int,
    done: Callable[[], object] = lambda: None,
    *,
    first_seed: int = TEST,
    settings: PhantomSettings = PHANTOM,
) -> dict[str, Any]:
    """Assess whole held-out cases and compare with the phantom's truth.

    Args:
        predictor: a segmentation model.
        cases: how many cases, of consecutive seeds.
        done: called after each case.

    Returns:
        Frame F1, precision and recall over all non-padded frames; mean Dice over annotated frames (an
        undetected one counts 0); over sweeps with annotated frames: the share whose best frame lies within
        15 frames of an optimal (or, in sweeps without, of a suboptimal) frame, and the AC error there;
        over sweeps without: the share for which a frame was offered all the same.
    """
    predicted, truth, dices = [], [], []
    near, near_optimal, errors, offered, positive_sweeps, empty_sweeps = 0, [], [], 0, 0, 0
    for seed in range(first_seed, first_seed + cases):
        case = generate_case(seed, settings, threads=2)
        sweep = phantom_sweep(case, settings)
        result = assess(sweep, predictor)
        scored = np.flatnonzero(~sweep.padding)
        grades = case.masks.reshape(len(case.masks), -1).max(axis=1)
        predicted.append(np.array([bool(result.record["frames"][frame]["positive"]) for frame in scored]))
        truth.append(grades[scored] > 0)
        dices += [dice(result.masks[frame], case.masks[frame] > 0) for frame in np.flatnonzero(grades)]
        for number, part in enumerate(result.record["sweeps"]):
            ac = case.ac_mm[number]
            if ac is None:
                empty_sweeps += 1
                offered += part["best"] is not None
                continue
            positive_sweeps += 1
            if part["best"] is None:
                near_optimal += [False] if (grades[part["start"] : part["stop"]] == 1).any() else []
                continue
            distance, label = best_frame_distance(part["best"], grades, sweep.ranges)
            within = distance is not None and distance <= NEAR_FRAMES
            near += within
            if label == 1:
                near_optimal.append(within)
            measured = result.record["frames"][part["best"]]["circumference_mm"]
            if measured is not None:
                errors.append(abs(measured - ac) / ac)
        done()
    frames = frame_metrics(np.concatenate(predicted), np.concatenate(truth))
    return {
        "cases": cases,
        "frames": int(sum(len(part) for part in truth)),
        "frame_f1": frames.f1,
        "frame_precision": frames.precision,
        "frame_recall": frames.recall,
        "dice_on_annotated_frames": float(np.mean(dices)),
        "sweeps_with_annotation": positive_sweeps,
        "best_frame_within_15": near / max(positive_sweeps, 1),
        "best_frame_within_15_of_an_optimal_one": float(np.mean(near_optimal)) if near_optimal else None,
        "ac_measured_in_sweeps": len(errors),
        "ac_mean_relative_error": float(np.mean(errors)) if errors else None,
        "sweeps_without_annotation": empty_sweeps,
        "frame_offered_in_empty_sweep": offered / max(empty_sweeps, 1),
    }
