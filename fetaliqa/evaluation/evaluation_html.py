"""Evaluation report as one self-contained HTML file: tables, curves, outlines, and the worst errors."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

from fetaliqa import __version__
from fetaliqa.atomic import write_text
from fetaliqa.evaluation.evaluation_plots import agreement_plot, precision_recall_plot, reliability_plot, roc_plot
from fetaliqa.evaluation.evaluation_tables import (
    case_rows,
    confusion,
    figure_name,
    figure_tables,
    group_name,
    summary_rows,
)
from fetaliqa.evaluation.example_frames import Example, Examples
from fetaliqa.evaluation.model_evaluation import ALL_SWEEPS, SYNTHETIC_NOTE, EvaluationResult
from fetaliqa.evaluation.outline_pairs import PREDICTED_COLOUR, TRUTH_COLOUR, pair_picture
from fetaliqa.evaluation.run_evaluation import RunEvaluation
from fetaliqa.pictures.html_report import render

TEMPLATE = "evaluation.html"
GRADES = ("no plane", "optimal plane", "suboptimal plane")


def write_report(
    path: Path, result: EvaluationResult, examples: Examples | None = None, run: RunEvaluation | None = None
) -> None:
    """Write the report.

    Args:
        path: HTML file to write (atomically).
        result: the evaluation; for a run, that of the trial whose curves are shown.
        examples: frames to show.
        run: the run, for a table over its trials.
    """
    write_text(Path(path), render_report(result, examples, run))


def render_report(
    result: EvaluationResult, examples: Examples | None = None, run: RunEvaluation | None = None
) -> str:
    """The report as HTML text; see :func:`write_report`."""
    return render(TEMPLATE, **_view(result, examples, run))


def _view(result: EvaluationResult, examples: Examples | None, run: RunEvaluation | None) -> dict[str, Any]:
    model, settings = result.model, result.settings
    trials = [] if run is None else list(run.trials)
    trial = next((name for name in trials if run is not None and run.trials[name] is result), None)
    return {
        "version": __version__,
        "predicted_colour": _css(PREDICTED_COLOUR),
        "truth_colour": _css(TRUTH_COLOUR),
        "title": f"{model['name']} {model['version']} on {result.data['name']}",
        "run": None if run is None else run.name,
        "trials": trials,
        "shown_trial": trial,
        "model": model,
        "data": result.data,
        "settings": settings,
        "facts": _facts(result, run),
        "synthetic": SYNTHETIC_NOTE if result.data["synthetic"] else None,
        "notes": [note for note in result.notes if SYNTHETIC_NOTE not in note],
        "summary": [] if run is None else summary_rows(run),
        "tables": figure_tables(result),
        "confusions": [
            confusion(part, group_name(name))
            for name, part in result.protocols.items()
            if part is not None and (name == ALL_SWEEPS or not result.table.measured.all())
        ],
        "curves": _curves(result),
        "galleries": _galleries(examples, result),
        "cases": case_rows(result),
        "figure_name": figure_name,
    }


def _facts(result: EvaluationResult, run: RunEvaluation | None) -> list[tuple[str, str]]:
    model, data, settings = result.model, result.data, result.settings
    facts = [] if run is None else [("run", f"{run.name}, {len(run.trials)} trial(s)")]
    threshold = f"probability above {model['frame_threshold']:g}"
    if model["task"] == "segmentation":
        share = f"{100 * model['min_foreground_fraction']:g} %"
        threshold += f" on more than {share} of {model['grid']} x {model['grid']} pixels"
    positive = "any outlined frame" if settings["labels"] == "any" else "optimal planes only"
    part = settings["part"] if settings["split"] is None else f"{settings['part']} part of {settings['split']}"
    return [
        *facts,
        ("model", f"{model['name']} {model['version']}: {model['task']} of the {model['anatomy']}"),
        ("fingerprint", model["fingerprint"][:16]),
        ("predicted positive", threshold),
        ("data set", f"{data['name']}, {data['fingerprint'][:16]}"),
        (
            "cases",
            f"{part}: {data['cases']} case(s) of {data['subjects']} subject(s), {len(result.table)} judged frames",
        ),
        ("truly positive", positive),
        ("intervals", f"{settings['level']:.0%}, {settings['bootstrap']} draws of cases, seed {settings['seed']}"),
    ]


def _curves(result: EvaluationResult) -> list[dict[str, str]]:
    measurement = result.model["measurement"]
    drawn = [
        ("Precision and recall", precision_recall_plot(result), "Frames, by the model's score."),
        ("ROC", roc_plot(result), "Frames, by the model's score."),
        (
            "Reliability",
            reliability_plot(result),
            "A calibrated score lies on the dotted line. Below: the number of frames of each point.",
        ),
        (
            f"Agreement of the {measurement} (Bland-Altman)",
            agreement_plot(result.measurements(), measurement),
            "One point per measured sweep (or image): measured minus reference against their mean.",
        ),
    ]
    return [
        {"title": title, "image": _embedded(png), "text": text} for title, png, text in drawn if png is not None
    ]


def _galleries(examples: Examples | None, result: EvaluationResult) -> list[dict[str, Any]]:
    if examples is None:
        return []
    outlines = result.model["task"] == "segmentation"
    lowest = "lowest Dice" if outlines else "lowest score"
    kinds = [
        ("Worst positives", f"Truly positive frames with the {lowest}, worst first.", examples.missed),
        ("Most confident false positives", "Highest score first.", examples.invented),
        (
            "Model and experts",
            f"True positive frames, evenly from the {lowest} to the highest.",
            examples.typical,
        ),
    ]
    return [
        {"title": title, "text": text, "frames": [_shown(example) for example in frames]}
        for title, text, frames in kinds
    ]


def _shown(example: Example) -> dict[str, Any]:
    caption = [f"score {example.score:.2f}"]
    if example.dice is not None:
        caption.insert(0, f"Dice {example.dice:.2f}")
    if not example.positive:
        caption.append("predicted negative")
    return {
        "image": _embedded(pair_picture(example)),
        "case": example.case_id,
        "place": f"sweep {example.sweep}, frame {example.frame}, {GRADES[example.grade]}",
        "caption": ", ".join(caption),
    }


def _embedded(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _css(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)
