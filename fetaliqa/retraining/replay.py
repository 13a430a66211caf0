"""Replay of earlier training data during retraining, against catastrophic forgetting.

Either the named data set is replayed, or the training data that a replay source knows for the model: installed
packages provide sources under the entry point group ``fetaliqa.replay`` (the phantoms of the demo model:
``fetaliqa.lab.phantom.phantom_replay``). A few frames of many cases preserve more than many frames of few cases.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fetaliqa.datasets.labelled_data import CaseEntry, LabelledCase, LabelledData
from fetaliqa.datasets.splits import Split, subject_split
from fetaliqa.datasets.subsample import Sampling, subsample_case
from fetaliqa.errors import NotFoundError, OptionError
from fetaliqa.labels.dataset_kinds import open_labelled
from fetaliqa.model import Bundle
from fetaliqa.sweep.sweep_ranges import black_slots
from fetaliqa.training.frame_store import near_outlined

TRAIN_CASES, VALIDATION_CASES = 40, 8
SWEEP_CASES, SWEEP_STEP = 6, 8  # whole sweeps are slow to read: every eighth frame of six cases
TRAIN_FRAMES = Sampling(annotated=5, hard=3, easy=1)  # of each sweep, as the demo model was trained
# more negatives than in training: each represents many, and the frame F1 needs enough of them
VALIDATION_FRAMES = Sampling(annotated=2, hard=4, easy=4)

FOLDER = "folder"  # kind of a replayed data set that was named
LEAST_FRAMES = 100  # of a case, if it has that many


@dataclass(frozen=True)
class Replay:
    """The replayed data, and their training and validation cases.

    Attributes:
        described: as recorded in the run: ``kind`` (``folder`` or a replay source) and how to reopen it.
        train, validation: data sets of sampled frames.
        sweeps: cases of whole sweeps, at a lower rate, with reference circumferences where the data have them, as
            the challenge's score needs them.
    """

    described: dict[str, Any]
    train: LabelledData
    validation: LabelledData
    sweeps: LabelledData


class ReplaySource(Protocol):
    """Training data of known bundles that need no folder, offered by an entry point of ``fetaliqa.replay``."""

    def trained(self, bundle: Bundle) -> bool:
        """Whether a bundle was trained on these data."""
        ...

    def replay(self, train_cases: int, validation_cases: int) -> Replay:
        """The replay; its ``described["kind"]`` is the entry point's name."""
        ...


def replay_sources() -> dict[str, ReplaySource]:
    """Installed replay sources by name."""
    return {entry.name: entry.load() for entry in entry_points(group="fetaliqa.replay")}


class _SomeCases:
    """Some cases of a data set."""

    def __init__(self, data: LabelledData, case_ids: Sequence[str]) -> None:
        self.data, self.case_ids = data, tuple(case_ids)
        self.name, self.anatomy, self.synthetic = data.name, data.anatomy, data.synthetic

    def entries(self) -> list[CaseEntry]:
        own = set(self.case_ids)
        return [entry for entry in self.data.entries() if entry.case_id in own]


class WholeCases(_SomeCases):
    """Some cases of a data set, every n-th frame of their sweeps; more frames of short cases."""

    def __init__(self, data: LabelledData, case_ids: Sequence[str], step: int = SWEEP_STEP) -> None:
        super().__init__(data, case_ids)
        self.step = step

    def read(self, case_id: str) -> LabelledCase:
        case = self.data.read(case_id)
        return subsample_case(case, max(1, min(self.step, len(case.frames) // LEAST_FRAMES))).case

    def fingerprint(self) -> str:
        made_of = [self.data.fingerprint(), self.step, self.case_ids]
        return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()


class SampledCases(_SomeCases):
    """Some cases of a data set, a few known frames of each sweep.

    Args:
        data: the whole data set.
        case_ids: which of its cases.
        sampling: how many frames of each sweep, at most; ``hard`` are those near an annotated one.
    """

    def __init__(self, data: LabelledData, case_ids: Sequence[str], sampling: Sampling) -> None:
        super().__init__(data, case_ids)
        self.sampling = sampling

    def read(self, case_id: str) -> LabelledCase:
        case = self.data.read(case_id)
        seed = int.from_bytes(hashlib.sha256(case_id.encode()).digest()[:4], "big")
        random = np.random.default_rng([seed, *asdict(self.sampling).values()])
        known = np.zeros(len(case.frames), bool)
        weights = np.ones(len(case.frames), np.float32)
        grades, usable = case.grades(), case.known & ~black_slots(case.frames)
        for start, stop in case.ranges:
            for pool, wanted in zip(self._pools(grades[start:stop], usable[start:stop]), self._wanted):
                count = min(wanted, len(pool))
                if count:
                    chosen = start + random.choice(pool, count, replace=False)
                    known[chosen], weights[chosen] = True, len(pool) / count
        return replace(case, known=known, weights=weights)

    def fingerprint(self) -> str:
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        made_of = [self.data.fingerprint(), asdict(self.sampling), self.case_ids]
        return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()

    @property
    def _wanted(self) -> tuple[int, int, int]:
        return self.sampling.annotated, self.sampling.hard, self.sampling.easy

    @staticmethod
    def _pools(grades: np.ndarray, usable: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Frames of a sweep: annotated, near an annotated one, and others."""
        positive = grades > 0
        near = near_outlined(positive)
        return (
            np.flatnonzero(usable & positive),
            np.flatnonzero(usable & ~positive & near),
            np.flatnonzero(usable & ~positive & ~near),
        )


def folder_replay(
    folder: Path,
    train_cases: int = TRAIN_CASES,
    validation_cases: int = VALIDATION_CASES,
    others: Mapping[str, str] | None = None,
) -> Replay:
    """Sampled cases of a labelled data set, split by subject.

    Args:
        folder: of the data set.
        train_cases, validation_cases: how many, at most.
        others: part (``train``, ``validation``) of each case and subject of the studies: shared ones keep their
            part, to avoid leakage between training and validation.

    Raises:
        NotFoundError, OptionError, SweepError: as ``open_labelled``; or when it has fewer than two subjects.
    """
    data = open_labelled(folder)
    split = _with_parts(subject_split(data.entries(), (0.75, 0.25, 0.0)), data.entries(), others or {})
    for part in ("train", "validation"):
        if not split.part(part):
            raise OptionError(f"{folder}: too few cases to replay; two subjects or more are needed")
    validation = _some(split, "validation", validation_cases)
    return Replay(
        {
            "kind": FOLDER,
            "path": str(Path(folder).resolve()),
            "train_cases": train_cases,
            "validation_cases": validation_cases,
            "others": dict(sorted((others or {}).items())),
        },
        SampledCases(data, _some(split, "train", train_cases), TRAIN_FRAMES),
        SampledCases(data, validation, VALIDATION_FRAMES),
        WholeCases(data, validation[:SWEEP_CASES]),
    )


def _with_parts(split: Split, entries: Sequence[CaseEntry], others: Mapping[str, str]) -> Split:
    """The split, with each subject shared with the studies in the part that it has there."""
    part_of = {case: part for part in ("train", "validation") for case in split.part(part)}
    part_of_subject: dict[str, str] = {}
    for entry in entries:
        part = others.get(entry.case_id) or others.get(entry.subject_id)
        if part is not None:
            part_of_subject[entry.subject_id] = part
    part_of.update(
        {
            entry.case_id: part_of_subject[entry.subject_id]
            for entry in entries
            if entry.subject_id in part_of_subject
        }
    )
    train, validation = (
        tuple(entry.case_id for entry in entries if part_of.get(entry.case_id) == part)
        for part in ("train", "validation")
    )
    return replace(split, train=train, validation=validation)


def _some(split: Split, part: str, count: int) -> list[str]:
    """Some cases of a part, always the same ones."""
    ids = sorted(split.part(part), key=lambda case: hashlib.sha256(case.encode()).hexdigest())
    return sorted(ids[:count])


def reopen_replay(described: dict[str, Any] | None, others: Mapping[str, str] | None = None) -> Replay | None:
    """Reopen the replay that a run recorded; ``others``: see :func:`folder_replay`.

    Raises:
        OptionError: when its data set is missing, or the record is damaged.
    """
    if described is None:
        return None
    try:
        counts = described["train_cases"], described["validation_cases"]
        if described["kind"] != FOLDER:
            source = replay_sources().get(described["kind"])
            if source is None:
                raise OptionError(
                    f"replay source {described['kind']!r} is not installed; install it, or name data with --replay"
                )
            return source.replay(*counts)
        others = described.get("others") if others is None else others
        return folder_replay(Path(described["path"]), *counts, others)
    except KeyError as problem:
        raise OptionError(f"the record of what is replayed lacks {problem}; name it again with --replay") from None
    except NotFoundError as problem:
        raise OptionError(f"the replayed data set is missing: {problem}") from None


def replay_for(
    bundle: Bundle,
    folder: Path | None,
    recorded: dict[str, Any] | None,
    cases: tuple[int, int] = (TRAIN_CASES, VALIDATION_CASES),
    others: Mapping[str, str] | None = None,
) -> Replay | None:
    """The replayed data for retraining a bundle.

    Args:
        bundle: it starts from.
        folder: named data set.
        recorded: replay recorded in this folder of studies.
        cases: how many are replayed to train, and to validate.
        others: see :func:`folder_replay`.

    Returns:
        None when the training data of the bundle are not known.

    Raises:
        FetalIQAError: when the data set named cannot be used.
    """
    if folder is not None:
        return folder_replay(folder, *cases, others)
    if recorded is not None:
        return reopen_replay(recorded, others or {})
    source = next((source for source in replay_sources().values() if source.trained(bundle)), None)
    return None if source is None else source.replay(*cases)
