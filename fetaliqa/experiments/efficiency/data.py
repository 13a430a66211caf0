"""Cases of the simulation: every n-th frame of a case, with its truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fetaliqa.atomic import atomic_path
from fetaliqa.datasets.labelled import LabelledCase, LabelledData
from fetaliqa.datasets.phantom import PhantomSettings
from fetaliqa.datasets.phantom.excerpt import excerpt
from fetaliqa.datasets.phantom.generate import CaseRenderer
from fetaliqa.sweep.ranges import black_slots

POOL_SEED, TEST_SEED = 62_000, 63_000  # of phantom cases that nothing else is trained or measured on
SETTINGS = PhantomSettings(scale="half")


@dataclass(frozen=True, eq=False)
class ThinCase:
    """A case of which every n-th frame is kept.

    Attributes:
        case: the frames kept, with masks and sweep ranges of their own counting.
        numbers: int [T], which frames of the whole case they are.
    """

    case: LabelledCase
    numbers: np.ndarray


def phantom_case(seed: int, step: int) -> ThinCase:
    """A phantom case; frames that are not kept are not rendered."""
    renderer = CaseRenderer(seed, SETTINGS)
    chosen = [np.arange(0, plan.length, step) for plan in renderer.plan.sweeps]
    case = excerpt(renderer, chosen, SETTINGS, f"phantom-{seed}")
    # of the whole sweep: thinned ones come close to the plane it was measured on
    case = replace(case, circumferences_mm=tuple(truth.ac_mm for truth in renderer.plan.truths))
    numbers = [sweep * SETTINGS.slots + frames for sweep, frames in enumerate(chosen)]
    return ThinCase(case, np.concatenate(numbers))


def thinned_case(case: LabelledCase, step: int) -> ThinCase:
    """Every n-th known frame that is not black of each sweep of a case.

    Sweeps of which nothing is left are left out.
    """
    usable = case.known & ~black_slots(case.frames)
    numbers, ranges, circumferences, start = [], [], [], 0
    for (first, stop), circumference in zip(case.ranges, case.circumferences_mm):
        kept = np.arange(first, stop)[usable[first:stop]][::step]
        if len(kept):
            numbers.append(kept)
            ranges.append((start, start + len(kept)))
            circumferences.append(circumference)
            start += len(kept)
    chosen = np.concatenate(numbers) if numbers else np.zeros(0, int)
    return ThinCase(
        LabelledCase(
            case.case_id,
            case.subject_id,
            case.frames[chosen],
            case.masks[chosen],
            np.ones(len(chosen), bool),
            case.spacing,
            tuple(ranges),
            tuple(circumferences),
        ),
        chosen,
    )


def prepare_cases(
    folder: Path,
    names: Sequence[str],
    make: Callable[[str], ThinCase],
    progress: Callable[[int, int], None] = lambda *_: None,
) -> None:
    """Make cases into ``folder``, one file each; those that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    for done, name in enumerate(names, start=1):
        if not (folder / f"{name}.npz").is_file():
            _write(folder / f"{name}.npz", make(name))
        progress(done, len(names))


def read_cases(folder: Path, names: Sequence[str]) -> list[ThinCase]:
    """Cases that ``prepare_cases`` made."""
    return [_read(folder / f"{name}.npz") for name in names]


def phantom_maker(step: int) -> Callable[[str], ThinCase]:
    """Makes the phantom case of a name ``phantom-SEED``."""
    return lambda name: phantom_case(int(name.rpartition("-")[2]), step)


def data_maker(data: LabelledData, step: int) -> Callable[[str], ThinCase]:
    """Thins the case of a name of a data set."""
    return lambda name: thinned_case(data.read(name), step)


def _write(path: Path, thin: ThinCase) -> None:
    case = thin.case
    told = {
        "case_id": case.case_id,
        "subject_id": case.subject_id,
        "spacing": case.spacing,
        "ranges": case.ranges,
        "circumferences_mm": case.circumferences_mm,
    }
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(
            stream,
            told=np.frombuffer(json.dumps(told).encode(), np.uint8),
            frames=case.frames,
            masks=case.masks,
            numbers=thin.numbers,
        )


def _read(path: Path) -> ThinCase:
    with np.load(path, allow_pickle=False) as stored:
        told = json.loads(bytes(stored["told"]))
        frames, masks, numbers = stored["frames"], stored["masks"], stored["numbers"]
    case = LabelledCase(
        told["case_id"],
        told["subject_id"],
        frames,
        masks,
        np.ones(len(frames), bool),
        None if told["spacing"] is None else (told["spacing"][0], told["spacing"][1]),
        tuple((start, stop) for start, stop in told["ranges"]),
        tuple(told["circumferences_mm"]),
    )
    return ThinCase(case, numbers)
