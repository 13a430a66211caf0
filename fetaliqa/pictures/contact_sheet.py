"""Contact sheet of a case: its best frames with outline and ellipse, and the quality of every frame."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from fetaliqa.atomic import atomic_path
from fetaliqa.measure import rank_frames, recorded_mm
from fetaliqa.measure.case_words import interval_words
from fetaliqa.measure.plausibility import LOW_EXPECTED_DICE
from fetaliqa.pictures.colours import ACCENT, BACKGROUND, FAINT, MEASURE, MUTED, TEXT, WARN
from fetaliqa.pictures.frame_picture import frame_picture, shapes_of
from fetaliqa.pictures.quality_curve import draw_curve
from fetaliqa.pictures.text_rendering import lettering

DPI = 110
WIDTH_INCHES = 16.0
COLUMNS = 5  # frames side by side
MAX_FRAMES = 15  # frames on a sheet; more would be too small
CURVE_INCHES = 3.0
CAPTION_INCHES = 0.36  # above and below each row of pictures
SIGNAL_INCHES = 0.22  # additional, for a second caption line: expected Dice and distance
LEGEND = ("solid: outline of the mask", "dashed: fitted ellipse or line")
CURVE_LEGEND = ("bright curve: positive frames", "hatched: padding")
UNLIKE = "unlike the training data"
LEAST_BAD = 5  # highest-scoring frames shown when none is usable


@dataclass(frozen=True)
class _Shown:
    """A frame on the sheet."""

    index: int
    rank: int
    usable: bool
    fields: dict[str, Any]


def contact_sheet(path: Path, *, frames: np.ndarray, masks: np.ndarray, assessment: dict[str, Any]) -> None:
    """Write the contact sheet of a case as a PNG.

    Shows the frames of ``assessment["ranking"]``. Without a ranking, the highest-scoring frames are shown as not
    usable, with the reason. Frames and sweeps are numbered from 0.

    Args:
        path: PNG to write (atomically).
        frames: uint8 [T, H, W].
        masks: uint8 [T, H, W]; non-zero inside the outline.
        assessment: the assessment record of the case (``case_id``, ``model``, ``spacing_mm``, ``sweeps``,
            ``frames``, ``ranking``, ``best``, ``reason``, ``notes``).

    Raises:
        ValueError: when the frames, masks and assessment are not of the same case.
    """
    if masks.shape != frames.shape or len(assessment["frames"]) != len(frames):
        raise ValueError(
            f"frames of shape {frames.shape}, masks of shape {masks.shape}, "
            f"an assessment of {len(assessment['frames'])} frames"
        )
    shown = _shown_frames(assessment)
    rows = max(1, -(-len(shown) // COLUMNS))
    columns = max(1, min(COLUMNS, len(shown)))
    width = _picture_pixels(frames.shape, columns)
    picture_inches = _picture_inches(frames.shape, columns)
    # title, rows of frames, curve, footer
    below = CAPTION_INCHES + (SIGNAL_INCHES if any(_has_signals(item.fields) for item in shown) else 0)
    curve = [CURVE_INCHES] if len(frames) > 1 else []  # none for a single frame
    heights = [0.9, *[CAPTION_INCHES + picture_inches + below] * rows, *curve, 0.4]
    figure = Figure(figsize=(WIDTH_INCHES, sum(heights)), dpi=DPI, facecolor=BACKGROUND)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(
        len(heights), 1, height_ratios=heights, left=0.035, right=0.965, top=1, bottom=0, hspace=0
    )
    _title(figure, grid, assessment, shown)
    for row in range(rows):
        captions = [CAPTION_INCHES, picture_inches, below]
        inner = grid[1 + row].subgridspec(3, 1, height_ratios=captions, hspace=0)
        _picture_row(figure, inner[1], row, columns, width, shown, frames, masks, assessment)
    if curve:
        _curve(figure, grid, rows, assessment, shown)
    _footer(figure, grid, assessment)
    with atomic_path(Path(path)) as temporary:
        figure.savefig(temporary, format="png", facecolor=BACKGROUND)


def _shown_frames(assessment: dict[str, Any]) -> list[_Shown]:
    records = assessment["frames"]
    selected, usable = list(assessment["ranking"])[:MAX_FRAMES], True
    if not selected:
        quality = np.array([np.nan if r.get("quality") is None else float(r["quality"]) for r in records])
        ranges = [(sweep["start"], sweep["stop"]) for sweep in assessment["sweeps"]]
        selected, usable = list(rank_frames(quality, ~np.isnan(quality), ranges, top_n=LEAST_BAD).frames), False
    return [_Shown(index, rank, usable, records[index]) for rank, index in enumerate(selected, start=1)]


def _picture_inches(shape: tuple[int, ...], columns: int) -> float:
    """Height of a row of pictures: as wide as the columns allow, within limits."""
    width = WIDTH_INCHES * 0.93 / columns * 0.96
    return float(np.clip(width * shape[1] / shape[2], 1.8, 4.2))


def _picture_pixels(shape: tuple[int, ...], columns: int) -> int:
    """Width in pixels at which a frame is shown."""
    height = _picture_inches(shape, columns) * DPI
    return max(1, round(min(height * shape[2] / shape[1], WIDTH_INCHES * 0.93 / columns * 0.96 * DPI)))


def _empty_axes(figure: Figure, place: Any) -> Axes:
    axes = figure.add_subplot(place)
    axes.set_axis_off()
    return axes


def _title(figure: Figure, grid: GridSpec, assessment: dict[str, Any], shown: list[_Shown]) -> None:
    axes = _empty_axes(figure, grid[0])
    model = assessment["model"]
    axes.text(
        0,
        0.52,
        **lettering(_shortened(str(assessment["case_id"]), 60)),
        color=TEXT,
        fontsize=19,
        fontweight="bold",
        va="center",
    )
    version = f" {model['version']}" if model.get("version") else ""
    measurement = f" ({model['measurement']})" if model.get("measurement") else ""
    line = f"{model['name']}{version}   ·   {model['anatomy']}{measurement}   ·   {_spacing(assessment)}"
    axes.text(0, 0.14, **lettering(line), color=MUTED, fontsize=11, va="center")
    best = assessment.get("best")
    if best is None:
        axes.text(1, 0.52, "no usable frame", color=WARN, fontsize=19, fontweight="bold", ha="right", va="center")
        reason = str(assessment.get("reason") or "").removeprefix("no usable frame: ")
        note = f"{reason}; below: the highest-scoring frames" if shown else reason
        axes.text(1, 0.14, **lettering(note), color=MUTED, fontsize=11, ha="right", va="center")
        return
    record = assessment["frames"][best]
    axes.text(1, 0.52, f"best frame {best}", color=ACCENT, fontsize=19, fontweight="bold", ha="right", va="center")
    about = [f"quality {record['quality']:.2f}"]
    if len(assessment["frames"]) > 1:
        about.insert(0, f"sweep {record['sweep']} (0 to {len(assessment['sweeps']) - 1})")
    if record.get("expected_dice") is not None:
        about.append(f"expected Dice {record['expected_dice']:.2f}")
    if record.get("unlike_training_data"):
        about.append(UNLIKE)
    doubtful = ": doubtful" if record.get("warning") else ""
    if (of_case := assessment.get("measurement")) and len(assessment["frames"]) > 1:
        about.append(f"case: {interval_words(of_case)}{doubtful}")
    elif recorded_mm(record) is not None:
        about.append(f"{model.get('measurement', '')} {_millimetres(record, interval=True)}{doubtful}".strip())
    elif doubtful:
        about.append(_shortened(str(record["warning"]), 70))
    colour = WARN if record.get("warning") else MUTED
    axes.text(1, 0.14, "   ·   ".join(about), color=colour, fontsize=11, ha="right", va="center")


def _millimetres(record: dict[str, Any], *, interval: bool) -> str:
    """A frame's circumference or length, with its interval if it has one: ``210 mm (203-217)``.

    Of a case of several frames the interval of the case is shown, which is another one.
    """
    value = f"{recorded_mm(record):.0f} mm"
    around = record.get("circumference_interval_mm") if interval else None
    if around is None:
        return value
    return f"{value} ({around[0]:.0f}-{around[1]:.0f})"


def _spacing(assessment: dict[str, Any]) -> str:
    spacing = assessment.get("spacing_mm")
    if spacing is None:
        return "no pixel spacing: no measurement in mm"
    row, column = spacing
    if abs(row - column) < 1e-4 * row:
        return f"{row:.3g} mm per pixel"
    return f"{row:.3g} x {column:.3g} mm per pixel (rows x columns)"


def _picture_row(
    figure: Figure,
    place: Any,
    row: int,
    columns: int,
    width: int,
    shown: list[_Shown],
    frames: np.ndarray,
    masks: np.ndarray,
    assessment: dict[str, Any],
) -> None:
    places = place.subgridspec(1, columns, wspace=0.04)
    for column in range(columns):
        number = row * columns + column
        axes = _empty_axes(figure, places[column])
        if number >= len(shown):
            if not shown:
                axes.text(
                    0.5, 0.5, "nothing was scored", color=MUTED, fontsize=14, ha="center", transform=axes.transAxes
                )
            continue
        item = shown[number]
        picture = frame_picture(frames[item.index], masks[item.index], width=width, **shapes_of(item.fields))
        axes.imshow(picture, aspect="equal", interpolation="antialiased")
        _mark_best(axes, picture, item.index == assessment.get("best"))
        _captions(axes, item, assessment)


def _mark_best(axes: Axes, picture: np.ndarray, best: bool) -> None:
    height, width = picture.shape[:2]
    x, y = [0, width, width, 0, 0], [0, 0, height, height, 0]
    axes.plot(x, y, color=ACCENT if best else FAINT, linewidth=2.2 if best else 0.8, clip_on=False)
    axes.set_xlim(-2, width + 2)
    axes.set_ylim(height + 2, -2)


def _captions(axes: Axes, item: _Shown, assessment: dict[str, Any]) -> None:
    style: dict[str, Any] = {"transform": axes.transAxes, "fontsize": 11}
    colour = (ACCENT if item.index == assessment.get("best") else TEXT) if item.usable else WARN
    name = f"{item.rank}   frame {item.index}" if item.usable else f"not usable   frame {item.index}"
    axes.text(0, 1.015, name, color=colour, fontweight="bold", va="bottom", **style)
    axes.text(1, 1.015, f"sweep {item.fields['sweep']}", color=MUTED, ha="right", va="bottom", **style)
    digits = 2 if item.usable else 4  # scores of unusable frames differ in later digits
    axes.text(0, -0.02, f"quality {item.fields['quality']:.{digits}f}", color=TEXT, va="top", **style)
    millimetres, single = recorded_mm(item.fields), len(assessment["frames"]) == 1
    measurement = str(assessment["model"].get("measurement") or "circumference")
    doubtful = ": doubtful" if item.fields.get("warning") else ""
    if millimetres is not None:
        line, colour = f"{measurement} {_millimetres(item.fields, interval=single)}", MEASURE
    else:
        line, colour = f"no {measurement} in mm", MUTED
    if millimetres is not None or item.usable:
        axes.text(1, -0.02, line + doubtful, color=WARN if doubtful else colour, ha="right", va="top", **style)
    _signal_caption(axes, item.fields, style)


def _has_signals(fields: dict[str, Any]) -> bool:
    return fields.get("expected_dice") is not None or fields.get("distance") is not None


def _signal_caption(axes: Axes, fields: dict[str, Any], style: dict[str, Any]) -> None:
    """Second caption line of a frame: expected Dice, and whether the frame is out of distribution."""
    below = {"xytext": (0, -17), "textcoords": "offset points", "xycoords": axes.transAxes, "va": "top"}
    written = {"fontsize": style["fontsize"], **below}
    if (value := fields.get("expected_dice")) is not None:
        colour = WARN if value < LOW_EXPECTED_DICE else TEXT
        axes.annotate(f"expected Dice {value:.2f}", (0, -0.02), color=colour, **written)
    if fields.get("unlike_training_data"):
        axes.annotate(UNLIKE, (1, -0.02), color=WARN, ha="right", **written)


def _curve(figure: Figure, grid: GridSpec, rows: int, assessment: dict[str, Any], shown: list[_Shown]) -> None:
    # space for tick labels and the axis label inside the row
    place = grid[1 + rows].subgridspec(
        3, 3, width_ratios=[0.03, 1, 0.035], height_ratios=[0.12, 1, 0.22], wspace=0, hspace=0
    )
    axes = figure.add_subplot(place[1, 1])
    marked = {item.index: item.rank for item in shown} if shown and shown[0].usable else {}
    draw_curve(axes, assessment, marked)


def _footer(figure: Figure, grid: GridSpec, assessment: dict[str, Any]) -> None:
    axes = _empty_axes(figure, grid[-1])
    axes.text(
        0,
        0.6,
        "     ".join(LEGEND if len(assessment["frames"]) == 1 else (*LEGEND, *CURVE_LEGEND)),
        color=MUTED,
        fontsize=9,
        va="center",
    )
    notes = "; ".join(str(note) for note in assessment.get("notes", ()))
    axes.text(
        1,
        0.6,
        **lettering(_shortened("; ".join(filter(None, ("not for clinical use", notes))), 120)),
        color=MUTED,
        fontsize=9,
        ha="right",
        va="center",
    )


def _shortened(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
