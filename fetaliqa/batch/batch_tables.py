"""The tables over all cases of a run, in the order of the input."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fetaliqa.batch.batch_job import FAILED, Outcome, ScoreJob
from fetaliqa.batch.case_folder import write_csv
from fetaliqa.batch.case_summary import summary_columns
from fetaliqa.batch.done_marker import read_marker
from fetaliqa.case_names import printable
from fetaliqa.errors import StorageError
from fetaliqa.sweep.case_paths import LeftOut


def write_tables(
    job: ScoreJob, outcomes: Sequence[Outcome], left_out: Sequence[LeftOut] = (), suffix: str = ""
) -> None:
    """Write summary.csv from the done markers, and failed.csv and left_out.csv unless they would be empty.

    Args:
        job: they are written to its ``out``.
        outcomes: of all cases, in the order of the input.
        left_out: files of the given folders that are no cases.
        suffix: of the tables' names, before ``.csv``.

    Raises:
        StorageError: when a completed case has no marker.
    """
    assert job.out is not None
    rows = []
    for outcome in outcomes:
        if outcome.status == FAILED:
            continue
        marker = read_marker(job.out / outcome.case.name)
        if marker is None:
            raise StorageError(
                f"{job.out / outcome.case.name}: its results were written and are missing now; check that no "
                "other run writes there, and run again with --resume"
            )
        rows.append(marker.summary)
    write_csv(job.out / f"summary{suffix}.csv", summary_columns(job.measurement), rows)
    failed = [
        {"case": outcome.case.name, "path": printable(str(outcome.case.path)), "reason": outcome.reason}
        for outcome in outcomes
        if outcome.status == FAILED
    ]
    _write_or_remove(job.out / f"failed{suffix}.csv", ("case", "path", "reason"), failed)
    _write_or_remove(job.out / f"left_out{suffix}.csv", ("path", "reason"), [one.to_json() for one in left_out])


def _write_or_remove(table: Path, columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    if rows:
        write_csv(table, columns, rows)
    else:
        table.unlink(missing_ok=True)
