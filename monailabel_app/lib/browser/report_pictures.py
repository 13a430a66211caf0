"""Pictures of a gate's report: files of the training run, in the studies folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fetaliqa.retraining.gate_pictures import FOLDER
from fetaliqa.retraining.retraining_paths import ASKED, run_folder


def pictures_of(studies: Path, report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The frames that a report has pictures of; none where its run is not one of these studies.

    Args:
        studies: the served folder.
        report: of a version of the model.
    """
    folder, gate = _run(studies, report), report.get("gate")
    listed = gate.get("pictures") if isinstance(gate, dict) else None
    if folder is None or not isinstance(listed, list) or not (folder / FOLDER).is_dir():
        return []
    return [one for one in listed if isinstance(one, dict)]


def picture_file(studies: Path, report: Mapping[str, Any], number: int, side: str) -> Path | None:
    """The file of a picture; None where there is none.

    Args:
        studies: the served folder.
        report: of a version of the model.
        number: of the frame in the list.
        side: ``published`` or ``candidate``.
    """
    folder = _run(studies, report)
    if folder is None or number >= len(pictures_of(studies, report)):
        return None
    file = folder / FOLDER / f"{number}-{side}.jpg"
    return file if file.is_file() and not file.is_symlink() else None


def _run(studies: Path, report: Mapping[str, Any]) -> Path | None:
    """The folder of the run that wrote a report, if it is this one and not another of that number."""
    number = report.get("run")
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        return None
    folder = run_folder(studies, number)
    try:
        asked = json.loads((folder / ASKED).read_text(encoding="utf-8"))
        same = asked["started"] == report.get("started") and asked["name"] == report.get("name")
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return folder if same else None
