"""Splits of cases into training, validation and test parts, and their file format."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from fetaliqa.atomic import write_json
from fetaliqa.datasets.labelled_data import CaseEntry
from fetaliqa.errors import NotFoundError, OptionError

SCHEMA = 1
PARTS = ("train", "validation", "test")
UNITS = ("case", "subject")

Unit = Literal["case", "subject"]


@dataclass(frozen=True)
class Split:
    """A split of cases into three parts.

    Attributes:
        name: short name, for run folders and tables.
        unit: unit of the split: single cases, or all cases of a subject.
        seed: random seed; text if it exceeds 64 bits, None for a manual split.
        train, validation, test: case ids.
        schema: version of the file format.

    Raises:
        OptionError: when a case occurs twice, or ``unit`` is unknown.
    """

    name: str
    unit: Unit
    seed: int | str | None
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    schema: int = SCHEMA

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise OptionError(f"split {self.name!r}: unit {self.unit!r}; it must be one of {', '.join(UNITS)}")
        duplicates = [case for case, count in Counter(self.cases()).items() if count > 1]
        if duplicates:
            raise OptionError(
                f"split {self.name!r}: case {duplicates[0]} is named {self.cases().count(duplicates[0])} times; "
                "keep it in one part"
            )

    def part(self, name: str) -> tuple[str, ...]:
        """Case ids of ``train``, ``validation`` or ``test``.

        Raises:
            OptionError: for another name.
        """
        if name not in PARTS:
            raise OptionError(f"part {name!r} of a split; it must be one of {', '.join(PARTS)}")
        cases: tuple[str, ...] = getattr(self, name)
        return cases

    def cases(self) -> tuple[str, ...]:
        """All case ids."""
        return self.train + self.validation + self.test

    def hash(self) -> str:
        """SHA-256 (hex) of the parts' cases, independent of the split's name and the order of cases."""
        content = json.dumps({name: sorted(self.part(name)) for name in PARTS}, sort_keys=True)
        return hashlib.sha256(content.encode("utf-8")).hexdigest()

    def restricted(self, case_ids: Iterable[str]) -> Split:
        """The split restricted to ``case_ids``, for a folder in which some cases are missing."""
        available = set(case_ids)
        train, validation, test = (tuple(case for case in self.part(name) if case in available) for name in PARTS)
        return replace(self, train=train, validation=validation, test=test)


def write_split(path: Path, split: Split) -> None:
    """Write a split as JSON, atomically."""
    write_json(Path(path), asdict(split))


def read_split(path: Path, entries: Sequence[CaseEntry] | None = None) -> Split:
    """Read a split that ``write_split`` wrote.

    Args:
        path: the file.
        entries: cases of the data set, if the split must not contain others.

    Raises:
        NotFoundError: when there is no such file.
        OptionError: when it is not a split, lacks a key, or has a case twice or one that is not in ``entries``.
    """
    content = _read_object(path)
    missing = [key for key in ("schema", "name", "unit", "seed", *PARTS) if key not in content]
    if missing:
        raise OptionError(f"{path.name}: no {missing[0]!r} in it; write splits with `fetaliqa data split`")
    return _parsed(path, content, entries)


def custom(path: Path, entries: Sequence[CaseEntry] | None = None) -> Split:
    """Read a manual split: JSON with lists of case ids under ``train``, ``validation`` and ``test``.

    Other keys are optional; a part may be empty.

    Raises:
        NotFoundError, OptionError: as for ``read_split``.
    """
    content = _read_object(path)
    missing = [part for part in PARTS if part not in content]
    if missing:
        raise OptionError(f"{path.name}: no {missing[0]!r} in it; list the case ids of {', '.join(PARTS)}")
    defaults = {"schema": SCHEMA, "name": Path(path).stem, "unit": "case", "seed": None}
    return _parsed(path, {**defaults, **content}, entries)


def _read_object(path: Path) -> Mapping[str, Any]:
    path = Path(path)
    if not path.is_file():
        raise NotFoundError(f"{path}: no such split file; write one with `fetaliqa data split`")
    try:
        content = json.loads(path.read_bytes())  # with a byte order mark, or without
    except ValueError as problem:
        raise OptionError(f"{path.name}: not JSON ({problem}); write it again") from None
    if not isinstance(content, dict):
        raise OptionError(f"{path.name}: a JSON {type(content).__name__}; a split is an object with {PARTS}")
    return content


def _parsed(path: Path, content: Mapping[str, Any], entries: Sequence[CaseEntry] | None) -> Split:
    name, seed = content["name"], content["seed"]
    if content["schema"] != SCHEMA:
        raise OptionError(f"{path.name}: schema {content['schema']!r}; this version reads {SCHEMA}")
    if not isinstance(name, str) or not (seed is None or type(seed) in (int, str)):
        raise OptionError(f"{path.name}: name {name!r} and seed {seed!r}; text, and a number, text or null needed")
    for part in PARTS:
        cases = content[part]
        if not isinstance(cases, list) or not all(isinstance(case, str) for case in cases):
            raise OptionError(f"{path.name}: {part!r} must be a list of case ids in quotes")
    train, validation, test = (tuple(content[part]) for part in PARTS)
    split = Split(name, content["unit"], seed, train, validation, test)
    if entries is not None:
        available = {entry.case_id for entry in entries}
        unknown = [case for case in split.cases() if case not in available]
        if unknown:
            raise OptionError(
                f"{path.name}: {len(unknown)} of its {len(split.cases())} cases are not in the data set "
                f"({unknown[0]}, ...); give the folder it was made for, or make a new split"
            )
    return split
