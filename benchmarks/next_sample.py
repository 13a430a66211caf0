"""Latency of the next sample with 300 scored cases of 840 frames, on generated profiles and labels.

The queue is asked as the server asks it: profiles in memory, labels and leases on disk. Prints milliseconds of
the first answer (``refresh`` included, which a server does when it starts) and of those after it, by strategy and
by how many cases have a label.

    python benchmarks/next_sample.py [--cases 300] [--repeats 20]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from tqdm import tqdm

from fetaliqa.active.annotation_queue import LabelQueue
from fetaliqa.active.frame_profiles import CaseProfile, ProfileFolder
from fetaliqa.active.strategies import STRATEGIES
from fetaliqa.inference.frame_profile import EMBEDDING_SIZE, FrameProfile
from fetaliqa.labels import FrameLabel, FrameRecord, LabelStore
from fetaliqa.labels.label_store import FOLDER

MODEL = "0" * 64
SWEEPS, SLOTS = 6, 140


def profile(case: str, random: np.random.Generator) -> CaseProfile:
    """A case whose frames drift through appearance and in and out of the anatomy."""
    count = SWEEPS * SLOTS
    presence = np.clip(np.convolve(random.random(count), np.ones(20) / 20, "same") * 3 - 1.2, 0, 1)
    drift = 0.1 * np.cumsum(random.standard_normal((count, EMBEDDING_SIZE)), axis=0)
    return CaseProfile(
        case,
        tuple((sweep * SLOTS, (sweep + 1) * SLOTS) for sweep in range(SWEEPS)),
        random.random(count).astype(np.float32),
        presence > 0.5,
        FrameProfile(
            np.arange(count, dtype=np.int32),
            presence.astype(np.float32),
            random.random(count).astype(np.float32),
            (drift + random.standard_normal(EMBEDDING_SIZE)).astype(np.float16),
        ),
    )


def label(store: LabelStore, case: str, frames: np.ndarray, mask: Path) -> None:
    """A label with a record of every frame, as the Slicer module saves it."""
    record = {int(frame): FrameLabel("empty", rater="anna") for frame in frames}
    rest = {frame: FrameLabel("proposed") for frame in range(SWEEPS * SLOTS) if frame not in record}
    store.save(case, "final", mask, FrameRecord({**record, **rest}), {})


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=300)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    random = np.random.default_rng(0)
    names = [f"case-{number:03d}" for number in range(args.cases)]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        studies = Path(name)
        folder, store = ProfileFolder(studies, MODEL), LabelStore(studies / FOLDER)
        mask = studies / "mask.nii.gz"
        sitk.WriteImage(sitk.GetImageFromArray(np.zeros((SWEEPS * SLOTS, 8, 8), np.uint8)), str(mask))
        for case in tqdm(names, desc="profiles", disable=None):
            folder.write(profile(case, random))
        done = 0
        for share in (0.0, 0.1, 0.5):
            for case in tqdm(names[done : round(share * len(names))], desc="labels", disable=None):
                label(store, case, random.choice(SWEEPS * SLOTS, 12, replace=False), mask)
            done = max(done, round(share * len(names)))
            queue = LabelQueue(studies)
            started = time.perf_counter()
            queue.refresh(names, MODEL)
            loading = time.perf_counter() - started
            for strategy in STRATEGIES:
                seconds = []
                for _ in range(args.repeats):
                    started = time.perf_counter()
                    queue.offer(names, strategy, "anna", MODEL)
                    seconds.append(time.perf_counter() - started)
                rows.append(
                    {
                        "labelled_cases": done,
                        "strategy": strategy,
                        "refresh_ms": round(1000 * loading),
                        "first_ms": round(1000 * seconds[0]),
                        "median_ms": round(1000 * float(np.median(seconds[1:]))),
                        "worst_ms": round(1000 * max(seconds[1:])),
                    }
                )
    if args.json:
        print(json.dumps(rows))
        return
    for row in rows:
        print("  ".join(f"{key} {value}" for key, value in row.items()))


if __name__ == "__main__":
    main()
