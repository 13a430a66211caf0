"""Unlabelled cases for distillation: sweep files, or phantoms made from seeds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fetaliqa.lab.phantom.phantom_excerpt import SETTINGS, subsampled_phantom
from fetaliqa.lab.phantom.phantom_settings import VERSION
from fetaliqa.sweep import Sweep, case_id_of, read_sweep, sweep_from_array

FIRST_SEED = 80_000  # of the phantoms; not used by the demo model, the experiments or the benchmarks
PHANTOMS = 80


class Source(Protocol):
    """One case."""

    @property
    def name(self) -> str:
        """For messages."""

    def identity(self) -> Any:
        """Identity of the case, as a JSON value."""

    def sweep(self, step: int) -> Sweep:
        """Every ``step``-th frame of each sweep that is not black."""


@dataclass(frozen=True)
class PhantomSource:
    """The phantom of a seed, at half scale."""

    seed: int

    @property
    def name(self) -> str:
        return f"phantom-{self.seed}"

    def identity(self) -> Any:
        return ["phantom", VERSION, self.seed]

    def sweep(self, step: int) -> Sweep:
        case = subsampled_phantom(self.seed, step, SETTINGS).case  # omitted frames are not rendered
        return sweep_from_array(case.frames, case.spacing, sweeps=case.ranges, case_id=case.case_id)


@dataclass(frozen=True)
class FileSource:
    """A sweep file, or a folder of frames."""

    path: Path

    @property
    def name(self) -> str:
        return case_id_of(self.path)

    def identity(self) -> Any:
        return ["file", read_sweep(self.path).content_hash]

    def sweep(self, step: int) -> Sweep:
        return subsample_sweep(read_sweep(self.path), step)


def subsample_sweep(sweep: Sweep, step: int) -> Sweep:
    """Every ``step``-th frame of each sweep that is not black; sweeps of which nothing is left are left out."""
    lit = ~sweep.padding
    selected = [np.flatnonzero(lit[start:stop])[::step] + start for start, stop in sweep.ranges]
    selected = [part for part in selected if len(part)]
    ends = np.cumsum([len(part) for part in selected]).tolist()
    chosen = np.concatenate(selected) if selected else np.zeros(0, int)
    ranges = tuple(zip([0, *ends[:-1]], ends))
    return replace(sweep, frames=np.ascontiguousarray(sweep.frames[chosen]), ranges=ranges)
