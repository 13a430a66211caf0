"""Which cases train, validate and test; kept in a file, so that a result can say what it was measured on.

Cases of one subject belong together: ACOUSLIC-AI has 300 cases of 281 subjects, 19 of which have two. The paper
split by case, so in its split 7 of the 19 lie in more than one part, and the subject
of 5 of the 60 test cases (8.3 %) was trained on (measured on version 1.1 of the table). ``subject_split`` has the
same sizes, 210, 30 and 60, without that.
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
PAPER_SEED = 9872398152123123767126  # of FetalCLIP-IQA; longer than 64 bits, so files keep it as text
PAPER_CASES = 300


def paper_split(entries: Sequence[CaseEntry]) -> Split:
    """The split of FetalCLIP-IQA: by case, with its seed, of the table's rows in their order.

    Only all 300 rows in the order of the published table give the paper's own parts. See the module's text for
    the subjects that it has in two parts.

    Raises:
        OptionError: without cases, or with a case id given twice.
    """
    ids = _checked_ids(entries)
    order = np.random.default_rng(PAPER_SEED).permutation(len(ids))
    first, second = int(0.7 * len(ids)), int(0.8 * len(ids))  # as its code has it
    drawn = [ids[index] for index in order]
    return Split(
        "paper", "case", str(PAPER_SEED), tuple(drawn[:first]), tuple(drawn[first:second]), tuple(drawn[second:])
    )


def subject_split(
    entries: Sequence[CaseEntry], fractions: tuple[float, float, float] = FRACTIONS, seed: int = 0
) -> Split:
    """The default: all cases of a subject in one part.

    Subjects are taken in the order of a hash of seed and subject, and each fills the first part that has room for
    all of its cases. Sizes are the paper's (210, 30 and 60 of 300) wherever subjects with one case are there to
    fill the gaps. A different set of cases gives a different split: keep the file, and use ``extend_split`` for
    cases that come later.

    Args:
        entries: the cases.
        fractions: share of each part; they add up to 1.
        seed: another seed, another split.

    Raises:
        OptionError: without cases, with a case id given twice, or with fractions that do not add up to 1.
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
    """A split with the cases that are new in ``entries``; no old case moves.

    A new case of a subject already in the split joins it; when that subject is in several parts already, in the
    first of train, validation and test. A new subject goes where a hash of seed and subject falls, so its place
    does not depend on what else is added, and sizes hold on average only. Cases that are no longer in
    ``entries`` keep their place too.

    Raises:
        OptionError: as for ``subject_split``.
    """
    ids = _checked_ids(entries)
    _check_fractions(fractions)
    where = {case: part for part in PARTS for case in split.part(part)}
    groups = _by_subject(entries)
    for subject, cases in groups.items():
        known = [where[case] for case in cases if case in where]
        part = min(known, key=PARTS.index) if known else _drawn(split.seed, subject, fractions)
        for case in cases:
            where.setdefault(case, part)
    old = set(split.cases())
    order = [*split.cases(), *(case for case in ids if case not in old)]
    return _assembled(split.name, split.unit, split.seed, order, where)


def k_fold(entries: Sequence[CaseEntry], k: int, seed: int = 0) -> list[Split]:
    """K splits by subject; every case is tested once. Fold i tests, fold i + 1 validates, the rest trains.

    Folds are filled so that they hold equally many cases, as near as subjects allow.

    Raises:
        OptionError: for fewer than 3 folds or fewer subjects than folds; without cases, or one given twice.
    """
    ids = _checked_ids(entries)
    groups = _by_subject(entries)
    if not 3 <= k <= len(groups):
        raise OptionError(f"{k} folds of {len(groups)} subjects; at least 3, and a subject for each, are needed")
    folds: list[list[str]] = [[] for _ in range(k)]
    # the subjects with most cases first: those with one case even out what is left
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
    """How far a split lets a subject into more than one part.

    Returns:
        ``subjects_in_several_parts`` and ``cases_of_those_subjects`` (counts), ``subjects`` (their ids),
        ``test_cases``, ``test_cases_with_subject_in_train`` and their share ``test_share``; the same three for
        validation; ``cases_in_no_part``: cases of the data set that the split leaves out.
    """
    subject_of = {entry.case_id: entry.subject_id for entry in entries}
    parts = {name: [subject_of[case] for case in split.part(name) if case in subject_of] for name in PARTS}
    seen = Counter(subject for name in PARTS for subject in set(parts[name]))
    leaking = {subject for subject, count in seen.items() if count > 1}
    report: dict[str, Any] = {
        "subjects_in_several_parts": len(leaking),
        "cases_of_those_subjects": sum(subject in leaking for name in PARTS for subject in parts[name]),
        "subjects": sorted(leaking),
    }
    trained = set(parts["train"])
    for name in ("validation", "test"):
        known = sum(subject in trained for subject in parts[name])
        report[f"{name}_cases"] = len(parts[name])
        report[f"{name}_cases_with_subject_in_train"] = known
        report[f"{name}_share"] = known / len(parts[name]) if parts[name] else 0.0
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
    """Where validation and test begin."""
    # 1e-9: 0.7 + 0.1 is a little less than 0.8 in binary, and 240 of 300 must not become 239
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
