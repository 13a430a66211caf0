"""A table of gestational ages: a CSV file with the columns ``case`` and ``age``."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fetaliqa.batch.batch_job import Case
from fetaliqa.case_names import printable
from fetaliqa.datasets.csv_text import csv_text
from fetaliqa.errors import GrowthError, NotFoundError, OptionError
from fetaliqa.measure.fetal_growth import GestationalAge

COLUMNS = ("case", "age")
TABLE = "table"  # source of an age, as the record has it


def with_ages(cases: Sequence[Case], table: Path) -> list[Case]:
    """The cases with their ages from a table; those without a row, or with an empty age, have none.

    Args:
        cases: all cases of the run.
        table: a row for each case: its name or file name, and an age such as ``24w3d``.

    Raises:
        NotFoundError: when there is no such file.
        OptionError: when a column is missing, or a case is unknown or listed twice.
        GrowthError: when an age is not understood.
    """
    ages = _ages(table)
    names = {name: case.name for case in cases for name in (case.path.name, case.name)}
    by_case: dict[str, GestationalAge | None] = {}
    for name, age in ages:
        if name not in names:
            raise OptionError(f"{table}: {printable(name)!r} is none of the {len(cases)} cases; check its name")
        if names[name] in by_case:
            raise OptionError(f"{table}: {printable(name)!r} is listed twice; keep one row for each case")
        by_case[names[name]] = age
    return [replace(case, age=by_case.get(case.name)) for case in cases]


def _ages(table: Path) -> list[tuple[str, GestationalAge | None]]:
    try:
        with csv_text(table) as stream:
            reader = csv.DictReader(stream)
            if missing := [name for name in COLUMNS if name not in (reader.fieldnames or ())]:
                found = ", ".join(repr(printable(name)) for name in reader.fieldnames or ()) or "none"
                raise OptionError(
                    f"{table}: no column {' and '.join(map(repr, missing))} in its first line, which has {found}; "
                    "'case' and 'age' are needed, separated by a comma"
                )
            return [_row(table, reader.line_num, row) for row in reader]
    except FileNotFoundError:
        raise NotFoundError(f"{table}: no such table of ages; check the path") from None
    except (OSError, csv.Error) as problem:
        raise OptionError(
            f"{table}: not a readable CSV file ({getattr(problem, 'strerror', None) or problem})"
        ) from None


def _row(table: Path, line: int, row: dict[str, str | None]) -> tuple[str, GestationalAge | None]:
    text = (row["age"] or "").strip()
    try:
        return (row["case"] or "").strip(), GestationalAge.parse(text, TABLE) if text else None
    except GrowthError as problem:
        raise GrowthError(f"{table}, line {line}: {problem}") from None
