"""Verification of a folder in the ACOUSLIC-AI layout: missing, contradictory and implausible data."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fetaliqa.datasets.acouslic_folder import (
    AcouslicFolder,
    circumferences_of,
    doubled,
    doubled_sentence,
)
from fetaliqa.datasets.acouslic_layout import IMAGES, MASKS, Circumferences
from fetaliqa.errors import FetalIQAError
from fetaliqa.measure import fit_outline
from fetaliqa.measure.anatomy import ABDOMEN
from fetaliqa.measure.field_of_view import field_of_view
from fetaliqa.sweep import Sweep, read_masks
from fetaliqa.sweep.sweep_reader import open_image

# Ratio of the table's AC to that of the masks, median over all sweeps. The AC is measured on one frame of a sweep,
# which may differ from the one fitted here: five real sweeps had 0.993 to 1.055. A factor of two is far outside.
DOUBLED_RATIO = (1.7, 2.3)
AGREEING_RATIO = (0.85, 1.18)
# Real values are 140.9 to 350.6 mm: a table whose values are all above twice the lowest may be doubled.
LOWEST_DOUBLED_AC_MM = 280.0
ASKED_CASES = 3  # cases whose masks are measured to distinguish a doubled table from large fetuses
SIXTHS = 6

# In the published version 1.1: an AC for sweep 1 without an annotated frame.
PUBLISHED_AS_IS = {("f1fcabfc-f998-44c7-8420-c7a5ae5aaab7", "ac-without-annotation")}

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Problem:
    """A problem of a case, or of the data set (``case_id`` None); ``kind`` is an identifier."""

    case_id: str | None
    kind: str
    sentence: str


@dataclass
class Report:
    """Result of ``verify``.

    Attributes:
        name: ``acouslic`` or ``phantom``.
        cases, subjects: rows and subjects of the table.
        readable: cases with two readable stacks.
        ac_mm: number, mean, lowest and highest AC of the table (mm).
        table_over_masks: median, lowest and highest ratio of the table's AC to that of an ellipse fitted to the
            best annotated frame of the sweep, and the number of sweeps; None when none could be fitted.
        frames: slots, padding slots, frames annotated optimal and suboptimal.
        problems: problems to correct.
        remarks: known problems of the published data, which need no correction.
    """

    name: str
    cases: int
    subjects: int
    readable: int = 0
    ac_mm: dict[str, float] | None = None
    table_over_masks: dict[str, float] | None = None
    frames: dict[str, int] = field(
        default_factory=lambda: {"slots": 0, "padding": 0, "optimal": 0, "suboptimal": 0}
    )
    problems: list[Problem] = field(default_factory=list)
    remarks: list[Problem] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Whether there are no problems."""
        return not self.problems

    def to_json(self) -> dict[str, Any]:
        """The report as JSON-ready values."""
        return {**asdict(self), "sound": self.sound}


def verify(folder: Path, progress: Progress | None = None) -> Report:
    """Read every case of a folder and compare its files with each other and with the table.

    The masks of the best annotated frame of each sweep are measured, so that a doubled table is detected even if
    no single value is impossible.

    Args:
        folder: root of the layout.
        progress: called with cases done and cases in all.

    Raises:
        SweepError: when there is no table, or table or manifest cannot be read at all.
    """
    files = AcouslicFolder(folder)
    rows = list({row.uuid: row for row in files.rows}.values())
    report = Report(
        "phantom" if files.synthetic else "acouslic",
        cases=len(files.rows),
        subjects=len({row.subject_id for row in files.rows}),
    )
    if not files.rows:
        report.problems.append(Problem(None, "empty", "the table has no rows"))
    report.problems += _table_problems(files)
    ratios: list[float] = []
    for done, row in enumerate(rows, start=1):
        for problem in _case_problems(files, row, report, ratios):
            published = (problem.case_id, problem.kind) in PUBLISHED_AS_IS
            (report.remarks if published else report.problems).append(problem)
        if progress is not None:
            progress(done, len(rows))
    values = [value for row in files.rows for value in row.ac_mm if value is not None]
    report.ac_mm = _spread(values, statistics.mean)
    report.table_over_masks = _spread(ratios, statistics.median)
    report.problems += _ratio_problems(report)
    return report


def _spread(values: list[float], middle: Callable[[list[float]], float]) -> dict[str, float] | None:
    if not values:
        return None
    return {
        "count": len(values),
        middle.__name__: float(middle(values)),
        "lowest": min(values),
        "highest": max(values),
    }


def _table_problems(files: AcouslicFolder) -> Iterator[Problem]:
    for uuid in files.duplicates:
        yield Problem(uuid, "duplicate", "several rows in the table; keep one")
    reason = doubled(value for row in files.rows for value in row.ac_mm)
    if reason:
        yield Problem(None, "doubled", doubled_sentence(reason))
    case_ids = {row.uuid for row in files.rows}
    for folder, word in ((IMAGES, "image"), (MASKS, "mask")):
        for path in sorted((files.folder / folder).glob("*.mha")):
            if path.stem not in case_ids:
                yield Problem(path.stem, "not-in-table", f"{word} without a row in the table; add it or remove it")
    low, high = ABDOMEN.plausible_mm
    for row in files.rows:
        for number, value in enumerate(row.ac_mm, start=1):
            if value is not None and not low <= value <= high:
                sentence = f"AC {value:.1f} mm in sweep {number}; {low:.0f} to {high:.0f} mm is plausible"
                yield Problem(row.uuid, "implausible-ac", sentence)


def doubled_by_masks(files: AcouslicFolder) -> str | None:
    """Why a table without impossible values must be doubled, from the first cases' masks; None otherwise.

    Masks are read only if every AC of the table could be doubled.
    """
    rows = [row for row in files.rows if any(value is not None for value in row.ac_mm)]
    values = [value for row in rows for value in row.ac_mm if value is not None]
    if not values or min(values) < LOWEST_DOUBLED_AC_MM:
        return None
    ratios: list[float] = []
    for row in rows[:ASKED_CASES]:
        for _ in _case_problems(files, row, Report("acouslic", 0, 0), ratios):
            pass
    ratio = statistics.median(ratios) if ratios else 1.0
    return f"its AC is {ratio:.2f} times that of the masks" if _is_double(ratio) else None


def _is_double(ratio: float) -> bool:
    return DOUBLED_RATIO[0] <= ratio <= DOUBLED_RATIO[1]


def _ratio_problems(report: Report) -> Iterator[Problem]:
    if report.table_over_masks is None or any(problem.kind == "doubled" for problem in report.problems):
        return
    ratio = report.table_over_masks["median"]
    if _is_double(ratio):
        yield Problem(None, "doubled", doubled_sentence(f"its AC is {ratio:.2f} times that of the masks"))
    elif not AGREEING_RATIO[0] <= ratio <= AGREEING_RATIO[1]:
        yield Problem(
            None, "scale", f"the table's AC is {ratio:.2f} times that of the masks; check table and pixel spacing"
        )


def _case_problems(
    files: AcouslicFolder, row: Circumferences, report: Report, ratios: list[float]
) -> Iterator[Problem]:
    case_id = row.uuid
    image, mask = files.image(case_id), files.mask(case_id)
    for path, word in ((image, "image"), (mask, "mask")):
        if not path.is_file():
            yield Problem(case_id, f"no-{word}", f"no {word} {path.name} in {path.parent.name}")
    if not (image.is_file() and mask.is_file()):
        return
    try:
        sizes = open_image(image).pixels.shape, open_image(mask).pixels.shape
        if sizes[0] != sizes[1]:
            image_size, mask_size = ("x".join(map(str, size)) for size in sizes)
            yield Problem(case_id, "size", f"image {image_size} and mask {mask_size} differ in size")
            return
        sweep = files.read_frames(case_id)
        masks = read_masks(mask, sweep)
        circumferences = circumferences_of(row, sweep.ranges)
    except FetalIQAError as problem:
        yield Problem(case_id, "unreadable", str(problem))
        return
    report.readable += 1
    yield from _label_problems(case_id, sweep, masks, circumferences, report, ratios)


def _label_problems(
    case_id: str,
    sweep: Sweep,
    masks: np.ndarray,
    circumferences: tuple[float | None, ...],
    report: Report,
    ratios: list[float],
) -> Iterator[Problem]:
    if sweep.frame_count % SIXTHS and len(circumferences) == SIXTHS:
        yield Problem(case_id, "frame-count", f"{sweep.frame_count} frames do not divide into {SIXTHS} sweeps")
    grades, areas, invalid = _frame_labels(masks)
    if invalid:
        yield Problem(case_id, "mask-values", f"mask values {sorted(invalid)}; 0, 1 and 2 are expected")
    padded = np.flatnonzero((grades > 0) & sweep.padding)
    if len(padded):
        sentence = f"{len(padded)} annotated frames are black, the first is {padded[0]}"
        yield Problem(case_id, "annotated-padding", sentence)
    report.frames["slots"] += len(grades)
    report.frames["padding"] += int(sweep.padding.sum())
    report.frames["optimal"] += int((grades == 1).sum())
    report.frames["suboptimal"] += int((grades == 2).sum())
    sector = None
    for number, ((start, stop), value) in enumerate(zip(sweep.ranges, circumferences), start=1):
        annotated = np.flatnonzero(grades[start:stop]) + start
        if len(annotated) and value is None:
            yield Problem(
                case_id, "annotation-without-ac", f"{len(annotated)} annotated frames in sweep {number}, but no AC"
            )
        if value is None:
            continue
        if not len(annotated):
            yield Problem(
                case_id, "ac-without-annotation", f"AC {value:.1f} mm in sweep {number}, but no annotated frame"
            )
            continue
        best = min(annotated, key=lambda frame: (grades[frame], -areas[frame]))
        sector = field_of_view(sweep.frames) if sector is None else sector
        measured = fit_outline(masks[best], sweep.spacing, sector).circumference_mm
        if measured:
            ratios.append(value / measured)


def _frame_labels(masks: np.ndarray) -> tuple[np.ndarray, np.ndarray, set[int]]:
    """Grade and area (pixels) of each frame's mask, and invalid values."""
    grades, areas, invalid = np.zeros(len(masks), int), np.zeros(len(masks), int), set()
    for index, mask in enumerate(masks):  # frame by frame: comparing all at once needs another 350 MB
        if not mask.any():
            continue
        counts = np.bincount(mask.ravel(), minlength=3)
        grades[index] = 1 if counts[1] else 2
        areas[index] = counts[1:].sum()
        invalid |= {int(value) for value in np.flatnonzero(counts) if value > 2}
    return grades, areas, invalid
