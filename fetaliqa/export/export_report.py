"""The HTML report of an export: counts, histograms and example frames in one self-contained file."""

from __future__ import annotations

import base64
import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from fetaliqa.evaluation.frame_metrics import dice
from fetaliqa.export.export_case import ExportCase
from fetaliqa.labels import FrameLabel
from fetaliqa.measure.anatomy import anatomy_named
from fetaliqa.measure.frame_size import recorded_mm
from fetaliqa.pictures.frame_picture import ELLIPSE_COLOUR, OUTLINE_COLOUR, frame_picture
from fetaliqa.pictures.html_report import render

TEMPLATE = "export.html"
SHOWN = 12  # frames per sheet
WIDTH = 300  # pixels of a frame
BINS = 24
PLOT_WIDTH, PLOT_HEIGHT = 520, 180  # units of the drawing


@dataclass(order=True)
class _Shown:
    """A frame on a sheet; those with the largest ``weight`` are shown."""

    weight: float
    number: int  # breaks ties: the first frame wins
    caption: str = field(compare=False)
    detail: str = field(compare=False)
    picture: bytes = field(compare=False)


class _Sheet:
    """The frames with the largest weight; pictures are only drawn when needed."""

    def __init__(self) -> None:
        self._heap: list[_Shown] = []
        self._count = 0

    def offer(self, weight: float, draw: Any) -> None:
        """Add a frame if its weight is among the largest; ``draw`` gives caption, detail and picture."""
        self._count += 1
        if len(self._heap) == SHOWN and weight <= self._heap[0].weight:
            return
        shown = _Shown(weight, -self._count, *draw())
        if len(self._heap) < SHOWN:
            heapq.heappush(self._heap, shown)
        else:
            heapq.heapreplace(self._heap, shown)

    def view(self) -> list[dict[str, str]]:
        """Frames for the template, the largest weight first."""
        return [
            {
                "caption": one.caption,
                "detail": one.detail,
                "picture": base64.b64encode(one.picture).decode("ascii"),
            }
            for one in sorted(self._heap, reverse=True)
        ]


class ReportBuilder:
    """Collects the contents of a report case by case; memory does not grow with the number of frames."""

    def __init__(self) -> None:
        self._best, self._worst, self._disagreed = _Sheet(), _Sheet(), _Sheet()
        self._quality: list[float] = []
        self._sizes_mm: list[float] = []
        self._compared = 0

    def add(self, case: ExportCase, sizes: Mapping[int, Mapping[str, Any]]) -> None:
        """Add the exported frames of a case.

        Args:
            case: with the exported entries.
            sizes: what was measured, by frame.
        """
        for frame in sizes:
            entry = case.entries[frame]
            value = recorded_mm(sizes[frame])
            if value is not None:
                self._sizes_mm.append(value)
            if entry.quality is not None:
                self._quality.append(entry.quality)
                detail = f"quality {entry.quality:.3f}" + ("" if value is None else f", {value:.0f} mm")
                if sizes[frame].get("circumference_low_mm") is not None:
                    low, high = (sizes[frame][f"circumference_{end}_mm"] for end in ("low", "high"))
                    detail += f", interval {low:.0f} to {high:.0f} mm"
                if warning := sizes[frame].get("warning"):
                    detail += f" ({warning})"
                self._best.offer(entry.quality, lambda f=frame, d=detail: _drawn(case, f, d))
                if entry.outlined:
                    self._worst.offer(-entry.quality, lambda f=frame, d=detail: _drawn(case, f, d))
            self._compare(case, frame)

    def html(self, about: Mapping[str, Any]) -> str:
        """The report.

        Args:
            about: the data card.
        """
        measurement = anatomy_named(about["source"]["anatomy"]).measurement
        return render(
            TEMPLATE,
            about=about,
            first_colour=_css(OUTLINE_COLOUR),
            second_colour=_css(ELLIPSE_COLOUR),
            measurement=measurement,
            plots=[
                _histogram("quality score", self._quality, (0.0, 1.0), ""),
                _histogram(f"{measurement} of the exported masks", self._sizes_mm, None, "mm"),
            ],
            compared=self._compared,
            sheets=[
                ("Best quality", "best", self._best.view()),
                ("Worst quality of the outlined frames", "worst", self._worst.view()),
                ("Most disagreed on", "disagreed", self._disagreed.view()),
            ],
        )

    def _compare(self, case: ExportCase, frame: int) -> None:
        """Offer a frame for the pair of raters that differs most on it."""
        outlines = [
            (tag, masks[frame] > 0)
            for tag, (masks, record) in sorted(case.raters.items())
            if record.frames.get(frame, FrameLabel("proposed")).known
        ]
        pairs = [(_overlap(a[1], b[1]), a, b) for k, a in enumerate(outlines) for b in outlines[k + 1 :]]
        if not pairs:
            return
        self._compared += 1
        least, first, second = min(pairs, key=lambda pair: pair[0])
        if least < 1:
            detail = f"{first[0]} and {second[0]}: Dice {least:.3f}"
            self._disagreed.offer(-least, lambda: _drawn_pair(case, frame, detail, first[1], second[1]))


def _overlap(first: np.ndarray, second: np.ndarray) -> float:
    """Dice; 1 when both masks are empty."""
    return dice(first, second) if first.any() or second.any() else 1.0


def _caption(case: ExportCase, frame: int) -> str:
    entry = case.entries[frame]
    parts = [f"frame {frame}", entry.state, *([entry.plane] if entry.plane else [])]
    return f"{case.case_id}: {', '.join(parts)}"


def _drawn(case: ExportCase, frame: int, detail: str) -> tuple[str, str, bytes]:
    picture = frame_picture(case.frames[frame], case.masks[frame], None, width=WIDTH)
    return _caption(case, frame), detail, _png(picture)


def _drawn_pair(
    case: ExportCase, frame: int, detail: str, first: np.ndarray, second: np.ndarray
) -> tuple[str, str, bytes]:
    picture = frame_picture(case.frames[frame], None, None, width=WIDTH)
    size = (picture.shape[1], picture.shape[0])
    for mask, colour in ((first, OUTLINE_COLOUR), (second, ELLIPSE_COLOUR)):
        small = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        contours, _ = cv2.findContours(small, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, colour, 1, cv2.LINE_AA)
    return _caption(case, frame), detail, _png(picture)


def _png(picture: np.ndarray) -> bytes:
    return cv2.imencode(".png", picture[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 6])[1].tobytes()


def _css(colour: tuple[int, int, int]) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _histogram(
    title: str, values: Sequence[float], limits: tuple[float, float] | None, unit: str
) -> dict[str, Any]:
    """Bars of a histogram in units of the drawing, with the figures that it shows."""
    plot: dict[str, Any] = {"title": title, "count": len(values), "bars": [], "unit": unit}
    if not values:
        return plot
    low, high = limits or (float(np.floor(min(values) / 10) * 10), float(np.ceil(max(values) / 10) * 10))
    high = high if high > low else low + 10
    counts, edges = np.histogram(values, bins=BINS, range=(low, high))
    scale, width = PLOT_HEIGHT / counts.max(), PLOT_WIDTH / BINS
    plot["bars"] = [
        {
            "x": round(index * width + 1, 2),
            "y": round(PLOT_HEIGHT - number * scale, 2),
            "width": round(width - 2, 2),
            "height": round(number * scale, 2),
            "told": f"{edges[index]:.3g} to {edges[index + 1]:.3g} {unit}: {number} frames",
        }
        for index, number in enumerate(counts.tolist())
    ]
    low_quartile, median, high_quartile = np.percentile(values, [25, 50, 75])
    after = f" {unit}" if unit else ""
    plot |= {
        "low": f"{low:g}",
        "high": f"{high:g}",
        "told": f"median {median:.3g}{after}, quartiles {low_quartile:.3g} to {high_quartile:.3g}{after}",
    }
    return plot
