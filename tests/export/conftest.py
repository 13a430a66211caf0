"""Studies to export, and the command that exports them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from export_files import write_studies

from fetaliqa.cli.main import main


@pytest.fixture(scope="session")
def studies(tmp_path_factory) -> Path:
    return write_studies(tmp_path_factory.mktemp("studies") / "studies")


@pytest.fixture
def export(studies, tmp_path, capsys):
    """Run ``fetaliqa export``; gives exit code, card, error text and the folder."""

    def run(*words, folder=None, name="out") -> SimpleNamespace:
        out = tmp_path / name
        capsys.readouterr()  # what others printed
        code = main(["export", str(folder or studies), str(out), "--json", "--quiet", *map(str, words)])
        printed, err = capsys.readouterr()
        return SimpleNamespace(code=code, card=json.loads(printed) if code == 0 else None, err=err, out=out)

    return run
