"""Table of the image quality measures on the test frames, evaluated like a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from fetaliqa.atomic import atomic_path
from fetaliqa.datasets.labelled_data import LabelledCase
from fetaliqa.errors import OptionError
from fetaliqa.evaluation.ranking_metrics import roc_auc
from fetaliqa.lab.image_quality import (
    MEASURES,
    classic_scores,
    evaluate_classic,
    grade_correlation,
    measure_table,
)
from fetaliqa.lab.image_quality.measure_evaluation import ClassicResult
from fetaliqa.lab.image_quality.measure_list import FrameFunction
from fetaliqa.lab.paper import NUMBERING_NOTE
from fetaliqa.lab.paper.figure_table import EMPTY, NOT_RUN, Cell, Table, figure_cell
from fetaliqa.lab.paper.measure_training import PER_CASE, MeasureTraining
from fetaliqa.lab.paper.paper_study import Study
from fetaliqa.lab.paper.still_scores import StillScores, still_scores
from fetaliqa.lab.paper.table_rows import TABLE1
from fetaliqa.lab.paper.trial_runs import known_trials
from fetaliqa.sweep.sweep_ranges import black_slots

VERSION = 2  # of the cached scores
STILLS_NOTE = (
    "Real still images: whether a measure tells abdominal from other planes, in the direction chosen on phantoms "
    "(below 0.5: it points the other way there). The publishers sorted the planes; there are no labels of quality "
    "by clinicians. Burned-in marks were filled first. '-': needs neighbours in a sweep."
)
FIGURES = ("f1", "precision", "recall", "accuracy", "roc_auc", "average_precision")


def classic_table(study: Study) -> Table:
    """Score the frames of all sweeps with a reference circumference in the validation and the test part.

    Measures that are trained learn from the training part first. Other sweeps are left out, as in the paper: the
    measures take up to a second per frame.
    """
    training = MeasureTraining(study)
    results: list[ClassicResult] = []
    correlations: dict[str, float | None] = {}
    stills: dict[str, StillScores] = {}
    reason = None
    try:
        scorers = training.scorers()
        # in the order of the table; the key tells trainings apart in the cache
        keys = {
            name: f"{name}-{training.key(name)}" if name in scorers else name
            for name, measure in MEASURES.items()
            if (name in scorers or not measure.trained) and measure.why_not() is None
        }
        validation, chosen_on = _part(study, "validation", keys, scorers)
        test, grades = _part(study, "test", keys, scorers)
        results = evaluate_classic(validation, chosen_on > 0, test, grades > 0)
        correlations = {one.name: grade_correlation(one, test[one.name], grades) for one in results}
        stills = still_scores(study, keys, scorers)
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
        "correlation": "rank correlation with the grade",
        "unscored": "frames without a value",
        **{source: one.heading for source, one in stills.items()},
        "reason": "why not run",
    }
    rows, not_run = [], {}
    for one in measure_table():
        name, label = str(one["name"]), str(one["label"])
        why = one["why_not"] or training.reasons.get(name) or reason or getattr(by_name.get(name), "reason", None)
        if why is not None:
            not_run[label] = str(why).removeprefix(f"{NOT_RUN}: ")
        cells = _cells(label, str(one["source"]), by_name.get(name), not_run.get(label))
        if not_run.get(label) is None:
            cells["correlation"] = _figure(correlations.get(name))
            cells |= {source: _on_stills(own, by_name[name]) for source, own in stills.items()}
        rows.append(cells)
    rows += _models(study)
    frames = results[0].frames if results else 0
    figures = tuple(key for key in columns if key not in ("measure", "reason", *stills))
    return Table(
        "classic",
        "Image quality measures",
        columns,
        (figures, tuple(stills)) if stills else (figures,),
        tuple(rows),
        not_run,
        (*_notes(study, frames), *((STILLS_NOTE,) if stills else ())),
    )


def _notes(study: Study, frames: int) -> tuple[str, ...]:
    return (
        NUMBERING_NOTE,
        f"{frames} test frames, of sweeps with a reference circumference, at their own resolution, inside the "
        "field of view; direction and threshold are chosen on validation frames. The classic measures were not "
        "made for ultrasound.",
        "Measures 'trained here' learn the quality of frames of the training part (optimal plane 1, suboptimal "
        f"0.5, others 0; up to {PER_CASE} annotated frames of a case, and as many others), from one seed. Rank "
        "correlation is Spearman's with the grade: none, suboptimal, optimal.",
        f"Models below the measures ({study.ours}) are those of table 1, on the same frames.",
    )


def _on_stills(own: StillScores, result: ClassicResult) -> Cell:
    """ROC-AUC on real still images, in the direction chosen on validation frames."""
    if result.name not in own.scores or result.higher_is_positive is None:
        return Cell(EMPTY)  # needs neighbours
    values = (1.0 if result.higher_is_positive else -1.0) * own.scores[result.name]
    return _figure(roc_auc(np.nan_to_num(values, nan=float(np.finfo(np.float64).min)), own.abdomen))


def _figure(value: float | None) -> Cell:
    return Cell("undefined") if value is None else Cell(f"{value:.3f}", value)


def _part(
    study: Study, part: str, keys: Mapping[str, str], scorers: Mapping[str, FrameFunction]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Scores by measure, float [N], and grades, uint8 [N], of a part's frames."""
    scores: dict[str, list[np.ndarray]] = {name: [] for name in keys}
    truth = []
    ids = study.split.part(part)
    for number, case_id in enumerate(ids):
        study.report(f"classic: {part} cases", number, len(ids))
        held = _case(study, case_id, keys, scorers)
        truth.append(held["truth"])
        for name, key in keys.items():
            scores[name].append(held[key])
    study.report(f"classic: {part} cases", len(ids), len(ids))
    if not truth:
        raise OptionError(f"the {part} part of the split has no case")
    return {name: np.concatenate(parts) for name, parts in scores.items()}, np.concatenate(truth)


def _case(
    study: Study, case_id: str, keys: Mapping[str, str], scorers: Mapping[str, FrameFunction]
) -> dict[str, np.ndarray]:
    """Scores of a case by key, from the work folder if cached."""
    folder = study.work / "classic" / f"{study.data.fingerprint()[:16]}-{VERSION}"
    file = folder / f"{case_id}.npz"
    held = _read(file)
    if missing := {name: key for name, key in keys.items() if key not in held}:
        held |= _scored(study, study.data.read(case_id), missing, scorers)
        with atomic_path(file) as temporary, open(temporary, "wb") as written:
            np.savez(written, **held)  # type: ignore[arg-type]
    return held


def _read(file: Path) -> dict[str, np.ndarray]:
    if not file.is_file():
        return {}
    with np.load(file, allow_pickle=False) as held:
        return {name: held[name] for name in held.files}


def _scored(
    study: Study, case: LabelledCase, keys: Mapping[str, str], scorers: Mapping[str, FrameFunction]
) -> dict[str, np.ndarray]:
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
        list(keys),
        trained=scorers,
        progress=lambda done, total: study.report(f"classic: frames of case {case.case_id}", done, total),
    )
    return {"truth": case.grades()[frames][judged]} | {keys[name]: value[judged] for name, value in scores.items()}


def _cells(label: str, source: str, result: ClassicResult | None, reason: str | None) -> dict[str, Cell]:
    cells = {"measure": Cell(label), "source": Cell(source), "reason": Cell(reason or "-")}
    if result is None or reason is not None:
        return cells | {name: Cell(NOT_RUN) for name in (*FIGURES, "correlation", "unscored")}
    cells |= {name: _figure(getattr(result, name)) for name in FIGURES}
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
