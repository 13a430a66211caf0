"""A retraining run: request, inputs, and how it is started or resumed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fetaliqa.atomic import write_json
from fetaliqa.datasets.splits import Split
from fetaliqa.errors import OptionError
from fetaliqa.labels.studies import Studies
from fetaliqa.model import Bundle
from fetaliqa.model.architecture import BackboneConfig
from fetaliqa.model.user_folders import default_model
from fetaliqa.registry.model_store import current_version, resolve_bundle
from fetaliqa.retraining import retraining_paths
from fetaliqa.retraining.confirmed_frames import (
    Confirmed,
    ConfirmedCase,
    StudyCase,
    check_enough,
    readable_cases,
    recorded_split,
)
from fetaliqa.retraining.epoch_budget import QUICK_SECONDS, within_time
from fetaliqa.retraining.replay import TRAIN_CASES, VALIDATION_CASES, Replay, reopen_replay, replay_for
from fetaliqa.retraining.training_modes import mode_recipe
from fetaliqa.retraining.warm_start import WarmStart, warm_start
from fetaliqa.training.dataset_mixture import Mixture, Source
from fetaliqa.training.run_folder import RunRequest, check_unchanged, start_run

SCHEMA = 1
NAME = "fetalclip_seg"
NEW, OLD = 0, 1  # groups of the mixture: each half of every batch


@dataclass(frozen=True)
class RetrainRequest:
    """Settings of a retraining.

    Attributes:
        mode: ``quick`` or ``full``.
        bundle: to start from; None: the published one of ``name``, else the default one.
        replay: data set whose cases are replayed; None: the recorded one, else that of a replay source.
        replay_cases: how many are replayed to train, and to validate.
        without_replay: replay nothing, for comparison.
        name: of the model that is published.
        publish: whether a candidate that passes the gate is published.
        weights: FetalCLIP's weights file; None for the imported ones.
        seed: of all random draws.
        settings: recipe fields to change.
    """

    mode: str = "quick"
    bundle: str | None = None
    replay: Path | None = None
    replay_cases: tuple[int, int] = (TRAIN_CASES, VALIDATION_CASES)
    without_replay: bool = False
    name: str = NAME
    publish: bool = True
    weights: str | None = None
    seed: int = 0
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass
class Run:
    """A started run and its inputs.

    Attributes:
        studies: the folder.
        number: of the run in it.
        asked: its ``retraining.json``.
        base: initial model.
        replay: what is replayed; None for nothing.
        data: confirmed and replayed cases.
        split: of the studies' own cases.
    """

    studies: Path
    number: int
    asked: dict[str, Any]
    base: WarmStart
    replay: Replay | None
    data: Mixture
    split: Split

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return retraining_paths.run_folder(self.studies, self.number)

    @property
    def own(self) -> Studies:
        """The studies."""
        source = next(one for one in self.data.sources.values() if one.group == NEW)
        assert isinstance(source.data, StudyCase)
        return source.data.data


def begin_run(
    confirmed: Confirmed, request: RetrainRequest, say: Callable[[str], None], device: str = "cpu"
) -> Run:
    """Check all inputs, then make the run's folder.

    Args:
        confirmed: the labels to train on; later confirmations count for the next run.
        request: what is asked for.
        say: called with a message for each label that cannot be used.
        device: on which the step time of a quick training is measured.

    Raises:
        TooFewLabels: when what can be read of them does not suffice, or a part of the split recorded meanwhile
            would have no outline; nothing was made.
        OptionError: on an option that cannot be used.
    """
    spec = request.bundle or (request.name if current_version(request.name) else default_model())
    base = warm_start(Bundle.open(resolve_bundle(spec)), spec, request.weights)
    assert base.bundle is not None
    recipe = mode_recipe(request.mode, base.bundle.card, request.settings)
    own, studies = confirmed.data.of_anatomy(base.bundle.card.anatomy), confirmed.data.folder
    cases, damaged = readable_cases(own, confirmed.cases)
    problems = [*confirmed.problems, *damaged]
    check_enough(cases, problems)
    split = recorded_split(studies, cases)
    replay = None
    if not request.without_replay:
        recorded, others = _recorded_replay(studies), _parts(split, cases)
        replay = _replay(base.bundle, request, recorded, others)
    data = _mixture(own, split, replay)
    if request.replay is not None and replay is not None:
        write_json(retraining_paths.replay_file(studies), replay.described)
    if request.mode == "quick" and recipe.encoder == "full" and "epochs" not in request.settings:
        # as many steps as fit: a quick training ends within ten minutes
        recipe, step = within_time(recipe, base.build(recipe, request.seed), QUICK_SECONDS, device)
        say(f"a step of {recipe.batch_size} frames takes {step:.2f} s here: {recipe.epochs} epochs of 20 steps")
    number = max(retraining_paths.run_numbers(studies), default=0) + 1
    folder = retraining_paths.run_folder(studies, number)
    asked = RunRequest(
        data=str(studies),
        kind="studies",
        base=str(base.bundle.directory),
        weights=request.weights,
        trials=1,
        seed=request.seed,
        name=request.name,
        feature_cache=True,
        frames=str(retraining_paths.prepared_folder(studies)),
        anatomy=base.bundle.card.anatomy,
    )
    start_run(folder, asked, recipe, _mixed_split(split, replay), data, base)
    record = {
        "schema": SCHEMA,
        "run": number,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "mode": request.mode,
        "bundle": spec,
        "bundle_folder": str(base.bundle.directory),
        "bundle_fingerprint": base.bundle.fingerprint,
        "name": request.name,
        "publish": request.publish,
        "weights": request.weights,
        "replay": None if replay is None else replay.described,
        "split": {part: list(split.part(part)) for part in ("train", "validation")},
        "frames": {
            part: sum(case.frames for case in cases if case.case_id in split.part(part))
            for part in ("train", "validation")
        },
        "confirmed": {case.case_id: case.frames for case in cases},
        "problems": problems,
    }
    write_json(folder / retraining_paths.ASKED, record)  # last: a run with this file can be resumed
    for problem in problems:
        say(problem)
    return Run(studies, number, record, base, replay, data, split)


def resume_run(studies: Path) -> Run:
    """Resume the last run; labels and bundle must be unchanged."""
    number = retraining_paths.unfinished_run(studies)
    assert number is not None
    folder = retraining_paths.run_folder(studies, number)
    try:
        asked = json.loads((folder / retraining_paths.ASKED).read_text(encoding="utf-8"))
        bundle = Bundle.open(_moved(Path(asked["bundle_folder"])))
        train, validation = (tuple(asked["split"][part]) for part in ("train", "validation"))
        split = Split("retraining", "subject", 0, train, validation, ())
        base = warm_start(bundle, asked["bundle"], asked["weights"])
        replay = reopen_replay(asked["replay"])
    except (OSError, ValueError, KeyError, TypeError) as problem:
        raise OptionError(
            f"{folder / retraining_paths.ASKED} is damaged ({problem}); start a new training"
        ) from None
    own = Studies(studies, bundle.card.anatomy)
    present = {entry.case_id for entry in own.entries()}
    gone = [case for case in split.cases() if case not in present]
    if gone:
        raise OptionError(
            f"{folder}: {gone[0]} has no usable label any more; start a new training instead of resuming"
        )
    data = _mixture(own, split, replay)
    check_unchanged(folder, data, base)
    return Run(studies, number, asked, base, replay, data, split)


def _moved(folder: Path) -> Path:
    """A bundle's present folder; a candidate may have been published since."""
    return folder if folder.is_dir() else folder.parent.parent / folder.name


def _parts(split: Split, cases: Sequence[ConfirmedCase]) -> dict[str, str]:
    """Part of each case and subject of the studies."""
    part_of = {case: part for part in ("train", "validation") for case in split.part(part)}
    subjects = {case.subject_id: part_of[case.case_id] for case in cases}
    return {**subjects, **part_of}


def _replay(
    bundle: Bundle, request: RetrainRequest, recorded: dict[str, Any] | None, others: dict[str, str]
) -> Replay | None:
    """The replayed data; for a compact model only a named data set, as it was not trained on phantoms alone."""
    named = request.replay is not None or recorded is not None
    if isinstance(bundle.card.architecture.vision, BackboneConfig) and not named:
        return None
    return replay_for(bundle, request.replay, recorded, request.replay_cases, others)


def _recorded_replay(studies: Path) -> dict[str, Any] | None:
    try:
        return json.loads(retraining_paths.replay_file(studies).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError:
        raise OptionError(
            f"{retraining_paths.replay_file(studies)} is damaged; remove it and name --replay again"
        ) from None


def _mixture(own: Studies, split: Split, replay: Replay | None) -> Mixture:
    sources = [Source(f"new:{case}", StudyCase(own, case), NEW) for case in split.cases()]
    if replay is not None:
        sources += [Source("replay-train", replay.train, OLD), Source("replay-validation", replay.validation, OLD)]
    return Mixture(sources)


def _mixed_split(split: Split, replay: Replay | None) -> Split:
    """The split in the mixture's names, replayed cases included."""
    parts = {part: [f"new:{case}/{case}" for case in split.part(part)] for part in ("train", "validation")}
    if replay is not None:
        for part, data in (("train", replay.train), ("validation", replay.validation)):
            parts[part] += [f"replay-{part}/{entry.case_id}" for entry in data.entries()]
    return Split("retraining", "subject", 0, tuple(parts["train"]), tuple(parts["validation"]), ())
