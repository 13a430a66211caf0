"""Studies to export, and the command that exports them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
from export_files import frames_of, write_studies, write_volume

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


@pytest.fixture
def served(tmp_path) -> Path:
    """A folder of images as a server has it, without labels."""
    folder = tmp_path / "served"
    for seed, case in enumerate(("alpha", "beta")):
        write_volume(folder / f"{case}.mha", frames_of(seed))
    index = {"name": "n", "description": "d", "images_dir": ".", "labels_dir": "labels"}
    objects = {case: {"image": {"ext": ".mha", "info": {}}, "labels": {}} for case in ("alpha", "beta")}
    (folder / "datastore_v2.json").write_text(json.dumps(index | {"objects": objects}))
    return folder


@pytest.fixture
def bring(served, capsys):
    """Run ``fetaliqa labels import``; gives exit code, results by case and error text."""

    def run(source, kind, *words, rater="cleo", studies=None):
        capsys.readouterr()
        words = ["labels", "import", str(source), "--from", kind, "--rater", rater, "--json", *words]
        code = main([*words, "--quiet", "--studies", str(studies or served)])
        out, err = capsys.readouterr()
        return code, {one["case_id"]: one for one in json.loads(out)} if out else {}, err

    return run
