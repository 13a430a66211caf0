"""What the command loads before its first answer: only what that answer needs."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
from app_harness import REPOSITORY, environment, write_case

from monailabel_app.lib.startup.lazy_monai import LazyPackages

# stands in for uvicorn: serves in this process, so that what was imported can be told
COMMAND = """
import importlib, json, sys
import uvicorn
from fastapi.testclient import TestClient

def run(server, sockets):
    module, _, name = server.config.app.partition(":")
    with TestClient(getattr(importlib.import_module(module), name), base_url="http://localhost") as client:
        status = client.get("/info/").status_code
        print("ANSWER", json.dumps([status, sorted(name for name in sys.modules if "." not in name)]))

uvicorn.Server.run = run
from monailabel_app.serve import main
sys.exit(main(["--studies", sys.argv[1], "--port", "0", "--conf", "cache_dir", sys.argv[2]]))
"""


def run(root: Path, code: str, *arguments: str) -> str:
    for folder in ("temporary", "home"):
        (root / folder).mkdir()
    ended = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=REPOSITORY,
        env=environment(root) | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    return ended.stdout


@pytest.mark.slow
def test_the_first_answer_waits_for_nothing_that_only_others_need(tmp_path: Path) -> None:
    write_case(tmp_path / "studies" / "case_a.mha", 3)
    printed = run(tmp_path, COMMAND, str(tmp_path / "studies"), str(tmp_path / "cache"))
    answer = next(line for line in printed.splitlines() if line.startswith("ANSWER"))
    status, modules = json.loads(answer.removeprefix("ANSWER"))
    assert status == 200
    assert {"monailabel", "fetaliqa", "torch"} <= set(modules)
    heavy = {"monai", "itk", "ignite", "mlflow", "transformers", "torchvision", "open_clip", "peft", "lightning"}
    assert heavy.union({"matplotlib", "sklearn", "skimage"}).intersection(modules) == set()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A package that notes that it is imported, and one module of it."""
    folder = tmp_path / "slow_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("import os\nos.environ['SLOW_PACKAGE'] = 'imported'\n")
    (folder / "parts.py").write_text("class Part:\n    size = 3\n\ndef add(a, b=1):\n    return a + b\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("SLOW_PACKAGE", "")
    yield folder.name
    for name in [name for name in sys.modules if name.partition(".")[0] == folder.name]:
        del sys.modules[name]


def test_a_promised_name_is_the_real_one_when_it_is_used(package: str) -> None:
    promises = LazyPackages([package])
    promises.begin()
    parts = importlib.import_module(f"{package}.parts")
    whole = importlib.import_module(package)
    part, add = parts.Part, parts.add
    promises.end()
    assert package not in sys.modules
    assert os.environ["SLOW_PACKAGE"] == ""
    assert add(2, b=3) == 5
    assert os.environ["SLOW_PACKAGE"] == "imported"
    real = importlib.import_module(f"{package}.parts")
    assert issubclass(types.new_class("Ours", (part,)), real.Part)
    assert isinstance(real.Part(), part)
    assert issubclass(real.Part, part)
    assert part.size == 3
    assert type(part()) is real.Part
    assert whole.parts.add(1) == 2


def test_a_promise_used_while_others_are_still_made_ends_them(package: str) -> None:
    promises = LazyPackages([package])
    promises.begin()
    assert importlib.import_module(f"{package}.parts").add(1) == 2
    assert promises not in sys.meta_path
    assert importlib.import_module(f"{package}.parts").Part.__module__ == f"{package}.parts"


def test_what_was_imported_before_is_not_promised(package: str) -> None:
    real = importlib.import_module(package)
    promises = LazyPackages([package])
    promises.begin()
    try:
        assert importlib.import_module(package) is real
        assert isinstance(importlib.import_module(f"{package}.parts").Part, type)
    finally:
        promises.end()
