"""Counts of the selected frames by state, grade, rater, case and sweep."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from fetaliqa.export.export_case import ExportCase
from fetaliqa.export.frame_selection import UNGRADED

NOBODY = "not stated"


@dataclass
class Counts:
    """Numbers of frames.

    Attributes:
        frames: selected.
        outlined: of them, with a mask.
        states, planes, raters, models, parts: numbers of them by label; planes of outlined ones only.
        cases: selected frames by case and sweep.
        subjects: that have any.
        offered: all frames of the source that have a state, by state, whatever the selection.
    """

    frames: int = 0
    outlined: int = 0
    states: Counter[str] = field(default_factory=Counter)
    planes: Counter[str] = field(default_factory=Counter)
    raters: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    parts: Counter[str] = field(default_factory=Counter)
    cases: dict[str, Counter[int]] = field(default_factory=dict)
    subjects: set[str] = field(default_factory=set)
    offered: Counter[str] = field(default_factory=Counter)

    def offer(self, case: ExportCase) -> None:
        """Count the frames of a case before selection."""
        self.offered.update(entry.state for entry in case.entries.values())

    def add(self, case: ExportCase, part: str) -> None:
        """Count the entries of a case, which are the selected ones."""
        self.cases[case.case_id] = Counter(entry.sweep for entry in case.entries.values())
        self.subjects.add(case.subject_id)
        for entry in case.entries.values():
            self.frames += 1
            self.states[entry.state] += 1
            self.parts[part] += 1
            if entry.outlined:
                self.outlined += 1
                self.planes[entry.plane or UNGRADED] += 1
            if entry.rater or entry.state != "proposed":
                self.raters[entry.rater or NOBODY] += 1
            if entry.model:
                self.models[f"{entry.model} {entry.model_version or ''}".strip()] += 1

    def to_json(self) -> dict[str, Any]:
        """The numbers as JSON values, sweeps counted from 0."""
        by_case = {
            case: {"frames": sum(sweeps.values()), "sweeps": {str(k): sweeps[k] for k in sorted(sweeps)}}
            for case, sweeps in sorted(self.cases.items())
        }
        named = ("states", "planes", "raters", "models", "parts")
        return {
            "frames": self.frames,
            "outlined": self.outlined,
            "cases": len(self.cases),
            "subjects": len(self.subjects),
            **{name: dict(sorted(getattr(self, name).items())) for name in named},
            "by_case": by_case,
        }
