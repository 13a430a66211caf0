"""Tables of an evaluation's figures, for the report and the terminal."""

from __future__ import annotations

from typing import Any

import numpy as np

from fetaliqa.evaluation.frame_figures import Figure, Protocol
from fetaliqa.evaluation.model_evaluation import ALL_SWEEPS, MEASURED_SWEEPS, EvaluationResult
from fetaliqa.evaluation.run_evaluation import RunEvaluation, figure_groups

MAX_CASES = 40  # rows of the table of cases

GROUPS = {
    ALL_SWEEPS: "all sweeps",
    MEASURED_SWEEPS: "measured sweeps only",
    "challenge_official": "official",
    "challenge_corrected": "corrected",
    "circumference": "circumference",
    "images": "single images",
    "lines": "lines",
}
CHALLENGE = ("challenge_official", "challenge_corrected")
# name, decimals, description
FIGURES: dict[str, tuple[str, int, str]] = {
    "accuracy": ("accuracy", 4, "share of frames classified correctly"),
    "f1": ("F1", 4, "of classifying frames as positive"),
    "precision": ("precision", 4, "share of predicted positive frames that are positive"),
    "recall": ("recall", 4, "share of positive frames predicted as positive"),
    "specificity": ("specificity", 4, "share of negative frames predicted as negative"),
    "micro_dice": ("micro Dice", 4, "over all pixels of all frames, as in the released code of FetalCLIP-IQA"),
    "positive_dice": ("mean Dice", 4, "over positive frames; a missed one counts 0"),
    "roc_auc": ("ROC-AUC", 4, "of the frame score"),
    "average_precision": ("average precision", 4, "of the frame score"),
    "ece": ("ECE", 4, "calibration error of the frame score, 15 bins"),
    "prevalence": ("prevalence", 4, "share of truly positive frames"),
    "score": ("challenge score", 4, "0.5 (1 - NAE) + 0.25 WFSS + 0.25 soft Dice"),
    "wfss": ("WFSS", 4, "weighted frame selection score: is the chosen frame an optimal plane"),
    "dice_soft": ("soft Dice", 4, "outline of the chosen frame, reduced by its distance to an annotated frame"),
    "nae_ac": ("NAE of the circumference", 4, "normalised absolute error; lower is better"),
    "hausdorff_px": ("Hausdorff distance (px)", 1, "not part of the score; lower is better"),
    "mean_absolute_mm": ("mean absolute error (mm)", 2, ""),
    "mean_absolute_percent": ("mean absolute error (%)", 2, "of the reference"),
    "bias_mm": ("bias (mm)", 2, "measured minus reference"),
    "sd_mm": ("SD of differences (mm)", 2, ""),
    "lower_mm": ("lower limit of agreement (mm)", 2, "bias - 1.96 SD"),
    "upper_mm": ("upper limit of agreement (mm)", 2, "bias + 1.96 SD"),
    "dice": ("mean Dice", 4, "on the image's native grid; a missed image counts 0"),
    "dice_median": ("median Dice", 4, ""),
    "dice_min": ("lowest Dice", 4, ""),
    "found_share": ("lines found", 4, "share of the frames with a reference line"),
    "length_mm": ("mean absolute error of the length (mm)", 2, "frames with a pixel spacing"),
    "length_percent": ("mean absolute error of the length (%)", 2, "of the reference"),
    "length_bias_percent": ("bias of the length (%)", 2, "found minus reference"),
    "end_mm": ("distance of an end (mm)", 2, "mean of both ends; frames with a pixel spacing"),
    "end_px": ("distance of an end (px)", 2, "mean of both ends"),
}


def figure_name(name: str) -> str:
    """Display name of a figure."""
    return FIGURES[name][0] if name in FIGURES else name


def group_name(name: str) -> str:
    """Display name of a group of figures."""
    return GROUPS.get(name, name)


def shown_value(name: str, value: float | None) -> str:
    """A figure's value as text."""
    if value is None:
        return "-"
    decimals = FIGURES[name][1]
    return f"{round(value, decimals) + 0.0:.{decimals}f}"  # + 0.0: no minus before zero


def shown_interval(name: str, figure: Figure) -> str:
    """A figure's interval as text; empty without one."""
    if figure.interval is None:
        return ""
    return f"{shown_value(name, figure.interval.low)} to {shown_value(name, figure.interval.high)}"


def figure_tables(result: EvaluationResult) -> list[dict[str, Any]]:
    """Tables of figures: ``title``, ``text``, ``columns`` and ``rows`` of ``name``, ``meaning`` and ``cells``.

    A cell is (value, interval), both text.
    """
    groups = figure_groups(result)
    if result.table.measured.all():
        groups.pop(MEASURED_SWEEPS, None)  # the same frames
    measurement = result.model["measurement"]
    tables: list[tuple[str, str, list[str]]] = [
        (
            "Frames",
            "Measured sweeps only is the paper's protocol: it excludes sweeps without a reference circumference, "
            "and with them most possible false positives. All sweeps corresponds to use in practice."
            if MEASURED_SWEEPS in groups
            else "",
            [name for name in (ALL_SWEEPS, MEASURED_SWEEPS) if name in groups],
        ),
        (
            "ACOUSLIC-AI challenge",
            "One frame and mask per case, as in the challenge. Official reproduces the organisers' code; "
            "corrected follows its description, without errors of that code.",
            [name for name in CHALLENGE if name in groups],
        ),
        (f"Circumference ({measurement})", _circumference_text(result), ["circumference"]),
        ("Single images", _images_text(result), ["images"]),
        (f"Length ({measurement})", _lines_text(result), ["lines"]),
    ]
    return [
        _table(title, text, columns, groups) for title, text, columns in tables if columns and columns[0] in groups
    ]


def _circumference_text(result: EvaluationResult) -> str:
    if result.circumference is None:
        return ""
    measured, sweeps = result.circumference["measured"], result.circumference["sweeps"]
    if result.challenge is None and result.images is not None:
        return f"{measured} of {sweeps} images with a reference were measured."
    return f"{measured} of {sweeps} sweeps with a reference were measured, on the model's best frame."


def _images_text(result: EvaluationResult) -> str:
    return "" if result.images is None else f"{result.images['images']} images with an outline."


def _lines_text(result: EvaluationResult) -> str:
    if result.lines is None:
        return ""
    return f"A line was found on {result.lines['lines_found']} of {result.lines['lines']} frames with a reference."


def _table(title: str, text: str, columns: list[str], groups: dict[str, dict[str, Figure]]) -> dict[str, Any]:
    rows = [
        {
            "name": figure_name(name),
            "meaning": FIGURES[name][2],
            "cells": [
                (shown_value(name, groups[column][name].value), shown_interval(name, groups[column][name]))
                for column in columns
            ],
        }
        for name in groups[columns[0]]
    ]
    headings = [group_name(column) for column in columns] if len(columns) > 1 else ["value"]
    return {"title": title, "text": text, "columns": headings, "rows": rows}


def summary_rows(run: RunEvaluation) -> list[dict[str, Any]]:
    """Mean and standard deviation over trials: ``group`` and ``rows`` of (name, text)."""
    return [
        {
            "group": f"challenge, {group_name(group)}" if group in CHALLENGE else group_name(group),
            "rows": [
                (
                    figure_name(name),
                    "-"
                    if trials is None
                    else shown_value(name, trials.mean)
                    + ("" if trials.std is None else f" ± {shown_value(name, trials.std)}"),
                )
                for name, trials in figures.items()
            ],
        }
        for group, figures in run.summary.items()
    ]


def confusion(part: Protocol, title: str) -> dict[str, Any]:
    """A confusion matrix: ``title``, ``frames``, ``rows`` of the truth with ``count`` and ``share`` of the row."""
    counts = part.counts
    rows = []
    for name, right, wrong, positive_first in (
        ("truly positive", counts.true_positive, counts.false_negative, True),
        ("truly negative", counts.true_negative, counts.false_positive, False),
    ):
        total = right + wrong
        cells = [
            {"count": number, "share": f"{number / total:.1%}" if total else "-", "right": is_right}
            for number, is_right in ((right, True), (wrong, False))
        ]
        rows.append({"name": name, "cells": cells if positive_first else cells[::-1]})
    return {"title": title, "frames": part.frames, "rows": rows}


def case_rows(result: EvaluationResult) -> dict[str, Any]:
    """The cases, worst first: ``columns``, ``rows`` of text, and ``total``.

    Ordered by challenge score, then Dice (of the image, or of the positive frames), then F1, ascending.
    """
    outcomes = {outcome.case: outcome for outcome in result.outcomes}
    measurement, outlines = result.model["measurement"], result.model["task"] == "segmentation"
    rows = []
    for number, case_id in enumerate(result.case_ids):
        table = result.table.select(result.table.case == number)
        outcome = outcomes.get(number)
        hits, called = int((table.positive & table.target).sum()), int(table.positive.sum())
        true = int(table.target.sum())
        dice = float(np.nan_to_num(table.dice()[table.target]).mean()) if true and outlines else None
        if outcome is not None and outcome.image_dice is not None:
            dice = outcome.image_dice
        score = None if outcome is None or outcome.scores is None else outcome.scores["corrected"].score
        errors = [
            f"{sweep.measured_mm - sweep.reference_mm:+.1f}" if sweep.measured_mm is not None else "none"
            for sweep in (outcome.measurements if outcome is not None else ())
        ]
        f1 = 2 * hits / (called + true) if called + true else None
        badness = [2.0 if value is None else value for value in (score, dice, f1)]
        texts = [case_id, str(len(table)), str(true), str(hits), str(called - hits), str(true - hits)]
        texts += ["-" if value is None else f"{value:.3f}" for value in (dice, score)]
        rows.append((badness, [*texts, ", ".join(errors) or "-"]))
    columns = ["case", "frames", "positive", "TP", "FP", "FN", "mean Dice", "challenge score"]
    columns.append(f"{measurement} error per sweep (mm)")
    worst = [texts for _, texts in sorted(rows, key=lambda row: row[0])[:MAX_CASES]]
    used = [c for c in range(len(columns)) if c == 0 or any(row[c] != "-" for row in worst)]
    return {
        "columns": [columns[c] for c in used],
        "rows": [[row[c] for c in used] for row in worst],
        "total": len(rows),
    }
