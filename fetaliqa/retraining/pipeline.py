"""The retraining pipeline: train on confirmed and replayed frames, compare, publish if the gate accepts."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from fetaliqa.allocator import keep_freed_memory
from fetaliqa.atomic import why_not_written, write_json
from fetaliqa.errors import FetalIQAError, NotFoundError, OptionError, StorageError, StoreConflict, StoreMoved
from fetaliqa.labels.studies import Studies
from fetaliqa.model import Bundle
from fetaliqa.model.bundle_names import STUDENT_FOLDER, valid_name
from fetaliqa.out_of_memory import is_out_of_memory
from fetaliqa.registry.model_store import RESERVED_NAMES, current_version, resolve_bundle
from fetaliqa.registry.publishing import add_candidate, keep_report, publish, record_candidate, was_published
from fetaliqa.registry.refused_candidates import short_figures
from fetaliqa.retraining import retraining_paths
from fetaliqa.retraining.confirmed_frames import Confirmed, check_enough, confirmed_cases, recorded_split
from fetaliqa.retraining.gate import CONFIRMED, ORIGINAL, SWEEPS, GateGroup, compare
from fetaliqa.retraining.gate_pictures import FOLDER
from fetaliqa.retraining.gate_verdict import advice, remarks, sentence
from fetaliqa.retraining.progress_callback import TrainingProgress
from fetaliqa.retraining.progress_file import Progress
from fetaliqa.retraining.retraining_run import RetrainRequest, Run, begin_run, resume_run
from fetaliqa.training.lightning_messages import quiet_lightning
from fetaliqa.training.memory_watch import Report, memory_ran_out
from fetaliqa.training.run_folder import main_process, open_run
from fetaliqa.training.trainer import Machine
from fetaliqa.training.training_run import execute

COMPARISONS = 3  # most repetitions, when other versions are published during the comparison
LOCK_SECONDS = 2.0  # `read_progress` holds the lock for a moment, to test whether it is held


def check_labels(studies: Path) -> Confirmed:
    """Confirmed frames of a studies folder, checked to suffice for retraining; writes nothing.

    Raises:
        TooFewLabels: naming what is missing.
        NotFoundError, SweepError: when the folder cannot be read.
    """
    data = Studies(studies)
    confirmed = Confirmed(data, *confirmed_cases(data))
    check_enough(confirmed.cases, confirmed.problems)
    recorded_split(studies, confirmed.cases, write=False)
    return confirmed


def retrain(
    studies: Path,
    request: RetrainRequest | None = None,
    *,
    resume: bool = False,
    machine: Machine | None = None,
    report: Report = lambda *_: None,
    say: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Retrain on a folder of studies; ``resume`` continues a killed run.

    The published model is not touched before the last step, which is atomic.

    Args:
        studies: folder of studies.
        request: settings; with ``resume`` those of the unfinished run are used.
        resume: continue the last run, which has no report yet.
        machine: where it is computed.
        report: called with stage, done, in all.
        say: called with a log message at each stage.

    Returns:
        What the run's ``report.json`` holds (docs/learning.md); empty in all but the first of several processes.

    Raises:
        TooFewLabels: when there is not enough to train on; nothing was changed.
        StoreConflict: when another training of this folder runs, or ``resume`` finds nothing unfinished.
        OptionError: on an option that cannot be used, or labels that changed since the run began.
        TrainingError: when memory ran out or training diverged.
    """
    keep_freed_memory()
    quiet_lightning()
    studies = Path(studies).resolve()
    folder = retraining_paths.retraining_folder(studies)
    if not studies.is_dir():
        raise NotFoundError(f"{studies}: no such folder of studies")
    if not main_process():
        # a further process of distributed training: the first one does everything else
        return _trained_along(studies, machine or Machine(progress=False))
    if resume and retraining_paths.unfinished_run(studies) is None:
        raise StoreConflict(f"{studies}: no unfinished training to resume; start a new one")
    confirmed = None
    if not resume:
        if request is not None and (not valid_name(request.name) or request.name in RESERVED_NAMES):
            raise OptionError(
                f"name is {request.name!r}; it must be of letters, digits, '.', '_' and '-', and none of "
                f"{', '.join(map(repr, RESERVED_NAMES))}"
            )
        confirmed = check_labels(studies)  # before the run is made; checked again under the lock
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(retraining_paths.lock_file(studies), timeout=LOCK_SECONDS):
            if confirmed is None:
                run = resume_run(studies)
            else:
                run = begin_run(confirmed, request or RetrainRequest(), say, (machine or Machine()).device)
            return _Retraining(run, machine or Machine(progress=False), report, say).execute()
    except Timeout:
        raise StoreConflict(f"{studies}: another training of this folder runs; wait for it, or stop it") from None
    except OSError as problem:
        raise StorageError(f"{studies}: no training was started: {why_not_written(problem, 'try')}") from None
    except (RuntimeError, MemoryError) as problem:
        if is_out_of_memory(problem):
            raise memory_ran_out("start") from problem
        raise


def _trained_along(studies: Path, machine: Machine) -> dict[str, Any]:
    run = resume_run(studies)
    execute(run.folder, run.data, run.base, *open_run(run.folder), machine)
    return {}


class _Retraining:
    """Trains, compares and publishes a run; steps that are done are skipped."""

    def __init__(self, run: Run, machine: Machine, report: Report, say: Callable[[str], None]) -> None:
        self.run, self.machine, self.report, self.say = run, machine, report, say
        self.progress = Progress(run.folder, run.number)

    def execute(self) -> dict[str, Any]:
        """See :func:`retrain`; ``progress.json`` records how it ended."""
        try:
            return self._execute()
        except KeyboardInterrupt:
            self.progress.say(state="stopped", stage="stopped", eta_seconds=None)
            raise
        except Exception as problem:
            failure = self._user_error(problem)
            if failure is None:
                raise
            with contextlib.suppress(OSError):  # the disk may be full
                self.progress.say(state="failed", stage="failed", error=str(failure), eta_seconds=None)
            if failure is problem:
                raise
            raise failure from problem

    def _user_error(self, problem: Exception) -> FetalIQAError | None:
        """The error shown to the user; None for a bug, which is raised as it is."""
        if isinstance(problem, FetalIQAError):
            return problem
        if is_out_of_memory(problem):
            return memory_ran_out(self.progress.values["stage"])
        if isinstance(problem, OSError):
            return StorageError(f"training {self.run.number} ended: {why_not_written(problem, 'resume')}")
        return None

    def _execute(self) -> dict[str, Any]:
        run, asked = self.run, self.run.asked
        old = (
            "none replayed: the model's training data are not known"
            if run.replay is None
            else (f"replayed: {run.replay.described['kind']}")
        )
        self.say(
            f"run {run.number}: {asked['mode']} training from {asked['bundle']} on {asked['frames']['train']} "
            f"confirmed frames of {len(run.split.train)} case(s), {asked['frames']['validation']} of "
            f"{len(run.split.validation)} to validate on; {old}"
        )
        self._train()
        result = self._decide()
        gate, outcome = result["gate"], result["sentence"]
        write_json(run.folder / retraining_paths.REPORT, result)
        # the bundle is in the store, so checkpoints are no longer needed
        shutil.rmtree(run.folder / "trial-0" / "checkpoints", ignore_errors=True)
        _prune(retraining_paths.prepared_folder(run.studies), run)
        self.progress.say(
            state="done",
            stage="done",
            done=1,
            of=1,
            eta_seconds=0,
            gate=gate_summary(gate, outcome, result["version"], result["published"]),
        )
        for line in (outcome, *result["remarks"]):
            self.say(line)
        return result

    def _decide(self) -> dict[str, Any]:
        """Compare, and publish if it passes; repeated when another version was published meanwhile.

        Raises:
            StoreConflict: when that happens again and again.
        """
        asked = self.run.asked
        for _ in range(COMPARISONS):
            gate = self._gate()
            self._stage("publish", 0, 1)
            # recorded with its verdict at once, so that a refused candidate is not published by mistake
            version = add_candidate(self._trained().directory, asked["name"], self._origin(), {"gate": gate})
            wanted = gate["passed"] and asked["publish"]
            why_not = "" if asked["publish"] else "publishing was turned off"
            outcome = sentence(asked["name"], version, gate, wanted, why_not)
            result = self._result(gate, version, wanted, outcome)
            keep_report(asked["name"], version, result)
            if not wanted:
                record_candidate(asked["name"], version, short_figures(gate), outcome)
                return result
            if was_published(asked["name"], version):
                return result  # published before a kill; a later rollback was deliberate
            figures, before = short_figures(gate), gate["instead_of"]
            try:
                publish(asked["name"], version, figures=figures, reason=outcome, instead_of=before)
            except StoreMoved as moved:
                self.say(f"{moved}: compared again")
                (self.run.folder / retraining_paths.GATE).unlink()
            else:
                return result
        raise StoreConflict(f"{asked['name']}: other versions are published all the time; resume this run later")

    def _stage(self, stage: str, done: int, total: int) -> None:
        if stage != self.progress.values["stage"]:
            self.say(f"stage: {stage}")
        self.progress.stage(stage, done, total)
        self.report(stage, done, total)

    def _train(self) -> None:
        folder = self.run.folder
        request, recipe, split = open_run(folder)
        callback = TrainingProgress(self.progress, self.report, self.say)
        execute(
            folder,
            self.run.data,
            self.run.base,
            request,
            recipe,
            split,
            self.machine,
            self._stage,
            callbacks=(callback,),
            say=self.say,
        )

    def _trained(self) -> Bundle:
        return Bundle.open(self.run.folder / "trial-0" / "bundle")

    def _remarks(self, version: str) -> list[str]:
        """Remarks for those who use this version."""
        base, name = self.run.base.bundle, self.run.asked["name"]
        if base is None:
            return []
        found = []
        if base.intervals.calibration is not None:
            found.append(
                f"{name} {version} gives no interval around its measurements, unlike its predecessor, until "
                f"`fetaliqa models calibrate {name}@{version} DATA` has calibrated it on labelled cases that it "
                "was not trained on"
            )
        if (base.directory / STUDENT_FOLDER).is_dir():
            found.append(
                f"{name} {version} has no student, unlike its predecessor: the search evaluates more frames and "
                "screening is not available, until "
                f"`fetaliqa distill {self.run.studies} --student --model {name}` has made one"
            )
        return found

    def _origin(self) -> str:
        """Origin of the candidate: bundle and run, since two short runs can make identical bundles."""
        return f"{self._trained().fingerprint} of run {self.run.number} of {self.run.asked['started']}"

    def _gate(self) -> dict[str, Any]:
        """The comparison; after a kill the recorded one, since the candidate may be published by now."""
        file = self.run.folder / retraining_paths.GATE
        with contextlib.suppress(OSError, ValueError):
            stored = json.loads(file.read_text(encoding="utf-8"))
            if "instead_of" in stored and "rule" in stored:  # else written by a version with other rules
                return stored
        name, run = self.run.asked["name"], self.run
        groups = [GateGroup(CONFIRMED, run.own, run.split.validation)]
        if run.replay is not None:
            for group, data in ((ORIGINAL, run.replay.validation), (SWEEPS, run.replay.sweeps)):
                groups.append(GateGroup(group, data, tuple(entry.case_id for entry in data.entries())))
        now = current_version(name)
        published = run.base.bundle if now is None else Bundle.open(resolve_bundle(f"{name}@{now}"))
        assert published is not None
        self._stage("compare", 0, 2 * sum(len(group.case_ids) for group in groups))
        gate = compare(
            self._trained(),
            published,
            groups,
            device=self.machine.device,
            weights=run.asked["weights"],
            progress=lambda done, total: self._stage("compare", done, total),
            pictures=run.folder / FOLDER,
        )
        gate["instead_of"], gate["advice"] = now, "" if gate["passed"] else advice(gate, run.asked["mode"])
        write_json(file, gate)
        return gate

    def _result(self, gate: dict[str, Any], version: str, published: bool, outcome: str) -> dict[str, Any]:
        run = self.run
        summary = json.loads((run.folder / "metrics.json").read_text(encoding="utf-8"))
        trial = summary["trials"][0]
        return {
            **run.asked,
            "version": version,
            "published": published,
            "sentence": outcome,
            "remarks": [*remarks(gate), *(self._remarks(version) if published else [])],
            "gate": gate,
            "threshold": {"frame_probability": trial["threshold"], "kept": True},
            "train": summary["train"],
            "validation": summary["validation"],
            "trained": {key: trial.get(key) for key in ("epochs_run", "steps_run", "computed", "retried")},
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        }


def gate_summary(gate: dict[str, Any], outcome: str, version: str, published: bool) -> dict[str, Any]:
    """Summary of the gate for clients."""
    return {
        "version": version,
        "passed": gate["passed"],
        "rule": gate.get("rule"),
        "published": published,
        "sentence": outcome,
        "advice": gate.get("advice", ""),
        "figures": short_figures(gate),
    }


def _prune(frames: Path, run: Run) -> None:
    """Remove prepared frames and features of labels that have changed."""
    started = (run.folder / "run.json").stat().st_mtime
    for folder in frames.iterdir() if frames.is_dir() else ():
        if folder.is_dir() and folder.stat().st_mtime < started and not folder.name.startswith("."):
            shutil.rmtree(folder, ignore_errors=True)
