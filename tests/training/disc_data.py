"""A labelled data set small enough to train on in a test: bright discs in grey noise, made from a seed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from fetaliqa.datasets.labelled_data import CaseEntry, LabelledCase
from fetaliqa.errors import NotFoundError
from fetaliqa.measure.anatomy import ABDOMEN, Anatomy
from fetaliqa.model import Architecture, DecoderConfig, VisionConfig

TINY = Architecture("tiny", VisionConfig(32, 8, 16, 4, 2, 16, 2.0), DecoderConfig((1, 2, 3, 4), 4))
SIDE, FRAMES = 64, 24


@dataclass
class DiscData:
    """Cases of two sweeps of twelve frames; four frames of the first sweep show a disc, one is never looked at."""

    cases: int = 6
    name: str = "discs"
    anatomy: Anatomy = ABDOMEN
    synthetic: bool = True

    def entries(self) -> list[CaseEntry]:
        return [CaseEntry(f"case-{number}", f"{number // 2:03d}") for number in range(self.cases)]

    def read(self, case_id: str) -> LabelledCase:
        if case_id not in [entry.case_id for entry in self.entries()]:
            raise NotFoundError(f"{case_id}: no such case")
        number = int(case_id.removeprefix("case-"))
        random = np.random.default_rng(number)
        frames = random.integers(20, 90, (FRAMES, SIDE, SIDE)).astype(np.uint8)
        masks = np.zeros_like(frames)
        rows, columns = np.mgrid[:SIDE, :SIDE]
        for frame in range(3, 7):
            y, x = random.uniform(22, 42, 2)
            masks[frame][np.hypot(rows - y, columns - x) < random.uniform(12, 16)] = 1 if frame < 5 else 2
        frames[masks > 0] += 120
        known = np.ones(FRAMES, bool)
        known[11] = False
        return LabelledCase(
            case_id=case_id,
            subject_id=f"{number // 2:03d}",
            frames=frames,
            masks=masks,
            known=known,
            spacing=(2.5, 2.5),
            ranges=((0, 12), (12, FRAMES)),
            circumferences_mm=(2 * np.pi * 14 * 2.5, None),
        )

    def fingerprint(self) -> str:
        return hashlib.sha256(f"{self.name} {self.cases}".encode()).hexdigest()


@dataclass
class PaddedDiscs(DiscData):
    """The same, with black slots: one before the frame that nobody looked at, one at the end of sweep 2."""

    name: str = "padded discs"

    def read(self, case_id: str) -> LabelledCase:
        case = super().read(case_id)
        case.frames[[10, 23]], case.known[[10, 23]] = 0, False
        return case
