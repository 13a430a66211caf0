"""The ``split`` action of ``fetaliqa data``."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fetaliqa.datasets.labelled_data import CaseEntry, LabelledData
    from fetaliqa.datasets.splits import Split


def run(args: argparse.Namespace) -> int:
    """Create and write the split or folds; returns 0."""
    from fetaliqa.datasets.splits import extend_split, k_fold, leak_report, read_split, subject_split, write_split
    from fetaliqa.errors import OptionError
    from fetaliqa.labels.dataset_kinds import open_labelled

    data = open_labelled(args.folder, args.kind)
    entries = data.entries()
    if not entries:
        raise OptionError(f"{args.folder}: no case has its files; check it with `fetaliqa data`")
    notes: list[str] = []
    if args.extend:
        splits = [extend_split(read_split(args.extend), entries)]
    elif args.method == "paper":
        splits = [_paper(data, entries, notes)]
    elif args.method == "kfold":
        splits = k_fold(entries, args.folds, args.seed)
    else:
        splits = [subject_split(entries, seed=args.seed)]
    files = _split_files(args.out, len(splits))
    present = [file for file in files if file.exists()]
    if present:
        raise OptionError(f"{present[0]} exists already, and results may refer to it; choose another file")
    for file, split in zip(files, splits):
        write_split(file, split)
    leaks = [leak_report(split, entries) for split in splits]
    for split in splits:
        empty = [part for part in ("train", "validation", "test") if not split.part(part)]
        if empty:
            notes.append(f"split {split.name} has no {' and no '.join(empty)} case; more cases are needed")
    if args.json:
        rows = [_described(*each) for each in zip(files, splits, leaks)]
        about = {"data": data.name, "synthetic": data.synthetic, "notes": notes, "splits": rows}
        print(json.dumps(about, indent=2, allow_nan=False))
        return 0
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    for file, split, leak in zip(files, splits, leaks):
        print(f"{file}: {len(split.train)} train, {len(split.validation)} validation, {len(split.test)} test")
        print(f"  hash {split.hash()[:16]}, by {split.unit}; {_leak_sentence(leak)}")
    return 0


def _paper(data: LabelledData, entries: list[CaseEntry], notes: list[str]) -> Split:
    """The paper's split of all rows of the table, without cases whose files are missing."""
    from fetaliqa.datasets.acouslic import Acouslic
    from fetaliqa.datasets.splits import PAPER_CASES, paper_split

    rows = data.table_entries() if isinstance(data, Acouslic) else entries
    if data.name != "acouslic" or len(rows) != PAPER_CASES:
        notes.append(
            f"the paper's split is of ACOUSLIC-AI's table of {PAPER_CASES} cases, this one of {len(rows)} of "
            f"{data.name}: the method is the same, the parts differ"
        )
    if len(rows) != len(entries):
        notes.append(f"{len(rows) - len(entries)} of {len(rows)} cases of the table have no files and are skipped")
    return paper_split(rows).restricted(entry.case_id for entry in entries)


def _split_files(out: Path, count: int) -> list[Path]:
    if count == 1:
        return [out]
    return [out.with_name(f"{out.stem}-{number}{out.suffix}") for number in range(1, count + 1)]


def _described(file: Path, split: Split, leak: dict[str, Any]) -> dict[str, Any]:
    sizes = {part: len(split.part(part)) for part in ("train", "validation", "test")}
    return {
        "file": str(file),
        "name": split.name,
        "unit": split.unit,
        "hash": split.hash(),
        "sizes": sizes,
        "leak": leak,
    }


def _leak_sentence(leak: dict[str, Any]) -> str:
    if not leak["subjects_in_several_parts"]:
        return "no subject in two parts"
    subjects, cases = leak["subjects_in_several_parts"], leak["cases_of_those_subjects"]
    return (
        f"{subjects} subjects in several parts ({cases} cases); "
        f"{leak['test_cases_with_subject_in_train']} of {leak['test_cases']} test cases "
        f"({leak['test_share']:.1%}) have their subject in train"
    )
