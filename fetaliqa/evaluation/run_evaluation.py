"""Evaluation of a training run: its trials on held-out cases, with mean and standard deviation over trials."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from fetaliqa.datasets.labelled_data import LabelledData
from fetaliqa.errors import NotFoundError, OptionError
from fetaliqa.evaluation.bootstrap import TrialSummary, over_trials
from fetaliqa.evaluation.frame_figures import Figure
from fetaliqa.evaluation.frame_table import Labels
from fetaliqa.evaluation.model_evaluation import EvaluationResult, evaluate
from fetaliqa.model import Bundle

if TYPE_CHECKING:
    from fetaliqa.datasets.splits import Split

SPLIT_FILE = "split.json"
RECIPE_FILE = "recipe.json"
PARTS = ("train", "validation", "test", "all")
TrialProgress = Callable[[str, float, int], None]  # (trial, cases done, cases in all)


@dataclass(frozen=True)
class ChosenCases:
    """The cases to evaluate, and notes about them.

    Attributes:
        case_ids: the cases, in the data set's order.
        about: ``part`` and ``split``, for the result's settings.
        notes: notes for the reader, one sentence each.
    """

    case_ids: tuple[str, ...]
    about: dict[str, Any]
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class RunEvaluation:
    """A run's trials, and each figure's mean and sample standard deviation over them.

    Attributes:
        name: the run folder's name.
        trials: results by trial name, in order.
        summary: by group (a protocol, ``challenge official``, ``circumference`` ...) and figure.
    """

    name: str
    trials: dict[str, EvaluationResult]
    summary: dict[str, dict[str, TrialSummary | None]]

    def to_json(self) -> dict[str, Any]:
        """All figures as JSON values."""
        return {
            "run": self.name,
            "summary": {
                group: {
                    name: trials and {"mean": trials.mean, "std": trials.std, "trials": trials.trials}
                    for name, trials in figures.items()
                }
                for group, figures in self.summary.items()
            },
            "trials": {name: trial.to_json() for name, trial in self.trials.items()},
        }


def is_run(folder: Path) -> bool:
    """Whether a folder is a training run: it has a split, and a bundle in at least one trial."""
    return (folder / SPLIT_FILE).is_file() and bool(trial_bundles(folder))


def trial_bundles(run: Path) -> list[Path]:
    """Bundle folder of each trial of a run, by trial number."""
    folders = [path for path in run.glob("trial-*/bundle") if (path / "card.json").is_file()]
    return sorted(folders, key=lambda path: (len(path.parent.name), path.parent.name))


def run_of(bundle: Path) -> Path | None:
    """The run that a bundle folder belongs to, or None."""
    run = bundle.resolve().parent.parent
    return run if bundle.resolve() in [path.resolve() for path in trial_bundles(run)] and is_run(run) else None


def run_labels(run: Path) -> Labels:
    """The label setting of the run's recipe; ``any`` by default."""
    try:
        recipe = json.loads((run / RECIPE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "any"
    labels = recipe.get("labels") if isinstance(recipe, dict) else None
    return cast(Labels, labels) if labels in ("any", "optimal") else "any"


def choose_cases(
    data: LabelledData, part: str | None = None, *, split: Split | None = None, trained: Split | None = None
) -> ChosenCases:
    """Select the cases to evaluate; cases that the model was trained on are rejected.

    Args:
        data: the data set.
        part: ``train``, ``validation``, ``test`` or ``all``; None for ``test`` with a split, else ``all``.
        split: the split that defines the parts; None for ``trained``.
        trained: the split that the model was trained with, if known.

    Raises:
        OptionError: when the part needs a split and there is none, when cases of the part are not in the data, or
            when some were trained on and ``part`` is not ``train``.
    """
    split = split or trained
    part = part or ("all" if split is None else "test")
    if part not in PARTS:
        raise OptionError(f"part is {part!r}; {', '.join(PARTS)} are accepted")
    subjects = {entry.case_id: entry.subject_id for entry in data.entries()}
    selected = set(subjects) if part == "all" else set(_part(split, part))
    if missing := sorted(selected - set(subjects)):
        raise OptionError(
            f"{len(missing)} of the {len(selected)} {part} cases are not in {data.name} (first: {missing[0]}); is "
            "it the data set of the split? Use --part all for a data set that the model was not trained on"
        )
    case_ids = tuple(case_id for case_id in subjects if case_id in selected)
    training = [case_id for case_id in case_ids if trained is not None and case_id in set(trained.train)]
    if training and part != "train":
        raise OptionError(
            f"{len(training)} of the {len(case_ids)} selected cases were trained on (first: {training[0]}); "
            "evaluate with --part test, or with --part train for the training error"
        )
    about = {"part": part, "split": None if split is None or part == "all" else split.name}
    return ChosenCases(case_ids, about, tuple(_remarks(case_ids, subjects, part, split, trained)))


def _part(split: Split | None, part: str) -> Iterable[str]:
    if split is None:
        raise OptionError(f"part {part!r} needs a split, and a bundle has none; give its file with --split")
    return split.part(part)


def _remarks(
    case_ids: Sequence[str], subjects: dict[str, str], part: str, split: Split | None, trained: Split | None
) -> list[str]:
    remarks = []
    training_split = trained or split
    if training_split is None:
        return ["Without a split it is unknown whether the model was trained on these cases."]
    train = set(training_split.train)
    if part == "train":
        remarks.append("These are training cases: the figures do not measure generalisation.")
    else:
        training_subjects = {subjects[case_id] for case_id in train if case_id in subjects}
        shared = sum(subjects[case_id] in training_subjects for case_id in case_ids)
        if shared:
            remarks.append(
                f"{shared} of the {len(case_ids)} cases share a subject with a training case: the figures may be "
                "optimistic."
            )
    validated = len(set(case_ids) & set(training_split.validation))
    if validated and part != "train":
        remarks.append(
            f"{validated} of the {len(case_ids)} cases are validation cases, used for model selection: the "
            "figures may be optimistic."
        )
    return remarks


def evaluate_run(
    run: str | Path,
    data: LabelledData,
    part: str | None = None,
    *,
    split: Split | None = None,
    labels: Labels | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    challenge: bool = True,
    device: str = "auto",
    weights: str | None = None,
    views: int = 1,
    progress: TrialProgress | None = None,
) -> RunEvaluation:
    """Evaluate each trial of a training run.

    Args:
        run: folder with ``split.json`` and ``trial-*/bundle``.
        data: the data set.
        part: part of the split, by default ``test``; see :func:`choose_cases`.
        split: split to select the cases by, instead of the run's own.
        labels: None for the run's setting.
        bootstrap, seed, challenge, device, weights, views: see ``evaluate``. All trials use the same draws.
        progress: called with the trial's name, the cases done and their number.

    Raises:
        NotFoundError: when the folder is not a run.
        OptionError: as :func:`choose_cases` and ``evaluate``.
    """
    from fetaliqa.datasets.splits import read_split

    folder = Path(run)
    if not is_run(folder):
        raise NotFoundError(
            f"{folder}: no {SPLIT_FILE} and trial-0/bundle in it, so it is not a finished training run"
        )
    selection = choose_cases(data, part, split=split, trained=read_split(folder / SPLIT_FILE))
    trials = {}
    for path in trial_bundles(folder):
        name = path.parent.name
        trials[name] = evaluate(
            Bundle.open(path),
            data,
            selection.case_ids,
            labels=labels or run_labels(folder),
            bootstrap=bootstrap,
            seed=seed,
            challenge=challenge,
            device=device,
            weights=weights,
            views=views,
            about=selection.about,
            notes=selection.notes,
            progress=_of_trial(progress, name),
        )
    return RunEvaluation(folder.resolve().name, trials, summarise(list(trials.values())))


def _of_trial(progress: TrialProgress | None, name: str) -> Callable[[float, int], None] | None:
    return None if progress is None else lambda done, total: progress(name, done, total)


def summarise(trials: Sequence[EvaluationResult]) -> dict[str, dict[str, TrialSummary | None]]:
    """Mean and standard deviation of every figure over trials, by group; None if a trial lacks the figure."""
    groups = [figure_groups(trial) for trial in trials]
    return {
        group: {
            name: over_trials([each[group][name].value if group in each else None for each in groups])
            for name in groups[0][group]
        }
        for group in groups[0]
    }


def figure_groups(result: EvaluationResult) -> dict[str, dict[str, Figure]]:
    """All figures of a result, by group: the protocols, then challenge, circumference, images and lines."""
    groups = {name: part.figures for name, part in result.protocols.items() if part is not None}
    for mode, figures in (result.challenge or {}).items():
        groups[f"challenge_{mode}"] = figures
    for name, values in (
        ("circumference", result.circumference),
        ("images", result.images),
        ("lines", result.lines),
    ):
        if values is not None:
            groups[name] = {key: value for key, value in values.items() if isinstance(value, Figure)}
    return groups
