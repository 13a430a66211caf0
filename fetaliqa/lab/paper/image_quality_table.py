"""Table of the image quality measures on the test frames, evaluated like a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fetaliqa.atomic import atomic_path
from fetaliqa.datasets.labelled_data import LabelledCase
from fetaliqa.errors import OptionError
from fetaliqa.lab.image_quality import classic_scores, evaluate_classic, measure_table
from fetaliqa.lab.image_quality.measure_evaluation import ClassicResult
from fetaliqa.lab.paper import NUMBERING_NOTE
from fetaliqa.lab.paper.figure_table import NOT_RUN, Cell, Table, figure_cell
from fetaliqa.lab.paper.paper_study import Study
from fetaliqa.lab.paper.table_rows import TABLE1
from fetaliqa.lab.paper.trial_runs import known_trials
from fetaliqa.sweep.sweep_ranges import black_slots

VERSION = 1  # of the cached scores
FIGURES = ("f1", "precision", "recall", "accuracy", "roc_auc", "average_precision")


def classic_table(study: Study) -> Table:
    """Score the frames of all sweeps with a reference circumference in the validation and the test part.

    Other sweeps are left out, as in the paper: the measures take up to a second per frame.
    """
    names = [str(one["name"]) for one in measure_table() if one["why_not"] is None]
    results: list[ClassicResult] = []
    reason = None
    try:
        validation, validation_truth = _part(study, "validation", names)
        test, test_truth = _part(study, "test", names)
        results = evaluate_classic(validation, validation_truth, test, test_truth)
    except OptionError as problem:
        reason = str(problem)
    by_name = {one.name: one for one in results}
    columns = {
        "measure": "measure",
        "source": "source",
        "f1": "F1",
        "precision": "precision",
        "recall": "recall",
        "accuracy": "accuracy",
        "roc_auc": "ROC-AUC",
        "average_precision": "AP",
        "unscored": "frames without a value",
        "reason": "why not run",
    }
    rows, not_run = [], {}
    for one in measure_table():
        label = str(one["label"])
        why = one["why_not"] or reason or getattr(by_name.get(str(one["name"])), "reason", None)
        if why is not None:
            not_run[label] = str(why).removeprefix(f"{NOT_RUN}: ")
        rows.append(_cells(label, str(one["source"]), by_name.get(str(one["name"])), not_run.get(label)))
    rows += _models(study)
    frames = results[0].frames if results else 0
    return Table(
        "classic",
        "Classic image quality measures",
        columns,
        (tuple(columns)[1:-1],),
        tuple(rows),
        not_run,
        (
            NUMBERING_NOTE,
            f"{frames} test frames, of sweeps with a reference circumference, at their own resolution, inside the "
            "field of view; direction and threshold are chosen on validation frames. None of these measures was "
            "made for ultrasound.",
            f"Models below the measures ({study.ours}) are those of table 1, on the same frames.",
        ),
    )


def _part(study: Study, part: str, names: Sequence[str]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Scores by measure, float [N], and truth, bool [N], of a part's frames."""
    scores: dict[str, list[np.ndarray]] = {name: [] for name in names}
    truth = []
    ids = study.split.part(part)
    for number, case_id in enumerate(ids):
        study.report(f"classic: {part} cases", number, len(ids))
        held = _case(study, case_id, names)
        truth.append(held["truth"] > 0)
        for name in names:
            scores[name].append(held[name])
    study.report(f"classic: {part} cases", len(ids), len(ids))
    if not truth:
        raise OptionError(f"the {part} part of the split has no case")
    return {name: np.concatenate(parts) for name, parts in scores.items()}, np.concatenate(truth)


def _case(study: Study, case_id: str, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Scores of a case, from the work folder if cached."""
    folder = study.work / "classic" / f"{study.data.fingerprint()[:16]}-{VERSION}"
    file = folder / f"{case_id}.npz"
    held = _read(file)
    if missing := [name for name in names if name not in held]:
        held |= _scored(study, study.data.read(case_id), missing)
        with atomic_path(file) as temporary, open(temporary, "wb") as written:
            np.savez(written, **held)  # type: ignore[arg-type]
    return held


def _read(file: Path) -> dict[str, np.ndarray]:
    if not file.is_file():
        return {}
    with np.load(file, allow_pickle=False) as held:
        return {name: held[name] for name in held.files}


def _scored(study: Study, case: LabelledCase, names: Sequence[str]) -> dict[str, np.ndarray]:
    parts = [
        (start, stop)
        for (start, stop), value in zip(case.ranges, case.circumferences_mm)
        if value is not None and stop > start
    ]
    frames = np.concatenate([np.arange(start, stop) for start, stop in parts] or [np.empty(0, np.int64)])
    ends = np.cumsum([stop - start for start, stop in parts])
    ranges = [(int(end - (stop - start)), int(end)) for end, (start, stop) in zip(ends, parts)]
    padding = black_slots(case.frames[frames])
    judged = case.known[frames] & ~padding
    scores = classic_scores(
        case.frames[frames],
        padding,
        ranges,
        names,
        progress=lambda done, total: study.report(f"classic: frames of case {case.case_id}", done, total),
    )
    return {"truth": case.grades()[frames][judged]} | {name: value[judged] for name, value in scores.items()}


def _cells(label: str, source: str, result: ClassicResult | None, reason: str | None) -> dict[str, Cell]:
    cells = {"measure": Cell(label), "source": Cell(source), "reason": Cell(reason or "-")}
    if result is None or reason is not None:
        return cells | {name: Cell(NOT_RUN) for name in (*FIGURES, "unscored")}
    for name in FIGURES:
        value = getattr(result, name)
        cells[name] = Cell("undefined") if value is None else Cell(f"{value:.3f}", value)
    return cells | {"unscored": Cell(str(result.unscored))}


def _models(study: Study) -> list[dict[str, Cell]]:
    """The models of table 1 that were run before."""
    rows = []
    for row in TABLE1:
        trials = known_trials(study, row)
        if trials:
            figures = {name: figure_cell([trial.figure(name) for trial in trials]) for name in FIGURES}
            rows.append({"measure": Cell(row.label), "source": Cell(f"table 1, {row.strategy}"), **figures})
    return rows
