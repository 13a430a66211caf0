"""``fetaliqa score --screen`` as a user runs it."""

from __future__ import annotations

import json

import pytest
from students import shipped_student

from fetaliqa.cli.main import main
from fetaliqa.inference.screened_search import ScreenLimits
from fetaliqa.model import Bundle
from fetaliqa.registry.model_store import resolve_bundle


@pytest.mark.usefixtures("own_cache")
def test_a_sample_is_outlined_by_screening_as_by_assessing_all_frames(sample_case, tmp_path, capsys) -> None:
    """Phantom only."""
    teacher = Bundle.open(resolve_bundle("demo"))
    student = shipped_student(tmp_path / "student", teacher, ScreenLimits(0.05, 0.5, 0.02))
    records = []
    for command in (["--screen", "--student", str(student)], []):
        command = ["score", str(sample_case), "--model", "demo", "--quiet", "--json", "--no-cache", *command]
        assert main(command) == 0
        records.append(json.loads(capsys.readouterr().out))
    screened, whole = records
    assert sum(frame["positive"] is None for frame in screened["frames"]) > 0.3 * len(screened["frames"])
    outlined = [[f["index"] for f in record["frames"] if f["positive"]] for record in records]
    assert outlined[0] == outlined[1] != []
    assert screened["best"] == whole["best"]
    assert main(["score", str(sample_case), "--quiet", "--screen", "--student", "none"]) == 2
    assert "no student" in capsys.readouterr().err
