"""A case to export: pixels, masks, and the label of each frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fetaliqa.measure.anatomy import ABDOMEN, Anatomy
from fetaliqa.sweep import Grid, Ranges


@dataclass(frozen=True)
class FrameEntry:
    """Label and score of one frame.

    Attributes:
        frame: number in the case's stack, from 0.
        sweep: number of its sweep, from 0.
        state: ``annotated``, ``empty`` or ``proposed``.
        plane: ``optimal``, ``suboptimal``; None when not graded or without outline.
        outlined: whether its mask holds anything.
        rater, time: who reviewed it and when; None when not known.
        model, model_version: whose proposal it is, or was shown to the rater.
        origin, clicks, source_frame: how the mask came about, as in a frame record.
        quality: score in [0, 1]; None when no model scored it.
        warning: doubts about a proposed outline or its circumference, from the assessment; or None.
        interval_mm: lower and upper end around a proposed outline's circumference, from the assessment; or None.
    """

    frame: int
    sweep: int
    state: str
    plane: str | None = None
    outlined: bool = False
    rater: str | None = None
    time: str | float | None = None
    model: str | None = None
    model_version: str | None = None
    origin: str | None = None
    clicks: int | None = None
    source_frame: int | None = None
    quality: float | None = None
    warning: str | None = None
    interval_mm: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class ExportCase:
    """A case.

    Attributes:
        case_id, subject_id: names or pseudonyms.
        frames: uint8 [T, H, W].
        masks: uint8 [T, H, W]; 0 background, 1 anatomy (on an optimal plane, where graded), 2 suboptimal plane.
        entries: labelled or proposed frames, by frame number.
        spacing: (row, column) pixel spacing in mm, or None.
        ranges: half-open frame range of each sweep.
        grid: geometry of the file that the frames came from.
        anatomy: what is outlined.
        quality: float [T], quality score of every frame that a model scored, NaN of others; None without a model.
            Ranking needs frames without an entry too.
        unlike: bool [T], frames that are out of distribution for that model; None when not known.
        raters: masks and known frames of each rater, by tag, for the comparison of raters.
        notes: remarks on unusable parts, one sentence each.
        file_name: stem of its files, see :attr:`stem`; None for its name.
    """

    case_id: str
    subject_id: str
    frames: np.ndarray
    masks: np.ndarray
    entries: Mapping[int, FrameEntry]
    spacing: tuple[float, float] | None
    ranges: Ranges
    grid: Grid
    anatomy: Anatomy = ABDOMEN
    quality: np.ndarray | None = None
    unlike: np.ndarray | None = None
    raters: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    file_name: str | None = None

    @property
    def stem(self) -> str:
        """Beginning of the names of its files."""
        return self.case_id if self.file_name is None else self.file_name

    def with_entries(self, entries: Mapping[int, FrameEntry]) -> ExportCase:
        """The case with other entries."""
        return replace(self, entries=entries)
