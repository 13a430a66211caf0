"""How often a search finds a sweep's best frame, and how many frames it looks at, on synthetic phantoms.

Assesses every frame of phantom cases with a bundle, then replays the search on those qualities, so that both say
the same of a frame: without a student, and with one where there is one. A sweep counts as found when the frame
that is offered is at most 0.01 worse than the one that a whole assessment offers, or neither offers one. What a
whole assessment offers may be a false alarm of the model; sweeps whose best frame shows the anatomy in truth are
counted apart. Development (step, rise, budget) used seeds 70000 to 70006; students learn from phantoms of seeds
from 80000 on.

    python benchmarks/search.py [--cases 8] [--seed 72000] [--model demo] [--student DIR]
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from tqdm import tqdm

if TYPE_CHECKING:
    from fetaliqa.inference.search import Search


def sweeps_of(seed: int, predictor: Any, student: Any) -> Iterator[dict[str, Any]]:
    """Of a phantom case: what a whole assessment says of each sweep, and what the student guesses."""
    from fetaliqa.datasets.thinned import phantom_case
    from fetaliqa.inference import assess
    from fetaliqa.sweep import sweep_from_array

    case = phantom_case(seed, 1).case
    sweep = sweep_from_array(case.frames, case.spacing, sweeps=case.ranges, case_id=case.case_id)
    frames = assess(sweep, predictor).record["frames"]
    shows = case.masks.any(axis=(1, 2))
    for start, stop in sweep.ranges:
        lit = np.flatnonzero(~sweep.padding[start:stop]) + start
        yield {
            "quality": np.array([frames[number]["quality"] for number in lit]),
            "positive": np.array([bool(frames[number]["positive"]) for number in lit]),
            "shows": shows[lit],
            "guessed": None if student is None else student.guess(sweep.frames, lit),
        }


def told(searches: list[Search], sweeps: list[dict[str, Any]]) -> dict[str, Any]:
    """Figures of a search over all sweeps."""
    from fetaliqa.distillation.limits import figures, replay

    replays = [replay(search, one["quality"], one["positive"]) for search, one in zip(searches, sweeps)]
    true = [one for one, known in zip(replays, sweeps) if one.best is not None and known["shows"][one.best]]
    return {
        **figures(replays),
        "sweeps_whose_best_frame_shows_the_anatomy": len(true),
        "found_of_these": sum(one.found for one in true),
    }


def main() -> int:
    """Assess, search, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=8)
    parser.add_argument("--seed", type=int, default=72_000)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--student", default="auto", help="folder, none, or auto: the bundle's (default)")
    args = parser.parse_args()

    from fetaliqa.inference import Predictor
    from fetaliqa.inference.search import SweepSearch
    from fetaliqa.models import Bundle
    from fetaliqa.models.store import resolve_bundle
    from fetaliqa.student.folder import open_student
    from fetaliqa.student.search import ScreenedSearch

    bundle = Bundle.open(resolve_bundle(args.model))
    student = open_student(args.student, bundle)
    predictor = Predictor(bundle)
    seeds = tqdm(range(args.seed, args.seed + args.cases), desc="cases", disable=None)
    sweeps = [one for seed in seeds for one in sweeps_of(seed, predictor, student)]
    numbers = [np.arange(len(one["quality"])) for one in sweeps]
    result: dict[str, Any] = {
        "data": f"synthetic phantoms {args.seed} to {args.seed + args.cases - 1}, model {args.model}",
        "without a student": told([SweepSearch(frames) for frames in numbers], sweeps),
    }
    if student is not None:
        limits = student.card.limits
        screened = [ScreenedSearch(frames, one["guessed"], limits) for frames, one in zip(numbers, sweeps)]
        result["with a student"] = told(screened, sweeps)
    print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
