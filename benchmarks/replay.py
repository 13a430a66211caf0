"""Effect of replay on forgetting: retraining on 20 corrections of one unusual case, with and without replay.

    python benchmarks/replay.py --work DIR        # about 10 minutes on two idle cores

The demo model is retrained (quick mode) on 20 confirmed frames of one phantom case whose grey values are turned
inverted; a second such case validates. Then it is measured on phantom cases of the demo's test
seeds, which neither training saw, and on other turned cases. All figures are of synthetic phantoms.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np
import SimpleITK as sitk

ODD_SEEDS = (60_000, 60_001)  # trained on, validated on
ODD_TEST = range(60_010, 60_014)
CORRECTIONS = 20


def odd(frames: np.ndarray) -> np.ndarray:
    """Grey values turned round inside of the sector."""
    return np.where(frames > 0, 255 - frames, 0).astype(np.uint8)


def turned(seeds):
    """Sampled phantoms with turned grey values."""
    from dataclasses import dataclass, replace

    from fetaliqa.lab.phantom.phantom_data import SampledPhantoms
    from fetaliqa.retraining.replay import VALIDATION_FRAMES

    @dataclass
    class Turned(SampledPhantoms):
        def read(self, case_id):
            case = super().read(case_id)
            return replace(case, frames=odd(case.frames))

    return Turned(tuple(seeds), VALIDATION_FRAMES)


def write_confirmed(
    folder: Path, name: str, frames: np.ndarray, masks: np.ndarray, spacing: tuple[float, float]
) -> None:
    """A case of a folder of studies and its label, of which every frame is confirmed."""
    for place, stack in (("images", frames), ("labels", masks)):
        (folder / place).mkdir(parents=True, exist_ok=True)
        image = sitk.GetImageFromArray(stack)
        image.SetSpacing((*spacing, 1.0))
        sitk.WriteImage(image, str(folder / place / f"{name}.mha"), useCompression=True)
    states = {str(n): {"state": "annotated" if mask.any() else "empty"} for n, mask in enumerate(masks)}
    (folder / "labels" / f"{name}.frames.json").write_text(json.dumps({"schema": 1, "frames": states}))


def write_studies(folder: Path) -> None:
    """Two turned cases with confirmed frames; the first has exactly 20, half of them with an outline."""
    from fetaliqa.datasets.split_file import Split, write_split
    from fetaliqa.retraining.retraining_paths import split_file

    names = []
    for seed in ODD_SEEDS:
        case = turned([seed]).read(f"phantom-{seed}")
        outlined = np.flatnonzero(case.grades() > 0)[: CORRECTIONS // 2]
        empty = np.flatnonzero(case.grades() == 0)[: CORRECTIONS - len(outlined)]
        chosen = np.sort(np.concatenate([outlined, empty]))
        names.append(f"odd-{seed}")
        write_confirmed(folder, names[-1], case.frames[chosen], case.masks[chosen], case.spacing)
    split_file(folder).parent.mkdir(parents=True)
    write_split(split_file(folder), Split("retraining", "subject", 0, (names[0],), (names[1],), ()))


def main() -> int:
    """Train both ways, measure, print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="folder for studies, runs and candidates")
    parser.add_argument("--test-cases", type=int, default=12)
    parser.add_argument("--mode", default="quick", choices=("quick", "full"))
    args = parser.parse_args()
    os.environ["FETALIQA_HOME"] = str(args.work / "home")

    from fetaliqa.lab.phantom.phantom_data import SampledPhantoms
    from fetaliqa.lab.phantom.phantom_seeds import TEST
    from fetaliqa.model import Bundle
    from fetaliqa.registry.model_store import resolve_bundle
    from fetaliqa.registry.publishing import candidate_folder
    from fetaliqa.retraining.gate import GateGroup, compare
    from fetaliqa.retraining.pipeline import RetrainRequest, retrain
    from fetaliqa.retraining.replay import VALIDATION_FRAMES

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    studies = args.work / "studies"
    if not studies.is_dir():
        write_studies(studies)
    tests = SampledPhantoms(tuple(range(TEST, TEST + args.test_cases)), VALIDATION_FRAMES)
    odds = turned(ODD_TEST)
    groups = [
        GateGroup(name, data, tuple(entry.case_id for entry in data.entries()))
        for name, data in (("original", tests), ("odd", odds))
    ]
    result = {}
    for name, without in (("with-replay", False), ("without-replay", True)):
        request = RetrainRequest(mode=args.mode, bundle="demo", without_replay=without, name=name, publish=False)
        made = retrain(studies, request, say=say)
        candidate = Bundle.open(candidate_folder(name, made["version"]))
        measured = compare(candidate, Bundle.open(resolve_bundle("demo")), groups)
        result[name] = {group: values["figures"] for group, values in measured["groups"].items()}
        result[name]["gate"] = made["sentence"]
        say(json.dumps(result[name], indent=1))
    print(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
