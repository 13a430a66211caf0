"""Label statistics over many phantom cases, without rendering."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from fetaliqa.lab.phantom.phantom_case import draw_plan, frame_ranges
from fetaliqa.lab.phantom.phantom_settings import PhantomSettings
from fetaliqa.lab.phantom.phantom_truth import OPTIMAL, SUBOPTIMAL

# The same figures over the 300 ACOUSLIC-AI training cases
REAL: dict[str, Any] = {
    "annotated_share": 0.026,
    "runs_per_ac_sweep": 1.36,
    "run_length_50_90_max": [7, 16, 32],
    "slot_5_50_95": [17, 54, 91],
    "cases_by_ac_count": [0.423, 0.360, 0.167, 0.050],
    "ac_share_by_sweep": [0.790, 0.450, 0.300, 0.103, 0.157, 0.043],
    "cases_with_optimal": 0.623,
    "cases_with_suboptimal": 0.907,
    "optimal_frames_per_case": 7.1,
    "suboptimal_frames_per_case": 14.9,
    "ac_mean_sd_min_max": [232.0, 45.1, 140.9, 350.6],
    "ac_spread_within_case_50_95": [0.047, 0.143],
}


def label_statistics(
    cases: int, seed: int, settings: PhantomSettings | None = None, progress: Callable[[int], None] | None = None
) -> dict[str, Any]:
    """Statistics of the labels of ``cases`` cases (about 20 ms each), with the keys of ``REAL``."""
    settings = settings or PhantomSettings()
    optimal, suboptimal, counts = [], [], np.zeros(settings.sweeps + 1)
    runs: list[int] = []
    slots: list[int] = []
    circumferences: list[float] = []
    spreads: list[float] = []
    by_sweep = np.zeros(settings.sweeps)
    for index in range(cases):
        plan = draw_plan(seed * 1_000_003 + index, settings)
        grades = [truth.grade for truth in plan.truths]
        optimal.append(sum(int((g == OPTIMAL).sum()) for g in grades))
        suboptimal.append(sum(int((g == SUBOPTIMAL).sum()) for g in grades))
        for grade in grades:
            runs += [stop - start for start, stop in frame_ranges(grade > 0, 1)]
            slots += np.flatnonzero(grade).tolist()
        values = [truth.ac_mm for truth in plan.truths]
        by_sweep += [value is not None for value in values]
        present = [value for value in values if value is not None]
        counts[len(present)] += 1
        circumferences += present
        if len(present) > 1:
            spreads.append((max(present) - min(present)) / float(np.mean(present)))
        if progress is not None:
            progress(index + 1)
    return {
        "annotated_share": (sum(optimal) + sum(suboptimal)) / (cases * settings.frame_count),
        "runs_per_ac_sweep": len(runs) / by_sweep.sum(),
        "run_length_50_90_max": [float(v) for v in np.percentile(runs, [50, 90, 100])],
        "slot_5_50_95": [float(v) for v in np.percentile(slots, [5, 50, 95])],
        "cases_by_ac_count": [float(v) for v in counts[1:5] / cases],
        "ac_share_by_sweep": [float(v) for v in by_sweep / cases],
        "cases_with_optimal": float(np.mean(np.array(optimal) > 0)),
        "cases_with_suboptimal": float(np.mean(np.array(suboptimal) > 0)),
        "optimal_frames_per_case": float(np.mean(optimal)),
        "suboptimal_frames_per_case": float(np.mean(suboptimal)),
        "ac_mean_sd_min_max": [float(f(circumferences)) for f in (np.mean, np.std, np.min, np.max)],
        "ac_spread_within_case_50_95": [float(v) for v in np.percentile(spreads or [0.0], [50, 95])],
    }
