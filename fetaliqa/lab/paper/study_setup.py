"""Opens a study: data, split and base encoder; makes phantoms and a stand-in encoder for reduced studies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fetaliqa.datasets.acouslic import Acouslic
from fetaliqa.datasets.labelled_data import LabelledData
from fetaliqa.datasets.splits import Split, custom, paper_split, subject_split
from fetaliqa.errors import FetalIQAError, OptionError
from fetaliqa.lab.paper.paper_study import Study
from fetaliqa.lab.phantom.phantom_dataset import write_dataset
from fetaliqa.lab.phantom.phantom_settings import PhantomSettings
from fetaliqa.lab.phantom_encoder import train_stand_in
from fetaliqa.labels.dataset_kinds import open_labelled
from fetaliqa.model import Bundle
from fetaliqa.training.memory_watch import Report
from fetaliqa.training.starting_weights import FETALCLIP, Base, open_base
from fetaliqa.training.trainer import Machine

PHANTOM_CASES = 60
PHANTOM_SEED = 7000
TRIALS, REDUCED_TRIALS = 5, 3  # the paper's, and for a CPU


def open_study(
    data: Path | None,
    work: Path,
    *,
    reduced: bool = False,
    kind: str = "auto",
    anatomy: str | None = None,
    split: Path | None = None,
    seeds: int | None = None,
    first_seed: int = 0,
    settings: dict[str, Any] | None = None,
    as_released: bool = False,
    weights: str | None = None,
    weights_dir: Path | None = None,
    stand_in: Path | None = None,
    cases: int = PHANTOM_CASES,
    machine: Machine | None = None,
    processes: int = 1,
    parts: tuple[str, ...] | None = None,
    stills: Path | None = None,
    only_done: bool = False,
    report: Report = lambda *_: None,
) -> Study:
    """Open a study; without data, phantom cases are made in ``work``, once.

    Args:
        data: folder of a labelled data set.
        work: work folder.
        reduced: small models; their encoder is ``stand_in``, or is trained in ``work``, once.
        kind, anatomy: see ``open_labelled``.
        split: split file; None: the paper's split, or by subject when reduced.
        seeds: number of trials; None: 5, or 3 when reduced.
        first_seed: of the trials and of shared random draws.
        settings: changes of every recipe.
        as_released: as the released code trains.
        weights: FetalCLIP's weights file; None: the imported ones.
        weights_dir: folder of the comparison models' weights.
        stand_in: bundle of the stand-in encoder.
        cases: phantom cases to make.
        machine: where models train.
        processes: to render phantoms and prepare frames with.
        parts, stills, only_done: see ``Study``.
        report: called with stage, done, in all.

    Raises:
        OptionError: on options that exclude each other, or a number out of range.
        NotFoundError, SweepError: when the data cannot be used.
    """
    number = (REDUCED_TRIALS if reduced else TRIALS) if seeds is None else seeds
    if not 1 <= number <= 100:
        raise OptionError(f"{number} seeds; 1 to 100 are accepted")
    if data is None and not reduced:
        raise OptionError("no data set was named; name its folder, or add --reduced to make phantoms")
    if stand_in is not None and not reduced:
        raise OptionError("a stand-in encoder belongs to --reduced; add it, or leave the stand-in out")
    if reduced and (weights is not None or weights_dir is not None):
        raise OptionError("--reduced trains small models without pretrained weights; leave weights out")
    opened = open_labelled(data, kind, anatomy) if data is not None else _phantoms(work, cases, processes, report)
    base, reason, key = _base(work, reduced, weights, stand_in, processes, report)
    return Study(
        data=opened,
        split=_split(opened, split, reduced),
        work=work,
        seeds=tuple(range(first_seed, first_seed + number)),
        reduced=reduced,
        base=base,
        base_reason=reason,
        base_key=key,
        settings=dict(settings or {}),
        as_released=as_released,
        weights_dir=weights_dir,
        machine=machine or Machine(progress=False),
        processes=processes,
        parts=parts,
        stills=stills,
        only_done=only_done,
        report=report,
    )


def _phantoms(work: Path, cases: int, processes: int, report: Report) -> LabelledData:
    folder = work / f"phantoms-{cases}"
    if not folder.exists():
        write_dataset(
            folder,
            cases,
            PHANTOM_SEED,
            PhantomSettings(scale="half"),
            lambda done, total: report("make phantom cases", done, total),
            workers=processes,
        )
    return open_labelled(folder)


def _split(data: LabelledData, file: Path | None, reduced: bool) -> Split:
    entries = data.entries()
    if file is not None:
        return custom(file, entries)
    if reduced or data.name != "acouslic":  # the paper's seed means something for its own data only
        return subject_split(entries)
    rows = data.table_entries() if isinstance(data, Acouslic) else entries
    return paper_split(rows).restricted(entry.case_id for entry in entries)


def _base(
    work: Path, reduced: bool, weights: str | None, stand_in: Path | None, processes: int, report: Report
) -> tuple[Base | None, str, str]:
    """The encoder or None, the reason why it is missing, and its identity."""
    if reduced:
        folder = stand_in or work / "stand-in"
        if stand_in is None and not folder.exists():
            train_stand_in(folder, report, processes=processes)
        return open_base(str(folder)), "", Bundle.open(folder).fingerprint
    try:
        base = open_base(FETALCLIP, weights)
    except FetalIQAError as problem:
        return None, str(problem), ""
    return base, "", base.sha256() or ""
