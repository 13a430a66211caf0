"""The tables over all cases of a run, in the order of the input, whoever scored them."""

from __future__ import annotations

from collections.abc import Sequence

from fetaliqa.errors import StorageError
from fetaliqa.scoring.folder import write_csv
from fetaliqa.scoring.job import FAILED, Outcome, ScoreJob
from fetaliqa.scoring.marks import read_mark
from fetaliqa.scoring.summary import summary_columns


def write_tables(job: ScoreJob, outcomes: Sequence[Outcome], suffix: str = "") -> None:
    """Write summary.csv from the done marks, and failed.csv where a case failed.

    Args:
        job: whose ``out`` they go to.
        outcomes: of all cases, in the order of the input.
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
        {"case": outcome.case.name, "path": outcome.case.path, "reason": outcome.reason}
        for outcome in outcomes
        if outcome.status == FAILED
    ]
    table = job.out / f"failed{suffix}.csv"
    if failed:
        write_csv(table, ("case", "path", "reason"), failed)
    else:
        table.unlink(missing_ok=True)
