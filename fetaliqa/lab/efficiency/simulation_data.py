"""Cases of the simulation: every n-th frame of a case, with ground truth."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from fetaliqa.atomic import atomic_path
from fetaliqa.datasets.labelled_data import LabelledCase, LabelledData
from fetaliqa.datasets.subsample import SubsampledCase, subsample_case
from fetaliqa.lab.phantom.phantom_excerpt import subsampled_phantom

POOL_SEED, TEST_SEED = 62_000, 63_000  # of phantom cases that are not used elsewhere


def prepare_cases(
    folder: Path,
    names: Sequence[str],
    make: Callable[[str], SubsampledCase],
    progress: Callable[[int, int], None] = lambda *_: None,
) -> None:
    """Prepare cases in ``folder``, one file each; existing ones are reused."""
    folder.mkdir(parents=True, exist_ok=True)
    for done, name in enumerate(names, start=1):
        if not (folder / f"{name}.npz").is_file():
            _write(folder / f"{name}.npz", make(name))
        progress(done, len(names))


def read_cases(folder: Path, names: Sequence[str]) -> list[SubsampledCase]:
    """Cases that ``prepare_cases`` made."""
    return [_read(folder / f"{name}.npz") for name in names]


def phantom_maker(step: int) -> Callable[[str], SubsampledCase]:
    """Makes the phantom case of a name ``phantom-SEED``."""
    return lambda name: subsampled_phantom(int(name.rpartition("-")[2]), step)


def data_maker(data: LabelledData, step: int) -> Callable[[str], SubsampledCase]:
    """Thins the case of a name of a data set."""
    return lambda name: subsample_case(data.read(name), step)


def _write(path: Path, thin: SubsampledCase) -> None:
    case = thin.case
    header = {
        "case_id": case.case_id,
        "subject_id": case.subject_id,
        "spacing": case.spacing,
        "ranges": case.ranges,
        "circumferences_mm": case.circumferences_mm,
    }
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(
            stream,
            told=np.frombuffer(json.dumps(header).encode(), np.uint8),
            frames=case.frames,
            masks=case.masks,
            numbers=thin.numbers,
        )


def _read(path: Path) -> SubsampledCase:
    with np.load(path, allow_pickle=False) as stored:
        header = json.loads(bytes(stored["told"]))
        frames, masks, numbers = stored["frames"], stored["masks"], stored["numbers"]
    case = LabelledCase(
        header["case_id"],
        header["subject_id"],
        frames,
        masks,
        np.ones(len(frames), bool),
        None if header["spacing"] is None else (header["spacing"][0], header["spacing"][1]),
        tuple((start, stop) for start, stop in header["ranges"]),
        tuple(header["circumferences_mm"]),
    )
    return SubsampledCase(case, numbers)
