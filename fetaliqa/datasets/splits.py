"""Training, validation and test splits: the paper's, by subject, k-fold, and extension by new cases.

ACOUSLIC-AI has 300 cases of 281 subjects, 19 of which have two cases. The paper's split is by case: 7 of the 19
subjects are in more than one part, and 5 of the 60 test cases (8.3 %) share a subject with the training set
(measured on version 1.1 of the table). ``subject_split`` has the same sizes, 210, 30 and 60, without shared
subjects.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from fetaliqa.datasets.labelled_data import CaseEntry
from fetaliqa.datasets.split_file import PARTS, SCHEMA, Split, Unit, custom, read_split, write_split
from fetaliqa.errors import OptionError

__all__ = [
    "PARTS",
    "SCHEMA",
    "Split",
    "custom",
    "extend_split",
    "k_fold",
    "leak_report",
    "paper_split",
    "read_split",
    "subject_split",
    "write_split",
]

FRACTIONS = (0.7, 0.1, 0.2)  # of the paper
PAPER_SEED = 9872398152123123767126  # of FetalCLIP-IQA; more than 64 bits, so stored as text in files
PAPER_CASES = 300


def paper_split(entries: Sequence[CaseEntry]) -> Split:
    """The split of FetalCLIP-IQA: by case, with its seed, from the rows of the table in order.

    Only all 300 rows in the order of the published table give the paper's parts. See the module docstring on
    subjects in two parts.

    Raises:
        OptionError: without cases, or with a duplicate case id.
    """
    ids = _checked_ids(entries)
    order = np.random.default_rng(PAPER_SEED).permutation(len(ids))
    first, second = int(0.7 * len(ids)), int(0.8 * len(ids))  # as in its code
    drawn = [ids[index] for index in order]
    return Split(
        "paper", "case", str(PAPER_SEED), tuple(drawn[:first]), tuple(drawn[first:second]), tuple(drawn[second:])
    )


def subject_split(
    entries: Sequence[CaseEntry], fractions: tuple[float, float, float] = FRACTIONS, seed: int = 0
) -> Split:
    """The default split: all cases of a subject are in one part.

    Subjects are ordered by a hash of seed and subject, and each is assigned to the first part with room for all of
    its cases. Sizes equal the paper's (210, 30 and 60 of 300) if there are enough subjects with one case to fill
    the gaps. Another set of cases gives another split: keep the file, and use ``extend_split`` for new cases.

    Args:
        entries: the cases.
        fractions: share of each part; the sum is 1.
        seed: random seed.

    Raises:
        OptionError: without cases, with a duplicate case id, or with fractions that do not add up to 1.
    """
    ids = _checked_ids(entries)
    _check_fractions(fractions)
    first, second = _cuts(len(ids), fractions)
    room = {"train": first, "validation": second - first, "test": len(ids) - second}
    where: dict[str, str] = {}
    groups = _by_subject(entries)
    for subject in sorted(groups, key=lambda subject: _hashed(seed, subject)):
        count = len(groups[subject])
        fitting = next((part for part in PARTS if room[part] >= count), None)
        part = fitting or max(PARTS, key=lambda name: room[name])
        room[part] -= count
        where.update(dict.fromkeys(groups[subject], part))
    return _assembled("subject", "subject", seed, ids, where)


def extend_split(
    split: Split, entries: Sequence[CaseEntry], fractions: tuple[float, float, float] = FRACTIONS
) -> Split:
    """Add the new cases of ``entries`` to a split; existing cases keep their part.

    A new case of an existing subject is added to the subject's part, or if the subject is in several, to the first
    of train, validation and test. A new subject is assigned by a hash of seed and subject, independently of other
    new cases; sizes therefore hold on average only. Cases that are no longer in ``entries`` keep their part too.

    Raises:
        OptionError: as for ``subject_split``.
    """
    ids = _checked_ids(entries)
    _check_fractions(fractions)
    where = {case: part for part in PARTS for case in split.part(part)}
    groups = _by_subject(entries)
    for subject, cases in groups.items():
        assigned = [where[case] for case in cases if case in where]
        part = min(assigned, key=PARTS.index) if assigned else _drawn(split.seed, subject, fractions)
        for case in cases:
            where.setdefault(case, part)
    old = set(split.cases())
    order = [*split.cases(), *(case for case in ids if case not in old)]
    return _assembled(split.name, split.unit, split.seed, order, where)


def k_fold(entries: Sequence[CaseEntry], k: int, seed: int = 0) -> list[Split]:
    """K splits by subject. In split i, fold i is for testing, fold i + 1 for validation, the others for training.

    Folds have equal numbers of cases, as far as subjects allow.

    Raises:
        OptionError: for fewer than 3 folds or fewer subjects than folds; without cases, or with a duplicate.
    """
    ids = _checked_ids(entries)
    groups = _by_subject(entries)
    if not 3 <= k <= len(groups):
        raise OptionError(f"{k} folds of {len(groups)} subjects; at least 3, and a subject for each, are needed")
    folds: list[list[str]] = [[] for _ in range(k)]
    # subjects with most cases first, so that those with one case balance the folds
    for subject in sorted(groups, key=lambda subject: (-len(groups[subject]), _hashed(seed, subject))):
        min(folds, key=len).extend(groups[subject])
    splits = []
    for number in range(k):
        validating = (number + 1) % k
        where = {case: "train" for fold in folds for case in fold}
        where.update(dict.fromkeys(folds[validating], "validation"))
        where.update(dict.fromkeys(folds[number], "test"))
        splits.append(_assembled(f"fold-{number + 1}-of-{k}", "subject", seed, ids, where))
    return splits


def leak_report(split: Split, entries: Sequence[CaseEntry]) -> dict[str, Any]:
    """Count the subjects of a split that are in more than one part.

    Returns:
        ``subjects_in_several_parts`` and ``cases_of_those_subjects`` (counts), ``subjects`` (their ids),
        ``test_cases``, ``test_cases_with_subject_in_train`` and their share ``test_share``; the same three for
        validation; ``cases_in_no_part``: cases of the data set that are not in the split.
    """
    subject_of = {entry.case_id: entry.subject_id for entry in entries}
    parts = {name: [subject_of[case] for case in split.part(name) if case in subject_of] for name in PARTS}
    parts_of_subject = Counter(subject for name in PARTS for subject in set(parts[name]))
    leaking = {subject for subject, count in parts_of_subject.items() if count > 1}
    report: dict[str, Any] = {
        "subjects_in_several_parts": len(leaking),
        "cases_of_those_subjects": sum(subject in leaking for name in PARTS for subject in parts[name]),
        "subjects": sorted(leaking),
    }
    trained = set(parts["train"])
    for name in ("validation", "test"):
        shared = sum(subject in trained for subject in parts[name])
        report[f"{name}_cases"] = len(parts[name])
        report[f"{name}_cases_with_subject_in_train"] = shared
        report[f"{name}_share"] = shared / len(parts[name]) if parts[name] else 0.0
    report["cases_in_no_part"] = len(set(subject_of) - set(split.cases()))
    return report


def _checked_ids(entries: Sequence[CaseEntry]) -> list[str]:
    ids = [entry.case_id for entry in entries]
    if not ids:
        raise OptionError("no cases to split; check the data set with `fetaliqa data`")
    case, count = Counter(ids).most_common(1)[0]
    if count > 1:
        raise OptionError(f"case {case} is listed {count} times; remove it from the table once")
    return ids


def _check_fractions(fractions: Sequence[float]) -> None:
    if len(fractions) != 3 or not all(0 <= value <= 1 for value in fractions) or abs(sum(fractions) - 1) > 1e-6:
        raise OptionError(f"fractions {tuple(fractions)}; three shares that add up to 1 are needed")


def _cuts(count: int, fractions: Sequence[float]) -> tuple[int, int]:
    """Positions at which validation and test begin."""
    # 1e-9: 0.7 + 0.1 is slightly less than 0.8 in floating point, and 240 of 300 must not become 239
    return int(fractions[0] * count + 1e-9), int((fractions[0] + fractions[1]) * count + 1e-9)


def _by_subject(entries: Sequence[CaseEntry]) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for entry in entries:
        groups.setdefault(entry.subject_id, []).append(entry.case_id)
    return groups


def _hashed(seed: int | str | None, subject: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}|{subject}".encode()).digest()[:8], "big")


def _drawn(seed: int | str | None, subject: str, fractions: Sequence[float]) -> str:
    value = _hashed(seed, subject) / 2**64
    return PARTS[0] if value < fractions[0] else PARTS[1] if value < fractions[0] + fractions[1] else PARTS[2]


def _assembled(
    name: str, unit: Unit, seed: int | str | None, order: Sequence[str], where: Mapping[str, str]
) -> Split:
    train, validation, test = (tuple(case for case in order if where[case] == part) for part in PARTS)
    return Split(name, unit, seed, train, validation, test)
