"""Number of frames confirmed since the last training."""

from __future__ import annotations

import json
from pathlib import Path

from fetaliqa.labels.studies import Studies
from fetaliqa.retraining.confirmed_frames import confirmed_cases
from fetaliqa.retraining.retraining_paths import ASKED, last_run, run_folder


def newly_confirmed(studies: Path) -> int:
    """Frames confirmed since the start of the last training; all of them, without one.

    Counted case by case: frames withdrawn in one case do not offset those added in another.

    Raises:
        NotFoundError, SweepError: when the folder cannot be read.
    """
    before: dict[str, int] = {}
    number = last_run(studies)
    if number is not None:
        try:
            record = json.loads((run_folder(studies, number) / ASKED).read_text(encoding="utf-8"))
            before = {str(case): int(count) for case, count in record["confirmed"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            before = {}
    cases, _ = confirmed_cases(Studies(studies))
    return sum(max(0, case.frames - before.get(case.case_id, 0)) for case in cases)
