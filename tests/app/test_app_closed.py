"""An app that is closed leaves nothing running: no thread, and no model in memory."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from app_harness import REPOSITORY, environment, write_case

pytestmark = pytest.mark.slow

APPS = 6
# each app does what one that serves does
CODE = """
import gc, json, sys, threading, time, weakref
from monailabel_app.main import FetalIQAApp

def names():
    return sorted(thread.name for thread in threading.enumerate())

studies, conf = sys.argv[1], json.loads(sys.argv[2])
threads, during, models = [], [], []
for number in range(int(sys.argv[3])):
    app = FetalIQAApp("monailabel_app", studies, conf)
    app.server_mode(True)
    app.on_init_complete()
    if number < 2:
        app.infer({"model": "fetalclip_seg", "image": "case_a", "output": "json"})
        models.append(weakref.ref(app._infers["fetalclip_seg"].serving.current().load()))
    during.append(len(names()))
    if number % 2:
        app.close()
    else:
        del app  # as MONAI Label's plain server does: the next app for the same studies closes it
        continue
    del app
    for thread in threading.enumerate():
        if thread.name == "label-queue":
            thread.join()
    deadline = time.monotonic() + 10  # threads that were told to end take a moment
    while threads and names() != threads[0] and time.monotonic() < deadline:
        time.sleep(0.05)
    threads.append(names())
gc.collect()
modules = sorted(name for name in sys.modules if "." not in name)
print("FOUND", json.dumps([threads, during, [model() is None for model in models], modules]))
"""


def test_apps_one_after_the_other_leave_no_thread_and_no_model(tmp_path: Path, bundle: Path) -> None:
    write_case(tmp_path / "studies" / "case_a.mha", 3)
    for folder in ("temporary", "home"):
        (tmp_path / folder).mkdir()
    conf = {"bundle": str(bundle), "cache_gb": "0", "auto_retrain": "5"}
    ended = subprocess.run(
        [sys.executable, "-c", CODE, str(tmp_path / "studies"), json.dumps(conf), str(APPS)],
        cwd=REPOSITORY,
        env=environment(tmp_path) | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr[-3000:]
    line = next(line for line in ended.stdout.splitlines() if line.startswith("FOUND"))
    threads, during, freed, modules = json.loads(line.removeprefix("FOUND"))
    assert len(threads) == APPS // 2
    assert all(left == threads[0] for left in threads)
    assert during[-1] > len(threads[-1])  # while it serves there are some
    assert freed == [True, True]
    assert "torch" in modules
    assert {"monai", "itk", "mlflow"}.isdisjoint(modules)  # their import takes seconds, and nothing needs them
