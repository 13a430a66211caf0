"""Tables 1 to 4: comparison of models by the paper's figures."""

from __future__ import annotations

from fetaliqa.evaluation.model_evaluation import ALL_SWEEPS, MEASURED_SWEEPS
from fetaliqa.lab.paper import NUMBERING_NOTE
from fetaliqa.lab.paper.figure_table import EMPTY, NOT_RUN, Cell, Table, difference_cell, figure_cell
from fetaliqa.lab.paper.paper_study import Study
from fetaliqa.lab.paper.parameter_table import full_parameters
from fetaliqa.lab.paper.published_figures import PUBLISHED_FIGURES, Published, published, published_source
from fetaliqa.lab.paper.table_rows import STRATEGY_LABELS, TABLE1, TABLE2, TABLE3, TABLE4, Row
from fetaliqa.lab.paper.trial_runs import RowResult, run_row

TITLES = {
    "table1": "Table 1: the eight models",
    "table2": "Table 2: FetalCLIP_SEG against FetalCLIP_CLS",
    "table3": "Table 3: linear probe, full fine-tuning, LoRA",
    "table4": "Table 4: encoder pre-training",
}
ROWS: dict[str, tuple[Row, ...]] = {"table1": TABLE1, "table2": TABLE2, "table3": TABLE3, "table4": TABLE4}
KEPT = "table1"  # whose first trials' weights the figures need
FIGURES = (*PUBLISHED_FIGURES, "roc_auc", "average_precision", "micro_dice", "positive_dice")
NAMES = {"accuracy": "accuracy", "f1": "F1", "precision": "precision", "recall": "recall"}
PROTOCOL_NOTE = (
    "Figures are on frames of sweeps with a reference circumference, as the paper's; 'all sweeps' counts the "
    "others too, as in use. Means ± sample standard deviation over trials."
)
WITHOUT_SLOTS_NOTE = (
    "Black slots that pad a sweep are left out, while the released code trains and tests on them as negatives "
    "(--as-released does): accuracies here are lower for the same decisions, F1 is the same where no black slot "
    "is called positive."
)
WITH_SLOTS_NOTE = "Black slots that pad a sweep count as frames without outline, in training and in the test."
COLUMN_NOTE = "Parameters are those that get a gradient; 'full size' is counted on the paper's own architectures."


def reading_notes(study: Study) -> tuple[str, ...]:
    """Notes for the reader of any table, one or two sentences each."""
    slots = WITH_SLOTS_NOTE if study.as_released else WITHOUT_SLOTS_NOTE
    return (NUMBERING_NOTE, PROTOCOL_NOTE, slots, COLUMN_NOTE, f"Paper: {published_source()}")


def make_table(study: Study, name: str) -> tuple[Table, list[RowResult]]:
    """Run a table's rows.

    Args:
        study: data, seeds, folder.
        name: ``table1`` to ``table4``.
    """
    rows = ROWS[name]
    results = []
    for done, row in enumerate(rows):
        study.report(f"{name}: rows", done, len(rows))
        results.append(run_row(study, row, keep=name == KEPT))
    study.report(f"{name}: rows", len(rows), len(rows))
    overlaps = name == "table2"
    columns, parts = _columns(study, overlaps)
    labels = [_labelled(one) if overlaps else one.row.label for one in results]
    not_run = {
        f"{label} ({STRATEGY_LABELS[one.row.strategy]})": one.reason
        for label, one in zip(labels, results)
        if one.reason is not None
    }
    cells = tuple(_cells(study, label, one, columns) for label, one in zip(labels, results))
    return Table(name, TITLES[name], columns, parts, cells, not_run, _notes(study, name)), results


def _labelled(result: RowResult) -> str:
    wanted = dict(result.row.changes).get("labels", "any")
    return f"{result.row.label}, {'any outline' if wanted == 'any' else 'optimal planes only'}"


def _columns(study: Study, overlaps: bool) -> tuple[dict[str, str], tuple[tuple[str, ...], ...]]:
    """Headings by key, and which of them stand in which Markdown table."""
    ours = study.ours
    counts = {
        "strategy": "trained",
        "params_paper": "parameters, paper (M)",
        "params_full": "parameters, ours at full size",
    }
    if study.reduced:
        counts["params_run"] = f"parameters of what ran ({ours})"
    triples = {
        figure: {
            f"{figure}_paper": f"{title}, paper",
            figure: f"{title}, {ours}",
            f"{figure}_difference": f"{title}, difference",
        }
        for figure, title in NAMES.items()
    }
    ranking = {"roc_auc": f"ROC-AUC, {ours}", "average_precision": f"AP, {ours}"}
    dice = {"micro_dice": "micro Dice", "positive_dice": "mean Dice of positive frames"}
    whole = {"f1_all": "F1, all sweeps", "average_precision_all": "AP, all sweeps"}
    if overlaps:
        whole |= {
            "precision_all": "precision, all sweeps",
            "recall_all": "recall, all sweeps",
            "micro_dice_all": "micro Dice, all sweeps",
            "positive_dice_all": "mean Dice of positive frames, all sweeps",
        }
    cost = {"steps": "steps", "seconds": "seconds per trial"}
    parts = (
        counts | triples["f1"],
        triples["accuracy"] | triples["precision"] | triples["recall"],
        ranking | (dice if overlaps else {}) | ({} if overlaps else whole | cost),
        whole | cost if overlaps else {},
    )
    columns = {"model": "model"}
    for part in parts:
        columns |= part
    return columns | {"reason": "why not run"}, tuple(tuple(part) for part in parts if part)


def _notes(study: Study, name: str) -> tuple[str, ...]:
    notes = list(reading_notes(study))
    notes += [f"Recipe: {study.recipe('segmentation').name}; trials: {len(study.seeds)}."]
    if study.incomparable is not None:
        notes.append(f"Differences to the paper are not computed: {study.incomparable}.")
    if name == "table3":
        notes.append(
            "LoRA on DenseNet is our own choice of layers: the released targets match none (docs/baselines.md)."
        )
    if name == "table4" and study.reduced:
        notes.append(
            "The two ViT-L/14 rows are one small random network here; only the stand-in encoder was pre-trained."
        )
    if name == "table2":
        notes.append("Under 'optimal planes only', suboptimal frames are negatives in training and in the test.")
    return tuple(notes)


def _cells(study: Study, label: str, result: RowResult, columns: dict[str, str]) -> dict[str, Cell]:
    row, paper_row = result.row, published(result.row.key)
    full = full_parameters(row, study.as_released)
    frozen = row.baseline is None and result.recipe is not None and result.recipe.encoder == "frozen"
    cells = {
        "model": Cell(label),
        "strategy": Cell(STRATEGY_LABELS["frozen" if frozen else row.strategy]),
        "params_paper": Cell(paper_row.millions if paper_row else "not known"),
        "params_full": Cell(EMPTY) if full is None else Cell(f"{full:,}", full),
        "reason": Cell(result.reason or EMPTY),
        **{f"{name}_paper": _paper(paper_row, name) for name in PUBLISHED_FIGURES},
    }
    if not result.trials:
        return cells | {key: Cell(NOT_RUN) for key in columns if key not in cells}
    first = result.trials[0]
    cells["params_run"] = Cell(f"{first.parameters:,}", first.parameters)
    for name in FIGURES if row.task == "segmentation" else FIGURES[:-2]:
        cells[name] = figure_cell(result.values(name, MEASURED_SWEEPS))
        cells[f"{name}_all"] = figure_cell(result.values(name, ALL_SWEEPS))
    for name in PUBLISHED_FIGURES:
        paper = paper_row.figures[name][0] if paper_row and name in paper_row.figures else None
        cells[f"{name}_difference"] = difference_cell(cells[name], paper, study.incomparable is None)
    cells["steps"] = Cell(str(first.fit["steps_run"]))
    cells["seconds"] = figure_cell([trial.seconds for trial in result.trials], 0)
    return {key: cell for key, cell in cells.items() if key in columns}


def _paper(paper_row: Published | None, name: str) -> Cell:
    if paper_row is None or name not in paper_row.figures:
        return Cell("not known")
    mean, std = paper_row.figures[name]
    return Cell(f"{mean:.3f}" if std is None else f"{mean:.4f} ± {std:.3f}", mean, std)
