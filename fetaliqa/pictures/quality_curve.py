"""Quality curve of a case: quality against frame number, over its sweeps."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from fetaliqa.measure.frame_size import recorded_mm
from fetaliqa.pictures.colours import (
    ACCENT,
    BACKGROUND,
    FAINT,
    MEASURE,
    MUTED,
    PADDING,
    PANEL,
    PANEL_OTHER,
    TEXT,
    WARN,
)

FEW_FRAMES = 60  # up to this number every frame gets a marker: lines through one or two points are invisible


def draw_curve(axes: Axes, assessment: dict[str, Any], marked: dict[int, int]) -> None:
    """Draw quality against frame number, with sweeps, padding, positive frames, measurements and ranks.

    Args:
        axes: empty axes.
        assessment: the case's assessment record.
        marked: rank of each frame that is shown above, by frame number.
    """
    records = assessment["frames"]
    count = len(records)
    quality = np.array([np.nan if r.get("quality") is None else float(r["quality"]) for r in records])
    positive = np.array([bool(r.get("positive")) for r in records], bool)
    padding = np.array([bool(r.get("padding")) for r in records], bool)
    _style(axes, count)
    _sweeps(axes, assessment["sweeps"], padding)
    for sweep in assessment["sweeps"]:
        _line(
            axes,
            sweep["start"],
            quality[sweep["start"] : sweep["stop"]],
            positive[sweep["start"] : sweep["stop"]],
            count,
        )
    for frame, rank in marked.items():
        axes.plot([frame], [quality[frame]], "o", color=BACKGROUND, markeredgecolor=TEXT, markersize=13, zorder=6)
        axes.text(
            frame, quality[frame], str(rank), color=TEXT, fontsize=8.5, ha="center", va="center_baseline", zorder=7
        )
    _measurements(axes, assessment, records)


def _style(axes: Axes, count: int) -> None:
    axes.set_facecolor(BACKGROUND)
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(0, 1.12)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "", "0.5", "", "1"])
    axes.xaxis.set_major_locator(MaxNLocator(nbins=15, integer=True, min_n_ticks=1))
    axes.tick_params(colors=MUTED, labelsize=9, length=3)
    axes.grid(axis="y", color=FAINT, linewidth=0.5, alpha=0.6)
    axes.set_axisbelow(True)
    axes.set_ylabel("quality", color=ACCENT, fontsize=10)
    axes.set_xlabel("frame (from 0)", color=MUTED, fontsize=10)
    for side in axes.spines.values():
        side.set_visible(False)


def _sweeps(axes: Axes, sweeps: list[dict[str, Any]], padding: np.ndarray) -> None:
    for number, sweep in enumerate(sweeps):
        start, stop = sweep["start"], sweep["stop"]
        axes.axvspan(start - 0.5, stop - 0.5, color=(PANEL, PANEL_OTHER)[number % 2], linewidth=0, zorder=0)
        name = f"sweep {number}" if len(sweeps) <= 8 else str(number)
        axes.text((start + stop - 1) / 2, 1.055, name, color=MUTED, fontsize=9.5, ha="center", va="center")
        if number:
            axes.axvline(start - 0.5, color=FAINT, linewidth=1, zorder=1)
    for start, stop in _runs(padding):
        axes.axvspan(
            start - 0.5,
            stop - 0.5,
            ymax=1 / 1.12,
            facecolor=PADDING,
            edgecolor=FAINT,
            hatch="////",
            linewidth=0,
            zorder=0.5,
        )


def _line(axes: Axes, start: int, quality: np.ndarray, positive: np.ndarray, count: int) -> None:
    frames = np.arange(start, start + len(quality))
    axes.plot(
        frames,
        quality,
        color=MUTED,
        linewidth=1.0,
        zorder=3,
        marker="o" if count <= FEW_FRAMES else "",
        markersize=4,
    )
    positive_quality = np.where(positive, quality, np.nan)
    axes.fill_between(
        frames,
        0,
        np.nan_to_num(positive_quality),
        where=positive,
        step="mid",
        color=ACCENT,
        alpha=0.22,
        linewidth=0,
        zorder=2,
    )
    axes.plot(frames, positive_quality, color=ACCENT, linewidth=1.6, zorder=4)
    axes.plot(
        frames[positive],
        quality[positive],
        "o",
        color=ACCENT,
        markersize=4 if count <= FEW_FRAMES else 2.2,
        zorder=4,
    )


def _measurements(axes: Axes, assessment: dict[str, Any], records: list[dict[str, Any]]) -> None:
    """Circumferences or lengths on a second axis; no axis where there are none."""
    measured = [record for record in records if recorded_mm(record) is not None]
    if not measured:
        return
    frames = np.array([record["index"] for record in measured])
    millimetres = np.array([recorded_mm(record) for record in measured], float)
    doubtful = np.array([bool(record.get("warning")) for record in measured])
    axis = axes.twinx()
    style: dict[str, Any] = {"markersize": 2.6, "alpha": 0.85, "linewidth": 0, "zorder": 5}
    axis.plot(frames[~doubtful], millimetres[~doubtful], "D", color=MEASURE, **style)
    axis.plot(frames[doubtful], millimetres[doubtful], "x", color=WARN, **style)
    low, high = millimetres.min(), millimetres.max()
    margin = max(20.0, 0.15 * (high - low))  # mm; keeps a flat series from filling the axis
    bottom = max(0.0, low - margin)
    axis.set_ylim(bottom, bottom + (high + margin - bottom) * 1.12)
    axis.yaxis.set_major_locator(MaxNLocator(nbins=5))
    axis.set_ylabel(
        f"{assessment['model'].get('measurement') or 'circumference'} (mm)", color=MEASURE, fontsize=10
    )
    axis.tick_params(colors=MUTED, labelsize=9, length=3)
    for side in axis.spines.values():
        side.set_visible(False)


def _runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """Half-open runs of True."""
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    return [(int(start), int(stop)) for start, stop in zip(edges[::2], edges[1::2])]
