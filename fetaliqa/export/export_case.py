"""A case on its way out: its pixels, and what is known of each frame."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from fetaliqa.measure.anatomy import ABDOMEN, Anatomy
from fetaliqa.sweep import Grid, Ranges


@dataclass(frozen=True)
class FrameEntry:
    """What is known of one frame.

    Attributes:
        frame: number in the case's stack, from 0.
        sweep: number of its sweep, from 0.
        state: ``annotated``, ``empty`` or ``proposed``.
        plane: ``optimal``, ``suboptimal``; None when not graded or without outline.
        outlined: whether its mask holds anything.
        rater, time: who looked and when; None where the data does not say.
        model, model_version: whose proposal it is, or was shown to the rater.
        quality: score in [0, 1]; None when no model scored it.
        warning: what speaks against a proposed outline or its circumference, as the assessment says; or None.
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
    quality: float | None = None
    warning: str | None = None


@dataclass(frozen=True, eq=False)
class ExportCase:
    """A case.

    Attributes:
        case_id, subject_id: names; pseudonyms once they are asked for.
        frames: uint8 [T, H, W].
        masks: uint8 [T, H, W]; 0 background, 1 anatomy (on an optimal plane, where graded), 2 suboptimal plane.
        entries: what is known, by frame number; a frame that is not in it was neither looked at nor proposed.
        spacing: (row, column) pixel spacing in mm, or None.
        ranges: half-open frame range of each sweep.
        grid: geometry of the file that the frames came from.
        anatomy: what is outlined.
        quality: float [T], quality score of every frame that a model scored, NaN of others; None without a model.
            What ranks frames needs those without an entry too.
        unlike: bool [T], frames that are unlike what that model learnt from; None where it does not say.
        raters: masks and known frames of others who labelled the case, by tag: what they disagree on.
        notes: what could not be used, one sentence each.
        file_name: what its files are called after, see :attr:`stem`; None for its name.
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
