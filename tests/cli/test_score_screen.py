"""``fetaliqa score --screen`` as a user runs it."""

from __future__ import annotations

import json

import pytest

from fetaliqa.cli.main import main


@pytest.mark.usefixtures("own_cache")
def test_the_demo_model_outlines_a_sample_by_screening_as_by_looking_at_all(sample_case, capsys) -> None:
    """Phantom only."""
    records = []
    for command in (["--screen"], []):
        assert main(["score", str(sample_case), "--quiet", "--json", "--no-cache", *command]) == 0
        records.append(json.loads(capsys.readouterr().out))
    screened, whole = records
    assert sum(frame["positive"] is None for frame in screened["frames"]) > 0.3 * len(screened["frames"])
    outlined = [[f["index"] for f in record["frames"] if f["positive"]] for record in records]
    assert outlined[0] == outlined[1] != []
    assert screened["best"] == whole["best"]
    assert main(["score", str(sample_case), "--quiet", "--screen", "--student", "none"]) == 2
    assert "there is no student" in capsys.readouterr().err
