"""The list of experiments and how each is run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fetaliqa.errors import OptionError
from fetaliqa.lab.feature_figure import Picture, features_figure
from fetaliqa.lab.outline_figure import pairs_figure
from fetaliqa.lab.paper.ablation import recipes_table
from fetaliqa.lab.paper.figure_table import Table
from fetaliqa.lab.paper.image_quality_table import FIGURES, classic_table
from fetaliqa.lab.paper.model_tables import make_table
from fetaliqa.lab.paper.paper_study import Study
from fetaliqa.lab.paper.parameter_table import parameters_table
from fetaliqa.lab.paper.structures_table import structures_table
from fetaliqa.lab.paper.trial_runs import RowResult


@dataclass(frozen=True)
class Outcome:
    """Result of an experiment.

    Attributes:
        name: of the experiment.
        table, picture: one of the two.
        ran: whether any part of it could be run.
        trials: trainings it uses, earlier ones included.
        trial_seconds: time of those trainings.
        seconds: time of this run.
    """

    name: str
    table: Table | None
    picture: Picture | None
    ran: bool
    trials: int
    trial_seconds: float
    seconds: float


Made = tuple[Table | Picture, bool, Sequence[RowResult]]


def _rows(name: str) -> Callable[[Study], Made]:
    def make(study: Study) -> Made:
        table, results = make_table(study, name)
        return table, any(one.trials for one in results), results

    return make


def _recipes(study: Study) -> Made:
    table, results = recipes_table(study)
    return table, any(one.trials for one in results), results


def _parameters(_: Study) -> Made:
    return parameters_table(), True, ()


def _classic(study: Study) -> Made:
    table = classic_table(study)
    measured = [row for row in table.rows if "reason" in row]  # the rows below are table 1's models
    return table, any(row[name].mean is not None for row in measured for name in FIGURES), ()


def _structures(study: Study) -> Made:
    table = structures_table(study)
    return table, not table.not_run, ()


def _picture(make: Callable[[Study], Picture]) -> Callable[[Study], Made]:
    def made(study: Study) -> Made:
        picture = make(study)
        return picture, picture.png is not None, ()

    return made


# Table 1 first: others reuse its trials.
_MAKERS: dict[str, Callable[[Study], Made]] = {
    "table1": _rows("table1"),
    "table2": _rows("table2"),
    "table3": _rows("table3"),
    "table4": _rows("table4"),
    "fig2": _picture(features_figure),
    "fig3": _picture(pairs_figure),
    "classic": _classic,
    "structures": _structures,
    "parameters": _parameters,
    "recipes": _recipes,
}
EXPERIMENTS = tuple(_MAKERS)


def run_experiment(study: Study, name: str) -> Outcome:
    """Run one experiment; results in the study's folder are reused.

    Raises:
        OptionError: for an unknown name.
        SweepError, NotFoundError: when the data cannot be read.
    """
    if name not in _MAKERS:
        raise OptionError(f"unknown experiment {name!r}; known: {', '.join(EXPERIMENTS)}")
    started = time.monotonic()
    made, ran, results = _MAKERS[name](study)
    trials = [trial for result in results for trial in result.trials]
    return Outcome(
        name,
        made if isinstance(made, Table) else None,
        made if isinstance(made, Picture) else None,
        ran,
        len(trials),
        sum(trial.seconds for trial in trials),
        time.monotonic() - started,
    )
