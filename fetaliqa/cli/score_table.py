"""What ``fetaliqa score`` prints of a case."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from fetaliqa.measure.case_words import growth_lines, measurement_lines

if TYPE_CHECKING:
    from fetaliqa.batch.batch_job import Outcome, ScoreJob


def print_outcome(job: ScoreJob, outcome: Outcome, *, as_json: bool, first: bool) -> None:
    """Print the assessment of a case that did not fail: a table, or one line of JSON.

    Args:
        job: whose case it is.
        outcome: of the case; without a record, the assessment is read from the case's folder.
        as_json: instead of a table.
        first: whether the table comes first, and says what model it is of.
    """
    from fetaliqa.batch.case_folder import ASSESSMENT_FILE

    record = outcome.record
    if record is None:
        assert job.out is not None
        record = json.loads((job.out / outcome.case.name / ASSESSMENT_FILE).read_text(encoding="utf-8"))
    if as_json:
        print(json.dumps(record), flush=True)
    else:
        _print_case(record, first=first)


def _print_case(record: dict[str, Any], *, first: bool) -> None:
    from fetaliqa.batch.case_summary import summary_row

    measurement = record["model"]["measurement"]
    if first:
        model = record["model"]
        print(f"model {model['name']} {model['version']}: {model['anatomy']}, {measurement}; not for clinical use")
        print("frames and sweeps are counted from 0")
    summary = summary_row(record)
    print(
        f"\n{summary['case']}: {_counted(summary['frames'], 'frame')} in {_counted(summary['sweeps'], 'sweep')}, "
        f"{summary['positive']} show the {record['model']['anatomy']}"
        + (f" ({summary['looked_at']} evaluated)" if summary["looked_at"] < summary["frames"] else "")
    )
    for note in record["notes"]:
        print(f"  note: {note}")
    if record["best"] is None:
        print(f"  {record['reason']}")
    else:
        _print_ranking(record, measurement)
    for line in (*measurement_lines(record), *growth_lines(record)):
        print(f"  {line}")


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _print_ranking(record: dict[str, Any], measurement: str) -> None:
    from fetaliqa.batch.case_summary import remark
    from fetaliqa.measure.frame_size import recorded_mm

    has_dice = any("expected_dice" in record["frames"][index] for index in record["ranking"])
    columns = f"{'rank':>4} {'frame':>6} {'sweep':>6} {'quality':>8} {'expected Dice' if has_dice else ''}"
    print(f"  {columns.rstrip()} {measurement + ' mm':>8}  remark")
    for rank, index in enumerate(record["ranking"], start=1):
        frame = record["frames"][index]
        size = recorded_mm(frame)
        dice = f" {format(frame['expected_dice'], '.2f'):>13}" if has_dice else ""
        print(
            f"  {rank:>4} {index:>6} {frame['sweep']:>6} {frame['quality']:>8.3f}{dice} "
            f"{'-' if size is None else format(size, '.1f'):>8}  {remark(frame)}"
        )
