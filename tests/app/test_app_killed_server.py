"""What a killed server leaves behind ends by itself, or is shown and stopped by the next server."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
from app_harness import REPOSITORY, Server, case_pixels, free_port, make_bundle, start, stop
from learning_studies import write_stack
from test_app_learning_kill import CASES, FRAMES, NAME, outlined, save

from fetaliqa.active.frame_profiles import ProfileFolder
from fetaliqa.model import Bundle
from fetaliqa.retraining.progress_file import read_progress
from monailabel_app.lib.tasks.worker_processes import SERVER_VARIABLE, WORKER_MODULE, ServerMark, orphaned_workers

pytestmark = pytest.mark.slow

SECONDS = 60


def wait_for(true: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        found = true()
        if found:
            return found
        time.sleep(0.05)
    pytest.fail("it did not happen in time")


def serve(root: Path) -> Server:
    port = free_port()
    command = ["-m", "monailabel_app.serve", "--studies", str(root / "studies"), "--port", str(port)]
    command += ["--conf", "cache_dir", str(root / "cache"), "--conf", "device", "cpu"]
    return start(root, [*command, "--conf", "replay", str(root / "replay")], port)


def kill(server: Server) -> None:
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()


def worker_of(server: Server, method: str) -> psutil.Process | None:
    for process in psutil.Process(server.process.pid).children():
        if ["-m", method] == process.cmdline()[3:5]:
            return process
    return None


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


@pytest.mark.long
def test_the_next_server_shows_and_stops_the_trainer_and_removes_the_uploads_of_a_killed_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_model = make_bundle(tmp_path / "start", "segmentation")
    monkeypatch.setenv("FETALIQA_DEMO_MODEL", str(start_model))
    monkeypatch.setenv("FETALIQA_HOME", str(tmp_path / "home" / "fetaliqa"))
    studies = tmp_path / "studies"
    for number, case in enumerate(CASES):
        write_stack(studies / f"{case}.mha", case_pixels(FRAMES, number))
    for number in (8, 9):
        write_stack(tmp_path / "replay" / "images" / f"old-{number}.mha", case_pixels(FRAMES, number))
        write_stack(tmp_path / "replay" / "labels" / f"old-{number}.mha", outlined())
    long = write_stack(tmp_path / "long.mha", case_pixels(800, 7)).read_bytes()
    first = serve(tmp_path)
    trainer = scorer = None
    try:
        for case in CASES:
            save(first, case, 1, tmp_path)
        assert first.call("POST", f"/train/{NAME}", json={}).status == 200
        assert first.call("POST", "/scoring/frames", json={}).status == 200
        scorer = wait_for(lambda: worker_of(first, "scoring"))
        scorer.suspend()  # while it is still importing
        wait_for(lambda: read_progress(studies)["state"] == "running")
        trainer = worker_of(first, "train")
        assert trainer is not None
        trainer.suspend()  # it cannot notice that its server is gone, as when it hangs in a driver

        def upload() -> None:
            with pytest.raises((OSError, EOFError)):
                first.infer("output=json", files={"file": ("long.mha", long)})

        sender = threading.Thread(target=upload)
        sender.start()
        wait_for(lambda: list(first.temporary.glob("*/*/long.mha")))
        kill(first)
        sender.join(SECONDS)
        assert first.leftovers() != []
        assert not gone(trainer)
        scorer.resume()

        second = serve(tmp_path)
        try:
            assert second.leftovers() == []
            shown = second.raw("GET", "/train/").json()
            assert (shown["status"], shown["id"]) == ("RUNNING", f"process-{trainer.pid}")
            assert f"process {first.process.pid})" in shown["details"][0]
            assert second.raw("GET", "/train/?check_if_running=true").json()["id"] == shown["id"]
            assert second.call("POST", f"/train/{NAME}", json={}).status == 409  # it still has the folder
            assert second.raw("DELETE", "/train/").json()["status"] == "STOPPED"
            assert gone(trainer)
            after = second.raw("GET", "/train/").json()
            assert after["status"] == "STOPPED", after
            assert '"resume": true' in after["details"][0]
            assert second.raw("DELETE", "/train/").json() == {}
            wait_for(lambda: gone(scorer))  # by itself, before it scored anything
            assert ProfileFolder(studies, Bundle.open(start_model).fingerprint).read(CASES[0]) is None
        finally:
            stop(second)
    finally:
        stop(first)
        for worker in (trainer, scorer):
            if worker is not None and not gone(worker):
                worker.kill()


def test_only_a_worker_of_this_folder_whose_server_is_gone_is_taken_for_left(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    own = psutil.Process()
    living = ServerMark(own.pid, own.create_time(), str(tmp_path.resolve()))
    dead = ServerMark(ended.pid, 1.0, str(tmp_path.resolve()))
    recycled = ServerMark(
        own.pid, own.create_time() - 3600, str(tmp_path.resolve())
    )  # the number, another process
    elsewhere = ServerMark(ended.pid, 1.0, str(tmp_path.parent))
    wait = "import sys; sys.stdin.read()"
    started = {}
    for name, mark in {
        "living": living,
        "dead": dead,
        "recycled": recycled,
        "elsewhere": elsewhere,
        "none": "",
    }.items():
        command = [sys.executable, "-c", wait, WORKER_MODULE, "-m", "train", "-r", "{}"]
        environment = {**os.environ, SERVER_VARIABLE: str(mark), "PYTHONPATH": str(REPOSITORY)}
        started[name] = subprocess.Popen(command, stdin=subprocess.PIPE, env=environment)
    try:
        found = orphaned_workers(tmp_path, "train")
        assert {worker.process.pid for worker in found} == {started["dead"].pid, started["recycled"].pid}
        assert orphaned_workers(tmp_path, "scoring") == []
        assert all(worker.stop() for worker in found)
        assert {name for name, process in started.items() if process.poll() is None} == {
            "living",
            "elsewhere",
            "none",
        }
    finally:
        for process in started.values():
            process.kill()
            process.communicate()
