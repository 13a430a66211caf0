"""Simulation of active learning: query, label from ground truth, retrain, evaluate, until the budget is used."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from fetaliqa.active.frame_pool import Pool, make_pool
from fetaliqa.active.frame_profiles import CaseProfile
from fetaliqa.active.selection_rules import QuerySettings
from fetaliqa.active.strategies import STRATEGIES, next_query
from fetaliqa.atomic import write_json
from fetaliqa.errors import OptionError
from fetaliqa.lab.efficiency.simulation_data import SubsampledCase, read_cases
from fetaliqa.lab.efficiency.simulation_model import (
    chosen_frames,
    frame_set,
    kinds_of,
    predictions,
    profile_of,
    test_figures,
    train_decoder,
    training_sample,
)
from fetaliqa.model import Bundle, BundleCard, FetalCLIPSeg
from fetaliqa.registry.model_store import resolve_bundle
from fetaliqa.training.starting_weights import open_base
from fetaliqa.training.training_frames import FrameSet

FULL = "full"  # in place of a strategy: all frames of the pool are labelled


@dataclass(frozen=True)
class Simulation:
    """Settings of a simulation.

    Attributes:
        base: bundle with the frozen encoder.
        pool, test: names of the cases.
        step: every n-th frame of a case is used.
        budgets: labelled frames after each round, growing.
        seeds: independent repetitions.
        strategies: names.
        frames: frames of a case per query.
        per_sweep: frames of one sweep per query.
        gap: least distance of two labelled frames of a sweep, in frames of the whole case.
        steps: training steps of a round, the same for all strategies.
        full_steps: of the training on all frames.
    """

    base: str
    pool: tuple[str, ...]
    test: tuple[str, ...]
    step: int
    budgets: tuple[int, ...]
    seeds: int
    strategies: tuple[str, ...]
    frames: int
    per_sweep: int
    gap: int
    steps: int
    full_steps: int

    def __post_init__(self) -> None:
        if not self.budgets or list(self.budgets) != sorted(set(self.budgets)) or self.budgets[0] < 1:
            raise OptionError(f"budgets are {list(self.budgets)}; growing numbers of frames are needed")
        if self.seeds < 1:
            raise OptionError(f"seeds is {self.seeds}; 1 or more is needed")
        if not self.pool or not self.test:
            raise OptionError("the simulation needs cases to label and cases to test on; give more cases")


@dataclass
class _World:
    """Data shared by all runs of a process."""

    simulation: Simulation
    pool_cases: list[SubsampledCase]
    test_cases: list[SubsampledCase]
    pool_frames: FrameSet
    test_frames: FrameSet
    card: BundleCard

    def model_pool(self, model: FetalCLIPSeg) -> Pool:
        """The pool with a model's predictions; the quality score is the presence, which needs no whole sweeps."""
        probabilities, appearance = predictions(model, self.pool_frames.images)
        minimum = self.card.threshold.min_foreground_pixels(self.pool_frames.size)
        count = (probabilities > self.card.threshold.frame).sum(dim=(1, 2)).numpy()
        profiles, start = [], 0
        for thin in self.pool_cases:
            stop = start + len(thin.numbers)
            profile = profile_of(thin.numbers, probabilities[start:stop], appearance[start:stop])
            ranges = tuple((int(thin.numbers[a]), int(thin.numbers[b - 1]) + 1) for a, b in thin.case.ranges)
            profiles.append(
                CaseProfile(thin.case.case_id, ranges, profile.presence, count[start:stop] >= minimum, profile)
            )
            start = stop
        return make_pool(profiles)


def simulate(
    folder: Path,
    simulation: Simulation,
    *,
    processes: int = 1,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> list[dict[str, Any]]:
    """Run all missing runs in ``folder``; a killed simulation is resumed.

    Args:
        folder: with the prepared cases in ``cases/``; a file per run is written to ``runs/``.
        simulation: settings.
        processes: runs at the same time.
        progress: called with (runs done, runs in all).

    Returns:
        One row per strategy, seed and round.

    Raises:
        OptionError: when the folder holds another simulation.
    """
    _check_same(folder, simulation)
    jobs = [(strategy, seed) for seed in range(simulation.seeds) for strategy in (*simulation.strategies, FULL)]
    left = [job for job in jobs if not _file(folder, *job).is_file()]
    progress(len(jobs) - len(left), len(jobs))
    if processes == 1:
        world = _open_world(folder, simulation) if left else None
        for done, job in enumerate(left, start=len(jobs) - len(left) + 1):
            assert world is not None
            write_json(_file(folder, *job), _run(world, *job))
            progress(done, len(jobs))
    else:
        with ProcessPoolExecutor(
            processes, get_context("spawn"), initializer=_initialise, initargs=(folder, simulation)
        ) as workers:
            running = {workers.submit(_worker, folder, *job) for job in left}
            for done, finished in enumerate(as_completed(running), start=len(jobs) - len(left) + 1):
                finished.result()
                progress(done, len(jobs))
    rows: list[dict[str, Any]] = []
    for strategy, seed in jobs:
        rows += json.loads(_file(folder, strategy, seed).read_text(encoding="utf-8"))
    return rows


def pool_size(folder: Path, simulation: Simulation) -> int:
    """Number of frames in the pool."""
    return sum(len(thin.numbers) for thin in read_cases(folder / "cases", simulation.pool))


def _file(folder: Path, strategy: str, seed: int) -> Path:
    return folder / "runs" / f"{strategy}-{seed}.json"


def _check_same(folder: Path, simulation: Simulation) -> None:
    record = folder / "simulation.json"
    asked = json.loads(json.dumps(asdict(simulation)))
    if record.is_file() and json.loads(record.read_text(encoding="utf-8")) != asked:
        raise OptionError(f"{folder} holds a simulation with other settings; choose another folder")
    (folder / "runs").mkdir(parents=True, exist_ok=True)
    write_json(record, asked)


def _open_world(folder: Path, simulation: Simulation) -> _World:
    pool, test = (read_cases(folder / "cases", names) for names in (simulation.pool, simulation.test))
    card = Bundle.open(resolve_bundle(simulation.base)).card
    size = card.architecture.vision.image_size
    return _World(simulation, pool, test, frame_set(pool, size), frame_set(test, size), card)


_world: _World | None = None  # of a worker process


def _initialise(folder: Path, simulation: Simulation) -> None:
    import torch

    from fetaliqa.allocator import keep_freed_memory

    global _world
    keep_freed_memory()
    torch.set_num_threads(1)
    _world = _open_world(folder, simulation)


def _worker(folder: Path, strategy: str, seed: int) -> None:
    assert _world is not None
    write_json(_file(folder, strategy, seed), _run(_world, strategy, seed))


def _run(world: _World, strategy: str, seed: int) -> list[dict[str, Any]]:
    """All rounds of one strategy with one seed."""
    simulation = world.simulation
    base = open_base(simulation.base)
    if strategy == FULL:
        model = train_decoder(base, world.pool_frames, simulation.full_steps, seed)
        return [_row(world, strategy, seed, 0, np.ones(len(world.pool_frames), bool), model)]
    model = train_decoder(base, chosen_frames(world.pool_frames, np.zeros(0, int)), 0, seed)
    labelled = np.zeros(len(world.pool_frames), bool)
    rows: list[dict[str, Any]] = []
    pool = world.model_pool(model)
    for budget in simulation.budgets:
        if rows and STRATEGIES[strategy].reads_model:  # for the others the profiles do not change
            pool = world.model_pool(model)
        labelled = _label(world, pool, labelled, strategy, budget, seed)
        chosen = training_sample(world.pool_frames.grades, labelled, kinds_of(pool), simulation.steps, seed)
        model = train_decoder(base, chosen_frames(world.pool_frames, chosen), simulation.steps, seed)
        rows.append(_row(world, strategy, seed, len(rows), labelled, model))
    return rows


def _label(world: _World, pool: Pool, labelled: np.ndarray, strategy: str, budget: int, seed: int) -> np.ndarray:
    """bool [N]: labelled frames when the budget is used, by repeated queries."""
    simulation = world.simulation
    while (left := budget - int(labelled.sum())) > 0:
        settings = QuerySettings(
            frames=min(simulation.frames, left), per_sweep=simulation.per_sweep, gap=simulation.gap, seed=seed
        )
        query = next_query(pool.with_labels(labelled, ~labelled), strategy, settings)
        if query is None:
            break
        labelled = labelled.copy()
        labelled[[pick.index for pick in query.picks]] = True
    return labelled


def _row(
    world: _World, strategy: str, seed: int, number: int, labelled: np.ndarray, model: FetalCLIPSeg
) -> dict[str, Any]:
    grades = world.pool_frames.grades[labelled]
    return {
        "strategy": strategy,
        "seed": seed,
        "round": number,
        "frames": int(labelled.sum()),
        "outlined": int((grades > 0).sum()),
        "cases": len(np.unique(world.pool_frames.cases[labelled])),
        **test_figures(model, world.card, world.test_cases, world.test_frames),
    }
