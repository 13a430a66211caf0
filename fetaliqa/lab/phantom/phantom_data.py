"""Phantom cases as a labelled data set, rendered on reading."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, replace

import numpy as np

from fetaliqa.datasets.labelled_data import CaseEntry, LabelledCase
from fetaliqa.datasets.subsample import Sampling
from fetaliqa.errors import NotFoundError
from fetaliqa.lab.phantom import PhantomSettings
from fetaliqa.lab.phantom.phantom_case import CaseRenderer
from fetaliqa.lab.phantom.phantom_excerpt import excerpt, subsampled_phantom
from fetaliqa.lab.phantom.phantom_frames import sample_sweep
from fetaliqa.lab.phantom.phantom_seeds import PHANTOM
from fetaliqa.lab.phantom.phantom_settings import VERSION
from fetaliqa.measure.anatomy import ABDOMEN, Anatomy


class _Phantoms:
    """Phantom cases of some seeds, rendered on reading."""

    name = "phantoms"
    anatomy: Anatomy = ABDOMEN
    synthetic = True
    seeds: tuple[int, ...]

    def entries(self) -> list[CaseEntry]:
        return [CaseEntry(f"phantom-{seed}", f"phantom-{seed}") for seed in self.seeds]

    def _seed(self, case_id: str) -> int:
        for seed in self.seeds:
            if case_id == f"phantom-{seed}":
                return seed
        raise NotFoundError(f"{case_id}: no such phantom case here")


@dataclass
class SampledPhantoms(_Phantoms):
    """A few frames of each of some phantom cases, rendered on reading; the frames between them are omitted."""

    seeds: tuple[int, ...]
    sampling: Sampling
    settings: PhantomSettings = PHANTOM

    def read(self, case_id: str) -> LabelledCase:
        seed = self._seed(case_id)
        renderer = CaseRenderer(seed, self.settings)
        random = np.random.default_rng([seed, *asdict(self.sampling).values()])
        samples = [sample_sweep(truth, self.sampling, random) for truth in renderer.plan.truths]
        case = excerpt(renderer, [chosen for chosen, _, _ in samples], self.settings, case_id)
        return replace(case, weights=np.concatenate([stands for _, _, stands in samples]))

    def fingerprint(self) -> str:
        made_of = [VERSION, self.settings.as_dict(), asdict(self.sampling), self.seeds]
        return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()


@dataclass
class WholePhantoms(_Phantoms):
    """Phantom cases of whole sweeps, every n-th frame."""

    seeds: tuple[int, ...]
    step: int
    settings: PhantomSettings = PHANTOM

    def read(self, case_id: str) -> LabelledCase:
        return subsampled_phantom(self._seed(case_id), self.step, self.settings).case

    def fingerprint(self) -> str:
        made_of = [VERSION, self.settings.as_dict(), self.step, self.seeds]
        return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()
