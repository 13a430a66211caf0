"""The tables over all cases of a run, in the order of the input, whoever scored them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fetaliqa.batch.batch_job import FAILED, Outcome, ScoreJob
from fetaliqa.batch.case_folder import write_csv
from fetaliqa.batch.case_summary import summary_columns
from fetaliqa.batch.done_marker import read_mark
from fetaliqa.case_names import printable
from fetaliqa.errors import StorageError
from fetaliqa.sweep.case_paths import LeftOut


def write_tables(
    job: ScoreJob, outcomes: Sequence[Outcome], left_out: Sequence[LeftOut] = (), suffix: str = ""
) -> None:
    """Write summary.csv from the done marks, failed.csv and left_out.csv where there is something to say there.

    Args:
        job: whose ``out`` they go to.
        outcomes: of all cases, in the order of the input.
        left_out: of the folders that were given.
        suffix: of the tables' names, before ``.csv``.

    Raises:
        StorageError: when a case that is done has no mark.
    """
    assert job.out is not None
    rows = []
    for outcome in outcomes:
        if outcome.status == FAILED:
            continue
        mark = read_mark(job.out / outcome.case.name)
        if mark is None:
            raise StorageError(
                f"{job.out / outcome.case.name}: was written and is not there now; if nobody removed it, "
                "is another run writing there? Run again with --resume"
            )
        rows.append(mark.summary)
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
