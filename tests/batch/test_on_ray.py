"""``fetaliqa score --engine ray`` on a real cluster of two nodes, both on this machine."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from waiting import wait_for

from fetaliqa.batch.batch_job import Case, ScoreJob
from fetaliqa.batch.case_folder import remove_unfinished
from fetaliqa.errors import StorageError
from fetaliqa.registry.assessment_setup import AssessmentSetup

pytestmark = pytest.mark.slow


TOKEN = secrets.token_hex(32)


@contextlib.contextmanager
def started_cluster(cpus: int) -> Iterator[Any]:
    """A cluster of one node; nobody without this test's token may use it."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RAY_AUTH_MODE", "token")
        environment.setenv("RAY_AUTH_TOKEN", TOKEN)
        environment.setenv("RAY_USAGE_STATS_ENABLED", "0")
        from ray.cluster_utils import Cluster  # reads them

        made = Cluster(initialize_head=True, head_node_args={"num_cpus": cpus, "include_dashboard": False})
        try:
            yield made
        finally:
            made.shutdown()


def scored_while(
    score: Callable[..., int], cluster: Any, cases: Path, out: Path, happens: Callable[[], None]
) -> int:
    """Score on the cluster; once a case is done, something happens to it."""

    def wait() -> None:
        end = time.monotonic() + 120
        while not any(out.glob("*/done.json")) and time.monotonic() < end:
            time.sleep(0.005)
        happens()

    meanwhile = threading.Thread(target=wait)
    meanwhile.start()
    try:
        return score(cases, "--out", out, "--engine", "ray", "--address", cluster.address)
    finally:
        meanwhile.join()


def workers_at_work() -> list[int]:
    """Processes of Ray that have a shard, of whose names Ray makes ``ray::score_shard``."""
    workers = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"ray::score_shard" in (process / "cmdline").read_bytes():
                workers.append(int(process.name))
    return workers


@pytest.mark.long  # test_processes.py kills a worker of the other engine
def test_a_killed_worker_costs_its_shard_only_and_the_results_are_the_same(
    small_cases, tmp_path, score, whole_run, contents
):
    killed: list[int] = []

    def kill_one() -> None:
        end = time.monotonic() + 30
        while not killed and time.monotonic() < end:
            killed.extend(workers_at_work()[:1])
        os.kill(killed[0], signal.SIGKILL)

    with started_cluster(cpus=2) as cluster:
        assert scored_while(score, cluster, small_cases, tmp_path / "out", kill_one) == 0
    assert len(killed) == 1
    assert contents(tmp_path / "out") == contents(whole_run)


@pytest.mark.long  # as a killed worker
def test_a_node_that_goes_away_is_done_without(small_cases, tmp_path, score, whole_run, contents):
    out = tmp_path / "out"
    with started_cluster(cpus=1) as both:
        second = both.add_node(num_cpus=1)

        def lose_it() -> None:
            both.remove_node(second, allow_graceful=False)

        assert scored_while(score, both, small_cases, out, lose_it) == 0
    wait_for(lambda: nothing_unfinished(out))  # a worker of the lost node may die after the run has ended
    assert contents(out) == contents(whole_run)


def nothing_unfinished(out) -> bool:
    """Whether everything that processes left half-written can be removed, as the next run does."""
    remove_unfinished(out)
    return not (out / ".unfinished").exists()


@pytest.mark.parametrize(
    ("address", "printed"),
    [("127.0.0.1:9", "no Ray cluster at '127.0.0.1:9'"), ("nowhere", "HOST:PORT"), ("here:99999", "HOST:PORT")],
)
def test_a_cluster_that_is_not_there_is_one_sentence(small_cases, tmp_path, score, capsys, address, printed):
    assert score(small_cases, "--out", tmp_path / "out", "--engine", "ray", "--address", address) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert printed in sentence


def test_what_to_install_is_said(small_cases, tmp_path, score, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    assert score(small_cases, "--out", tmp_path / "out", "--engine", "ray") == 2
    assert "fetaliqa[ray]" in capsys.readouterr().err


def test_a_folder_to_write_to_is_needed(small_cases, score, capsys):
    assert score(small_cases, "--engine", "ray") == 2
    assert "--out" in capsys.readouterr().err


def test_a_worker_that_sees_another_results_folder_refuses(small_cases, tmp_path):
    from fetaliqa.batch.ray_engine import results_id, score_shard

    shared, other = tmp_path / "shared", tmp_path / "other"
    shared.mkdir()
    other.mkdir()
    job = ScoreJob(
        setup=AssessmentSetup(tmp_path, device="cpu"),
        made_with={},
        measurement="AC",
        out=shared,
        out_id=results_id(shared),
    )
    assert results_id(shared) == job.out_id  # it keeps its name
    results_id(other)
    for elsewhere in (other, tmp_path / "nowhere"):
        with pytest.raises(StorageError, match="not the same folder"):
            score_shard(replace(job, out=elsewhere), (Case.of(small_cases / "case0.mha"),), 1)
