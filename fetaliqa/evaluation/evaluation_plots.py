"""Plots of an evaluation report, as PNG bytes in the report's colours."""

from __future__ import annotations

import io
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from fetaliqa.evaluation.case_scores import AGREEMENT, Measurement
from fetaliqa.evaluation.frame_metrics import FrameMetrics
from fetaliqa.evaluation.frame_table import FrameTable
from fetaliqa.evaluation.model_evaluation import ALL_SWEEPS, MEASURED_SWEEPS, EvaluationResult
from fetaliqa.evaluation.ranking_metrics import precision_recall, roc
from fetaliqa.evaluation.score_calibration import reliability_bins
from fetaliqa.pictures.colours import ACCENT, FAINT, MEASURE, MUTED, PANEL, TEXT, WARN

DPI = 150
SIZE_INCHES = (5.4, 4.3)
SHOWN_COLOURS = {ALL_SWEEPS: ACCENT, MEASURED_SWEEPS: MEASURE}
SHOWN_NAMES = {ALL_SWEEPS: "all sweeps", MEASURED_SWEEPS: "measured sweeps only"}


def precision_recall_plot(result: EvaluationResult) -> bytes | None:
    """Precision-recall curve with the operating point; None when all frames are of one class."""
    figure, axes = _new("recall", "precision")
    drawn = False
    for name, table in _tables(result):
        curve = precision_recall(table.score, table.target)
        if curve is None:
            continue
        drawn = True
        value = _value(result, name, "average_precision")
        # steps that end at each point, starting at recall 0: the area below is the average precision
        recall, precision = np.append(0.0, curve.recall), np.append(curve.precision[0], curve.precision)
        axes.step(recall, precision, where="pre", label=f"{SHOWN_NAMES[name]}, AP {value}", **_line(name))
        counts = _counts(result, name)
        if counts is not None and counts.precision is not None and counts.recall is not None:
            _working_point(axes, name, counts.recall, counts.precision)
    prevalence = result.table.target.mean()
    axes.axhline(prevalence, color=MUTED, linewidth=1, linestyle=":", label=f"chance, {prevalence:.3f}", zorder=1)
    return _finished(figure, axes, "lower left") if drawn else None


def roc_plot(result: EvaluationResult) -> bytes | None:
    """ROC curve with the operating point; None when all frames are of one class."""
    figure, axes = _new("false positive rate", "true positive rate")
    drawn = False
    for name, table in _tables(result):
        curve = roc(table.score, table.target)
        if curve is None:
            continue
        drawn = True
        value = _value(result, name, "roc_auc")
        label = f"{SHOWN_NAMES[name]}, AUC {value}"
        axes.plot(curve.false_positive_rate, curve.true_positive_rate, label=label, **_line(name))
        counts = _counts(result, name)
        if counts is not None and counts.specificity is not None and counts.recall is not None:
            _working_point(axes, name, 1 - counts.specificity, counts.recall)
    axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":", label="chance", zorder=1)
    return _finished(figure, axes, "lower right") if drawn else None


def reliability_plot(result: EvaluationResult) -> bytes:
    """Reliability diagram: share of positives against mean score by bin, and frames per bin (logarithmic)."""
    bins = reliability_bins(result.table.score, result.table.target)
    figure = _figure()
    upper, lower = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True, gridspec_kw={"hspace": 0.12})
    _style(upper, "", "share of positives")
    _style(lower, "frame score", "frames")
    upper.set_xlim(-0.02, 1.02)
    upper.set_ylim(-0.04, 1.04)
    upper.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":", zorder=1)
    filled = bins.counts > 0
    # marker areas from 25 points on, growing with the logarithm of the bin's frames
    area = 25 + 22 * np.log10(bins.counts[filled])
    upper.plot(
        bins.mean_score[filled], bins.positive_share[filled], color=ACCENT, linewidth=1, alpha=0.6, zorder=3
    )
    upper.scatter(bins.mean_score[filled], bins.positive_share[filled], s=area, color=ACCENT, zorder=4)
    value = _value(result, ALL_SWEEPS, "ece")
    upper.text(0.97, 0.06, f"ECE {value}", color=TEXT, fontsize=10, ha="right", transform=upper.transAxes)
    width = float(np.diff(bins.edges)[0])
    lower.bar(bins.edges[:-1], bins.counts, width=0.9 * width, align="edge", color=MUTED)
    lower.set_yscale("log")
    lower.minorticks_off()
    lower.set_ylim(0.7, max(10.0, 2.0 * bins.counts.max()))
    return _png(figure)


def agreement_plot(measurements: list[Measurement], name: str) -> bytes | None:
    """Bland-Altman: difference against mean of measured and reference circumference, mm; None without a pair."""
    pairs = np.array(
        [(each.reference_mm, each.measured_mm) for each in measurements if each.measured_mm is not None]
    )
    if not len(pairs):
        return None
    reference, measured = pairs.T
    difference, middle = measured - reference, (measured + reference) / 2
    figure, axes = _new(f"mean of measured and reference {name} (mm)", "measured - reference (mm)", unit=False)
    axes.axhline(0, color=MUTED, linewidth=1, linestyle=":")
    axes.scatter(middle, difference, s=26, color=ACCENT, alpha=0.85, linewidth=0, zorder=3)
    bias = float(difference.mean())
    lines = [(bias, "bias", MEASURE, "-")]
    if len(difference) > 1:
        reach = AGREEMENT * float(difference.std(ddof=1))
        lines += [(bias + reach, "+1.96 SD", WARN, "--"), (bias - reach, "-1.96 SD", WARN, "--")]
    for height, label, colour, style in lines:
        axes.axhline(height, color=colour, linewidth=1.2, linestyle=style, zorder=2)
        axes.annotate(
            f"{label} {height:+.1f}",
            (1.0, height),
            xycoords=("axes fraction", "data"),
            xytext=(-3, 3),
            textcoords="offset points",
            ha="right",
            color=colour,
            fontsize=8.5,
        )
    heights = np.array([0.0, *difference, *(line[0] for line in lines)])
    margin = 0.12 * max(float(np.ptp(heights)), 1.0)
    axes.set_ylim(heights.min() - margin, heights.max() + margin)
    span = max(float(np.ptp(middle)), 10.0)  # mm; least width, for a single point
    axes.set_xlim(middle.min() - 0.06 * span, middle.max() + 0.3 * span)  # space for the labels
    return _png(figure)


def _tables(result: EvaluationResult) -> list[tuple[str, FrameTable]]:
    tables = [(ALL_SWEEPS, result.table)]
    measured = result.table.measured
    if measured.any() and not measured.all():
        tables.append((MEASURED_SWEEPS, result.table.select(measured)))
    return tables


def _counts(result: EvaluationResult, name: str) -> FrameMetrics | None:
    part = result.protocols[name]
    return None if part is None else part.counts


def _value(result: EvaluationResult, name: str, figure: str) -> str:
    part = result.protocols[name]
    value = None if part is None else part.figures[figure].value
    return "-" if value is None else f"{value:.3f}"


def _line(name: str) -> dict:
    style = "-" if name == ALL_SWEEPS else "--"
    return {"color": SHOWN_COLOURS[name], "linewidth": 1.8, "linestyle": style, "zorder": 3}


def _working_point(axes: Axes, name: str, x: float, y: float) -> None:
    axes.plot([x], [y], "o", color=PANEL, markeredgecolor=SHOWN_COLOURS[name], markeredgewidth=2, zorder=5)


def _figure() -> Figure:
    figure = Figure(figsize=SIZE_INCHES, dpi=DPI, facecolor=PANEL, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _new(x: str, y: str, *, unit: bool = True) -> tuple[Figure, Axes]:
    figure = _figure()
    axes = figure.add_subplot()
    _style(axes, x, y)
    if unit:
        axes.set_xlim(-0.02, 1.02)
        axes.set_ylim(-0.02, 1.04)
    return figure, axes


def _style(axes: Axes, x: str, y: str) -> None:
    axes.set_facecolor(PANEL)
    axes.tick_params(colors=MUTED, labelsize=9, length=3, which="both")
    axes.grid(color=FAINT, linewidth=0.5, alpha=0.5)
    axes.set_axisbelow(True)
    axes.set_xlabel(x, color=MUTED, fontsize=10)
    axes.set_ylabel(y, color=MUTED, fontsize=10)
    for side in axes.spines.values():
        side.set_color(FAINT)


def _finished(figure: Figure, axes: Axes, place: Literal["lower left", "lower right"]) -> bytes:
    axes.plot(
        [], [], "o", color=PANEL, markeredgecolor=TEXT, markeredgewidth=1.5, label="at the model's threshold"
    )
    legend = axes.legend(loc=place, fontsize=8.5, facecolor=PANEL, edgecolor=FAINT, framealpha=0.9)
    for text in legend.get_texts():
        text.set_color(TEXT)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", facecolor=figure.get_facecolor())
    return stream.getvalue()
