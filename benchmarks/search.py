"""Recall of the best-frame search and of screening, and the frames they assess, on synthetic phantoms.

Assesses every frame of phantom cases with a bundle, then replays the search on those qualities, so that both say
the same of a frame: without a student, and with one where there is one. A sweep counts as found when the frame
that is offered is at most 0.01 worse than the one that a whole assessment offers, or neither offers one. What a
whole assessment offers may be a false alarm of the model; sweeps whose best frame shows the anatomy in truth are
counted apart. Screening (``score --screen``) is replayed likewise, where the student is made for it: how many of
the frames that a whole assessment outlines it finds, and of those that show the anatomy in truth. Development
(step, rise, budget) used seeds 70000 to 70006; students learn from phantoms of seeds from 80000 on.

    python benchmarks/search.py [--cases 8] [--seed 72000] [--model demo] [--student DIR]
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import numpy as np
from tqdm import tqdm

Row = tuple[Any, bool]  # a Replay, and whether the sweep's best frame shows the anatomy in truth


def looked_at(choice: Any, frames: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    """Fields of the frames that a search or screening of a case assesses, by number."""
    seen: dict[int, dict[str, Any]] = {}
    while len(wanted := choice.wanted(seen)):
        seen |= {int(frame): frames[frame] for frame in wanted}
    return seen


def searched(sweep: Any, record: dict[str, Any], shows: np.ndarray, student: Any) -> list[Row]:
    """What a search makes of each sweep of a case.

    Args:
        sweep: the case.
        record: its whole assessment.
        shows: bool [T], where the anatomy is in truth.
        student: to search with; None: without.
    """
    from fetaliqa.inference.case_search import CaseSearch
    from fetaliqa.lab.distillation.search_limits import Replay, is_found
    from fetaliqa.measure import rank_frames

    frames, lit = record["frames"], np.flatnonzero(~sweep.padding)
    search = CaseSearch(sweep, lit, student)
    seen = looked_at(search, frames)
    quality, positive = np.full(len(frames), np.nan), np.zeros(len(frames), bool)
    for frame, answer in {**search.guesses(seen), **seen}.items():
        quality[frame], positive[frame] = answer["quality"], bool(answer["positive"])
    quality_list = [frame["quality"] for frame in frames]
    rows = []
    for whole, part in zip(record["sweeps"], rank_frames(quality, positive, sweep.ranges).sweeps):
        best = whole["best"]
        numbers = [int(frame) for frame in lit if part.start <= frame < part.stop]
        looked = sum(frame in seen for frame in numbers)
        replay = Replay(len(numbers), looked, best, is_found(best, part.best, quality_list))
        rows.append((replay, best is not None and bool(shows[best])))
    return rows


def screened(sweep: Any, record: dict[str, Any], shows: np.ndarray, student: Any) -> list[tuple[Any, Any]]:
    """What screening makes of each sweep of a case: of all frames that are outlined, and of the right ones."""
    from fetaliqa.inference.case_screen import CaseScreen
    from fetaliqa.lab.distillation.screening_replay import ScreenReplay

    frames, lit = record["frames"], np.flatnonzero(~sweep.padding)
    seen = looked_at(CaseScreen(sweep, lit, student), frames)
    rows = []
    for start, stop in sweep.ranges:
        numbers = [int(frame) for frame in lit if start <= frame < stop]
        looked = [frame for frame in numbers if frame in seen]
        outlined = [frame for frame in numbers if frames[frame]["positive"]]
        right = [frame for frame in outlined if shows[frame]]
        rows.append(
            tuple(
                ScreenReplay(len(numbers), len(looked), len(asked), len(set(asked) & set(looked)))
                for asked in (outlined, right)
            )
        )
    return rows


def screening_summary(rows: list[tuple[Any, Any]]) -> dict[str, Any]:
    """Figures of screening over all sweeps."""
    from fetaliqa.lab.distillation.screening_replay import screening_figures

    right = screening_figures([one for _, one in rows])
    return {
        **screening_figures([one for one, _ in rows]),
        "positive_frames_that_show_the_anatomy": right["positive_frames"],
        "found_of_these": right["found"],
    }


def search_summary(rows: list[Row]) -> dict[str, Any]:
    """Figures of a search over all sweeps."""
    from fetaliqa.lab.distillation.search_limits import figures

    true = [replay.found for replay, shows in rows if shows]
    return {
        **figures([replay for replay, _ in rows]),
        "sweeps_whose_best_frame_shows_the_anatomy": len(true),
        "found_of_these": sum(true),
    }


def main() -> int:
    """Assess, search, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=8)
    parser.add_argument("--seed", type=int, default=72_000)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--student", default="auto", help="folder, none, or auto: the bundle's (default)")
    args = parser.parse_args()

    from fetaliqa.inference import Predictor, assess
    from fetaliqa.inference.student import open_student
    from fetaliqa.lab.phantom.phantom_excerpt import subsampled_phantom
    from fetaliqa.model import Bundle
    from fetaliqa.registry.model_store import resolve_bundle
    from fetaliqa.sweep import sweep_from_array

    bundle = Bundle.open(resolve_bundle(args.model))
    student = open_student(args.student, bundle)
    predictor = Predictor(bundle)
    ways = {"without a student": None} | ({} if student is None else {"with a student": student})
    rows: dict[str, list[Row]] = {name: [] for name in ways}
    screens = student is not None and student.limits.screen_floor is not None
    screen_rows: list[tuple[Any, Any]] = []
    for seed in tqdm(range(args.seed, args.seed + args.cases), desc="cases", disable=None):
        case = subsampled_phantom(seed, 1).case
        sweep = sweep_from_array(case.frames, case.spacing, sweeps=case.ranges, case_id=case.case_id)
        record = assess(sweep, predictor).record
        shows = case.masks.any(axis=(1, 2))
        for name, screen in ways.items():
            rows[name] += searched(sweep, record, shows, screen)
        if screens:
            screen_rows += screened(sweep, record, shows, student)
    data = f"synthetic phantoms {args.seed} to {args.seed + args.cases - 1}, model {args.model}"
    result: dict[str, Any] = {"data": data, **{name: search_summary(outcomes) for name, outcomes in rows.items()}}
    if screens:
        result["screening"] = screening_summary(screen_rows)
    print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
