"""Report of label efficiency: curves and tables of accuracy by number of labelled frames and strategy."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.integrate import trapezoid

from fetaliqa.atomic import atomic_path, write_json, write_text
from fetaliqa.lab.efficiency.annotation_simulation import FULL, Simulation

FIGURES = {
    "dice": "Dice (frames with an outline)",
    "f1": "F1 of frames",
    "ac_error_mm": "AC error, mm",
    "challenge": "challenge score",
}
ENOUGH = 0.95  # of the figure with all labels
COLOURS = (
    "#0072b2",
    "#999999",
    "#e69f00",
    "#d55e00",
    "#cc79a7",
    "#009e73",
)  # Okabe and Ito: suitable for colour-blind readers
DPI = 130

Row = dict[str, Any]


def summarise(rows: Sequence[Row], simulation: Simulation, pool_frames: int) -> dict[str, Any]:
    """Means and spreads over seeds.

    Returns:
        ``pool_frames``; ``full``, the figures with all labels; and per strategy ``curve`` (a list of budgets, with
        mean and sample standard deviation of each figure), ``area`` (mean and spread of each figure's area under
        the curve, over the logarithm of the number of labelled frames, divided by its width; a figure that could
        not be measured counts 0) and ``frames_to_95`` (the smallest budget whose mean Dice is at least 95 % of
        that with all labels; None when none is) with ``share_to_95`` of the pool.
    """
    full = {name: _mean([row[name] for row in rows if row["strategy"] == FULL]) for name in FIGURES}
    result: dict[str, Any] = {"pool_frames": pool_frames, "full": full, "strategies": {}}
    for strategy in simulation.strategies:
        own = [row for row in rows if row["strategy"] == strategy]
        curve = [
            _point([row for row in own if row["round"] == number]) for number in range(len(simulation.budgets))
        ]
        goal = None if full["dice"]["mean"] is None else ENOUGH * full["dice"]["mean"]
        reached = [point["frames"] for point in curve if goal is not None and (point["dice"]["mean"] or 0) >= goal]
        areas = {name: [] for name in ("dice", "f1", "challenge")}  # type: dict[str, list[float]]
        for seed in range(simulation.seeds):
            line = sorted((row for row in own if row["seed"] == seed), key=lambda row: row["round"])
            for name, values in areas.items():
                values.append(_area([row["frames"] for row in line], [row[name] or 0.0 for row in line]))
        result["strategies"][strategy] = {
            "curve": curve,
            "area": {name: _mean(values) for name, values in areas.items()},
            "frames_to_95": reached[0] if reached else None,
            "share_to_95": round(reached[0] / pool_frames, 4) if reached else None,
        }
    return result


def _point(rows: Sequence[Row]) -> dict[str, Any]:
    counts = {name: round(float(np.mean([row[name] for row in rows]))) for name in ("frames", "outlined", "cases")}
    return {**counts, **{name: _mean([row[name] for row in rows]) for name in FIGURES}}


def _mean(values: Sequence[float | None]) -> dict[str, float | None]:
    defined = [value for value in values if value is not None]
    if not defined:
        return {"mean": None, "std": None}
    spread = float(np.std(defined, ddof=1)) if len(defined) > 1 else None
    return {"mean": round(float(np.mean(defined)), 4), "std": None if spread is None else round(spread, 4)}


def _area(frames: Sequence[int], values: Sequence[float]) -> float:
    """Mean height of a curve over the logarithm of the number of frames."""
    positions = np.log2(frames)
    width = positions[-1] - positions[0]
    if width == 0:
        return float(values[-1])
    return float(trapezoid(values, positions) / width)


def write_report(
    folder: Path, rows: Sequence[Row], simulation: Simulation, pool_frames: int, *, synthetic: bool
) -> dict[str, Any]:
    """Write README.md, curves.png, rows.csv and summary.json into ``folder``; returns the summary."""
    summary = summarise(rows, simulation, pool_frames)
    write_json(folder / "summary.json", summary)
    _write_rows(folder / "rows.csv", rows)
    with atomic_path(folder / "curves.png") as temporary:
        temporary.write_bytes(draw_curves(summary, synthetic=synthetic))
    write_text(folder / "README.md", _text(summary, simulation, synthetic=synthetic))
    return summary


def _write_rows(path: Path, rows: Sequence[Row]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(
        {key: f"{value:.4f}" if isinstance(value, float) else value for key, value in row.items()} for row in rows
    )
    write_text(path, text.getvalue())


def _shown(value: dict[str, float | None], digits: int = 3) -> str:
    if value["mean"] is None:
        return "none"
    spread = "" if value["std"] is None else f" ± {value['std']:.{digits}f}"
    return f"{value['mean']:.{digits}f}{spread}"


def _text(summary: dict[str, Any], simulation: Simulation, *, synthetic: bool) -> str:
    what = "synthetic phantom cases" if synthetic else "cases"
    pool, tests = len(simulation.pool), len(simulation.test)
    lines = [
        "# Label efficiency",
        "",
        f"A simulated annotator labels {what} in the order of each strategy. After each round a decoder is",
        f"trained afresh on a frozen encoder and evaluated on {tests} test cases. {pool} cases to label, every",
        f"{simulation.step}th frame of them: {summary['pool_frames']} frames. {simulation.seeds} seeds,",
        f"{simulation.frames} frames of a case at a time, at most {simulation.per_sweep} of a sweep,",
        f"{simulation.gap} frames apart.",
        *(["**All figures are of synthetic phantoms; they say nothing of patients.**"] if synthetic else []),
        "",
        "![Dice, F1, AC error and challenge score by number of labelled frames](curves.png)",
        "",
        "| strategy | area, Dice | area, F1 | area, challenge | frames to 95 % of full Dice | share of the pool |",
        "|---|---|---|---|---|---|",
    ]
    for name, curve_summary in summary["strategies"].items():
        area = curve_summary["area"]
        frames = curve_summary["frames_to_95"] or f"not with {simulation.budgets[-1]}"
        share = "" if curve_summary["share_to_95"] is None else f"{100 * curve_summary['share_to_95']:.1f} %"
        cells = " | ".join(_shown(area[figure]) for figure in ("dice", "f1", "challenge"))
        lines.append(f"| {name} | {cells} | {frames} | {share} |")
    lines += [
        "",
        "| strategy | frames | outlined | Dice | F1 | AC error, mm | challenge score |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, curve_summary in summary["strategies"].items():
        for point in curve_summary["curve"]:
            cells = " | ".join(_shown(point[figure], 1 if figure == "ac_error_mm" else 3) for figure in FIGURES)
            lines.append(f"| {name} | {point['frames']} | {point['outlined']} | {cells} |")
    cells = " | ".join(_shown(summary["full"][figure], 1 if figure == "ac_error_mm" else 3) for figure in FIGURES)
    lines.append(f"| all labels | {summary['pool_frames']} | | {cells} |")
    lines += [
        "",
        "Areas are under the curve over the logarithm of the number of labelled frames, divided by its width:",
        "the mean height; what could not be measured counts 0. Mean ± standard deviation over seeds. Distances in",
        f"frames of the challenge score are counted in kept frames, of which one stands for {simulation.step}.",
        "",
    ]
    return "\n".join(lines)


def draw_curves(summary: dict[str, Any], *, synthetic: bool) -> bytes:
    """PNG: one panel per figure, a line per strategy with its spread, all labels as a dashed line."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 7.4), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(2, 2).ravel()
    for axes, (name, title) in zip(panels, FIGURES.items()):
        for colour, (strategy, curve_summary) in zip(COLOURS, summary["strategies"].items()):
            points = [point for point in curve_summary["curve"] if point[name]["mean"] is not None]
            if not points:
                continue
            frames = [point["frames"] for point in points]
            means = np.array([point[name]["mean"] for point in points])
            spread = np.array([point[name]["std"] or 0.0 for point in points])
            width = 2.6 if strategy == "fetaliqa" else 1.5
            axes.plot(frames, means, "o-", color=colour, linewidth=width, markersize=4, label=strategy)
            axes.fill_between(frames, means - spread, means + spread, color=colour, alpha=0.12, linewidth=0)
        if summary["full"][name]["mean"] is not None:
            axes.axhline(
                summary["full"][name]["mean"], color="black", linestyle="--", linewidth=1, label="all labels"
            )
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:.0f}")
        axes.set_xlabel("labelled frames")
        axes.set_title(title, fontsize=11)
        axes.grid(alpha=0.25)
        axes.set_ylim(bottom=0)
    panels[0].legend(fontsize=9, frameon=False)
    if synthetic:
        figure.suptitle(
            "Label efficiency on synthetic phantoms; mean and standard deviation over seeds", fontsize=12
        )
    data = io.BytesIO()
    figure.savefig(data, format="png")
    return data.getvalue()
