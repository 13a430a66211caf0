"""Writes phantom cases to disk in the ACOUSLIC-AI layout, several processes at once."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from fetaliqa.atomic import atomic_directory, write_json
from fetaliqa.datasets.acouslic_layout import MANIFEST, Circumferences, write_case, write_circumferences
from fetaliqa.errors import OptionError
from fetaliqa.lab.phantom.phantom_case import generate_case
from fetaliqa.lab.phantom.phantom_settings import VERSION, PhantomSettings

FORMAT = "fetaliqa-phantom/1"


def case_seed(seed: int, index: int) -> int:
    """Seed of case ``index`` of a dataset; unrelated between neighbouring datasets."""
    return int(np.random.SeedSequence([seed, index]).generate_state(1, np.uint32)[0])


def _make(directory: str, index: int, seed: int, settings: PhantomSettings) -> dict[str, Any]:
    own_seed = case_seed(seed, index)
    case = generate_case(own_seed, settings)
    hashes = write_case(Path(directory), case.case_id, case.frames, case.masks, case.spacing_mm)
    return {
        "case_id": case.case_id,
        "subject_id": f"{index:03d}",
        "seed": own_seed,
        "ac_mm": list(case.ac_mm),
        "sweep_lengths": list(case.sweep_lengths),
        "truth": case.truth,
        "sha256": hashes,
    }


def _single_threaded() -> None:
    import cv2

    cv2.setNumThreads(1)


def _entries(
    directory: Path, cases: int, seed: int, settings: PhantomSettings, workers: int
) -> Iterator[dict[str, Any]]:
    jobs = [(str(directory), index, seed, settings) for index in range(cases)]
    if workers == 1 or cases == 1:
        for job in jobs:
            yield _make(*job)
        return
    context = multiprocessing.get_context("spawn")  # forking after torch or OpenCV started threads can hang
    with ProcessPoolExecutor(min(workers, cases), mp_context=context, initializer=_single_threaded) as pool:
        yield from pool.map(_make, *zip(*jobs))


def write_dataset(
    directory: str | os.PathLike[str],
    cases: int,
    seed: int,
    settings: PhantomSettings | None = None,
    progress: Callable[[int, int], None] | None = None,
    *,
    workers: int | None = None,
) -> Path:
    """Write ``cases`` phantom cases; the folder appears complete or not at all.

    Args:
        directory: must not exist yet.
        seed: same seed and settings, same bytes, whatever ``workers`` is.
        progress: called with (cases done, cases) after each case.
        workers: processes; by default one per core, at most 4. Each needs about 0.3 GB at half scale and
            0.9 GB at full scale.

    Raises:
        OptionError: when ``directory`` exists, or ``cases`` or ``seed`` is out of range.
    """
    settings = settings or PhantomSettings()
    target = Path(directory)
    if cases < 1:
        raise OptionError(f"{cases} phantom cases asked for; at least 1 is needed")
    if seed < 0:
        raise OptionError(f"seed {seed} is negative; use 0 or more")
    if workers is None:
        workers = min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    try:
        with atomic_directory(target) as temporary:
            entries = []
            for entry in _entries(temporary, cases, seed, settings, max(1, workers)):
                entries.append(entry)
                if progress is not None:
                    progress(len(entries), cases)
            rows = [Circumferences(e["case_id"], e["subject_id"], tuple(e["ac_mm"])) for e in entries]
            write_circumferences(temporary, rows)
            write_json(temporary / MANIFEST, _manifest(seed, settings, entries))
    except FileExistsError:
        raise OptionError(f"{target} exists already; name a new folder for the phantom cases") from None
    return target


def _manifest(seed: int, settings: PhantomSettings, entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "synthetic": True,
        "generator_version": VERSION,
        "seed": seed,
        "settings": settings.as_dict(),
        "spacing_mm": settings.sector.spacing_mm,
        "sweep_ranges": [[k * settings.slots, (k + 1) * settings.slots] for k in range(settings.sweeps)],
        "cases": entries,
    }
