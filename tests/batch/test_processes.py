"""``fetaliqa score --processes`` and ``--shard``: who computes makes no difference, and the dead cost little."""

from __future__ import annotations

import csv
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from waiting import wait_for

from fetaliqa.batch.batch_job import FAILED, LOST, SCORED, Case, Outcome
from fetaliqa.batch.batch_run import in_order, score_cases
from fetaliqa.errors import ScoringError

pytestmark = pytest.mark.slow


def test_two_processes_write_and_print_what_one_does_even_if_one_of_them_dies(
    small_cases, tmp_path, score, whole_run, contents, capsys
):
    out = tmp_path / "out"
    before = {child.pid for child in multiprocessing.active_children()}
    killed: list[int] = []

    def kill_one() -> None:
        wait_for(lambda: any(out.glob("*/done.json")))
        child = next(child for child in multiprocessing.active_children() if child.pid not in before)
        os.kill(child.pid, signal.SIGKILL)
        killed.append(child.pid)

    killer = threading.Thread(target=kill_one)
    killer.start()
    arguments = (small_cases, "--json", "--threads", "1")
    assert score(*arguments, "--out", out, "--processes", "2") == 0
    killer.join()
    printed = capsys.readouterr().out
    assert killed
    assert contents(out) == contents(whole_run)
    assert score(*arguments, "--out", whole_run, "--resume") == 0
    assert capsys.readouterr().out == printed


@pytest.mark.long
def test_no_child_outlives_a_run_that_was_stopped(small_cases, tmp_path):
    """Two runs at once: one is interrupted, as by Ctrl-C, the other killed."""
    runs = {}
    try:
        for how in (signal.SIGINT, signal.SIGKILL):
            command = [sys.executable, "-m", "fetaliqa.cli.main", "score", str(small_cases), "--no-cache"]
            command += ["--out", str(tmp_path / how.name), "--processes", "2", "--threads", "1"]
            runs[how] = subprocess.Popen(
                command,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
                # tests that a shell runs in its background ignore SIGINT, and so would what they start
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )
        errors = {}
        for how, process in runs.items():
            out = tmp_path / how.name
            wait_for(lambda out=out: (out / ".unfinished").exists() or any(out.glob("*/done.json")))
            assert process.poll() is None
            process.send_signal(how)  # to the parent only
        for how, process in runs.items():
            _, errors[how] = process.communicate(timeout=30)
            wait_for(lambda process=process: not group_exists(process.pid), 10)
    finally:
        for process in runs.values():
            if group_exists(process.pid):
                os.killpg(process.pid, signal.SIGKILL)
    assert runs[signal.SIGINT].returncode == 130
    assert "--resume" in errors[signal.SIGINT]
    assert "Traceback" not in errors[signal.SIGINT]


def test_processes_that_all_die_at_once_are_not_started_for_every_case(monkeypatch):
    from fetaliqa.batch import local_engine

    monkeypatch.setattr(local_engine, "_score_received_cases", print)  # returns without a word to its parent
    cases = [Case(Path(f"/{number}.mha"), str(number)) for number in range(1000)]
    engine = local_engine.Processes(SimpleNamespace(setup=SimpleNamespace(device="cpu")), 1)  # type: ignore[arg-type]
    with pytest.raises(ScoringError, match="with exit code 0, 3 times"):
        list(score_cases(engine, cases))


def group_exists(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_parts_of_the_cases_make_the_whole(small_cases, tmp_path, score, whole_run, contents):
    out = tmp_path / "out"
    for number in (1, 2, 3):
        assert score(small_cases, "--out", out, "--shard", f"{number}/3") == 0
    with open(out / "summary-1-of-3.csv", newline="") as stream:
        assert [row["case"] for row in csv.DictReader(stream)] == ["case0", "case3"]
    marks = {path: path.stat().st_mtime_ns for path in out.glob("*/done.json")}
    assert score(small_cases, "--out", out, "--resume") == 0
    assert {path: path.stat().st_mtime_ns for path in out.glob("*/done.json")} == marks
    for table in out.glob("summary-*.csv"):
        table.unlink()
    assert contents(out) == contents(whole_run)


def test_a_part_without_cases_is_no_failure(small_cases, tmp_path, score):
    assert score(small_cases, "--out", tmp_path / "out", "--shard", "5/5") == 0
    assert len((tmp_path / "out" / "summary-5-of-5.csv").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    "option", [("--shard", "0/3"), ("--shard", "4/3"), ("--shard", "x"), ("--processes", "0")]
)
def test_a_part_or_count_that_is_none_is_refused(small_cases, score, option, capsys):
    assert score(small_cases, *option) == 2
    assert option[1] in capsys.readouterr().err


class Mortal:
    """An engine whose processes die of some cases."""

    attempts = 3
    shard_size = 2

    def __init__(self, deadly: dict[str, int]) -> None:
        self.deaths_left = Counter(deadly)
        self.seen: list[tuple[str, ...]] = []

    def run(self, shards: Sequence[tuple[Case, ...]]) -> Iterator[Outcome]:
        for shard in shards:
            self.seen.append(tuple(case.name for case in shard))
            dead = False
            for case in shard:
                if not dead and self.deaths_left[case.name]:
                    self.deaths_left[case.name] -= 1
                    dead = True
                yield Outcome(case, LOST, "died") if dead else Outcome(case, SCORED)


def outcomes_by_name(engine: Mortal) -> dict[str, Outcome]:
    cases = [Case(Path(f"/{name}.mha"), name) for name in "abcde"]
    outcomes = list(in_order(cases, score_cases(engine, cases)))
    assert [outcome.case for outcome in outcomes] == cases
    return {outcome.case.name: outcome for outcome in outcomes}


def test_what_was_lost_with_a_process_is_tried_again_by_itself():
    engine = Mortal({"c": 1})
    assert {outcome.status for outcome in outcomes_by_name(engine).values()} == {SCORED}
    assert engine.seen == [("a", "b"), ("c", "d"), ("e",), ("c",), ("d",)]


def test_a_case_that_always_kills_its_process_fails_alone():
    outcomes = outcomes_by_name(Mortal({"c": 99}))
    assert outcomes["c"].status == FAILED
    assert re.fullmatch(r"c\.mha: died, .*\b3\b.*", outcomes["c"].reason)
    assert {name for name, outcome in outcomes.items() if outcome.status == SCORED} == set("abde")
