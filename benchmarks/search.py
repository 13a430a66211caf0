"""How often a search finds a sweep's best frame, and how many frames it looks at, on synthetic phantoms.

Assesses every frame of phantom cases with a bundle, then replays the search on those qualities, so that both
say the same of a frame. A sweep counts as found when the frame that is offered is at most 0.01 worse than the one
that a whole assessment offers, or neither offers one. What a whole assessment offers may be a false alarm of the
model; sweeps whose best frame shows the anatomy in truth are counted apart. Development (step, rise, budget) used
seeds 70000 to 70006.

    python benchmarks/search.py [--cases 8] [--seed 72000] [--model demo]
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

import numpy as np
from tqdm import tqdm

TOLERANCE = 0.01


def searched(record: dict[str, Any], sweep: dict[str, Any], shows: np.ndarray) -> dict[str, Any]:
    """What a search makes of one sweep of a whole assessment; ``shows``: where anatomy is in truth, bool [T]."""
    from fetaliqa.inference.search import SweepSearch, interpolated
    from fetaliqa.quality import rank_frames

    told = [frame for frame in record["frames"][sweep["start"] : sweep["stop"]] if not frame["padding"]]
    search, seen = SweepSearch(np.array([frame["index"] for frame in told])), dict[int, float]()
    quality = {frame["index"]: frame["quality"] for frame in told}
    while wanted := search.wanted(seen):
        seen |= {frame: quality[frame] for frame in wanted}
    known = {**interpolated(search.frames, seen), **seen}
    offered = rank_frames(
        np.array([known[frame["index"]] for frame in told]),
        np.array([bool(frame["positive"]) and frame["index"] in seen for frame in told]),
        [(0, len(told))],
    ).best
    found = None if offered is None else told[offered]["index"]
    whole = sweep["best"]
    if whole is None or found is None:
        same = whole is found
    else:
        same = quality[whole] - quality[found] <= TOLERANCE
    return {
        "frames": len(told),
        "looked_at": len(seen),
        "has_best": whole is not None,
        "shows": whole is not None and bool(shows[whole]),
        "found": same,
    }


def main() -> int:
    """Assess, search, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=8)
    parser.add_argument("--seed", type=int, default=72_000)
    parser.add_argument("--model", default="demo")
    args = parser.parse_args()

    from fetaliqa.datasets.thinned import phantom_case
    from fetaliqa.inference import Predictor, assess
    from fetaliqa.models import Bundle
    from fetaliqa.models.store import resolve_bundle
    from fetaliqa.sweep import sweep_from_array

    predictor = Predictor(Bundle.open(resolve_bundle(args.model)))
    rows = []
    for seed in tqdm(range(args.seed, args.seed + args.cases), desc="cases", disable=None):
        case = phantom_case(seed, 1).case
        sweep = sweep_from_array(case.frames, case.spacing, sweeps=case.ranges, case_id=case.case_id)
        record = assess(sweep, predictor).record
        shows = case.masks.any(axis=(1, 2))
        rows += [searched(record, part, shows) for part in record["sweeps"]]
    with_best, true = ([row for row in rows if row[name]] for name in ("has_best", "shows"))
    looked, frames = (sum(row[name] for row in rows) for name in ("looked_at", "frames"))
    print(
        json.dumps(
            {
                "data": f"synthetic phantoms {args.seed} to {args.seed + args.cases - 1}, model {args.model}",
                "sweeps": len(rows),
                "found": sum(row["found"] for row in rows),
                "sweeps_with_a_best_frame": len(with_best),
                "found_of_those": sum(row["found"] for row in with_best),
                "sweeps_whose_best_frame_shows_the_anatomy": len(true),
                "found_of_these": sum(row["found"] for row in true),
                "share_looked_at": round(looked / frames, 4),
            },
            indent=1,
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
