"""Where a server writes: into the studies folder, never beside its own code; else it does not start."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from app_harness import REPOSITORY, environment, free_port, start, stop, write_case

from fetaliqa.errors import OptionError
from monailabel_app.lib.startup.conf import ServerConf
from monailabel_app.lib.startup.studies_option import check_studies

NOBODY = 65534


def refused(root: Path, studies: Path) -> str:
    """Standard error of a server that does not start; as a user without the rights of root."""
    for folder in ("temporary", "home"):
        (root / folder).mkdir(exist_ok=True)
        (root / folder).chmod(0o777)
    command = [sys.executable, "-m", "monailabel_app.serve", "--studies", str(studies), "--port", str(free_port())]
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        other = [str(setpriv), f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        if setpriv is None or subprocess.run([*other, sys.executable, "-c", ""], check=False).returncode:
            pytest.skip("no other user can run this Python")
        command = [*other, *command]
    ended = subprocess.run(
        command,
        cwd=REPOSITORY,
        env=environment(root) | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 2, ended.stderr[-2000:]
    return ended.stderr


@pytest.fixture
def open_to_others() -> Iterator[Path]:
    """A folder that another user can reach; those that pytest makes are closed to all others."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.parametrize("readonly", [".", "label-versions"])
def test_studies_that_cannot_be_written_are_refused_in_one_sentence(open_to_others: Path, readonly: str) -> None:
    studies = open_to_others / "studies"
    write_case(studies / "case_a.mha", 3)
    (studies / "label-versions").mkdir()
    for folder in (studies, studies / "label-versions"):
        folder.chmod(0o777)
    (studies / readonly).chmod(0o555)
    said = refused(open_to_others, studies)
    assert said.startswith(f"error: --studies {studies}: ")
    assert said.count("\n") == 1
    assert "Permission denied" in said
    assert sorted(path.name for path in studies.iterdir()) == ["case_a.mha", "label-versions"]


def test_studies_in_a_closed_folder_are_refused_in_one_sentence(open_to_others: Path) -> None:
    studies = open_to_others / "closed" / "studies"
    write_case(studies / "case_a.mha", 3)
    studies.parent.chmod(0o700)
    said = refused(open_to_others, studies)
    assert said.startswith(f"error: --studies {studies}: ")
    assert said.count("\n") == 1


def test_studies_that_are_no_folder_are_refused_by_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "case.mha").write_text("x")
    # of a variable that is not set comes an empty name, which Path takes for the working folder
    for studies, said in (("", "is empty"), (" ", "is empty"), (str(tmp_path / "case.mha"), "is a file")):
        with pytest.raises(OptionError, match=f"^--studies .*{said}"):
            check_studies(studies, ServerConf.from_conf({}))


def test_a_server_logs_in_its_studies_folder_and_leaves_its_own_code_alone(tmp_path: Path) -> None:
    write_case(tmp_path / "studies" / "case_a.mha", 3)
    ignored = shutil.ignore_patterns("logs", "model", "bin", "__pycache__")
    shutil.copytree(REPOSITORY / "monailabel_app", tmp_path / "installed" / "monailabel_app", ignore=ignored)
    app = tmp_path / "installed" / "monailabel_app"
    before = {path for path in app.rglob("*") if "__pycache__" not in path.parts}
    port = free_port()
    command = ["-m", "monailabel_app.serve", "--studies", str(tmp_path / "studies"), "--port", str(port)]
    server = start(tmp_path, command, port, cwd=app.parent)
    try:
        shown = server.raw("GET", "/logs/?html=false&lines=0")
    finally:
        stop(server)
    log = (tmp_path / "studies" / "server-logs" / "app.log").read_text()
    assert "FetalIQA is serving 1 image(s)" in log
    assert "FetalIQA is serving 1 image(s)" in shown.body.decode()
    assert {path for path in app.rglob("*") if "__pycache__" not in path.parts} == before
    assert list((tmp_path / "temporary").iterdir()) == []
