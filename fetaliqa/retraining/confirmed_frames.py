"""Confirmed frames of a studies folder: whether they suffice to retrain, and the train/validation split."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from fetaliqa.atomic import write_json
from fetaliqa.datasets.labelled_data import CaseEntry, LabelledCase
from fetaliqa.datasets.splits import Split, extend_split, read_split, subject_split, write_split
from fetaliqa.errors import FetalIQAError, TooFewLabels
from fetaliqa.labels.studies import Studies
from fetaliqa.retraining.retraining_paths import read_file, split_file

FRACTIONS = (0.75, 0.25, 0.0)  # train, validation; no test part: all other cases are used by the gate
MIN_FRAMES = 8  # confirmed in all; with fewer, half of a batch of 16 would be repeated frames
MIN_SUBJECTS = 2  # one to train on, another to validate on


@dataclass(frozen=True)
class ConfirmedCase:
    """A case with confirmed frames: numbers of outlined and of empty frames."""

    case_id: str
    subject_id: str
    outlined: int
    empty: int

    @property
    def frames(self) -> int:
        """All confirmed frames."""
        return self.outlined + self.empty

    @property
    def entry(self) -> CaseEntry:
        """As data sets have it."""
        return CaseEntry(self.case_id, self.subject_id)


@dataclass(frozen=True)
class Confirmed:
    """Confirmed frames of a studies folder at the time it was read.

    Attributes:
        data: the studies.
        cases: that have confirmed frames, by name.
        problems: why labels could not be used, one sentence each.
    """

    data: Studies
    cases: list[ConfirmedCase]
    problems: list[str]


class StudyCase:
    """One case of a folder of studies as a data set, so that only changed cases are prepared again."""

    def __init__(self, data: Studies, case_id: str) -> None:
        self.data, self.case_id = data, case_id
        self.name, self.anatomy, self.synthetic = data.name, data.anatomy, data.synthetic

    def entries(self) -> list[CaseEntry]:
        return [entry for entry in self.data.entries() if entry.case_id == self.case_id]

    def read(self, case_id: str) -> LabelledCase:
        return self.data.read(case_id)

    def fingerprint(self) -> str:
        return self.data.case_fingerprint(self.case_id)


def confirmed_cases(
    data: Studies, progress: Callable[[int, int], None] = lambda *_: None
) -> tuple[list[ConfirmedCase], list[str]]:
    """The cases that have confirmed frames, by name, and what could not be used, one sentence each."""
    confirmed, problems = [], data.left_out()
    entries = data.entries()
    for done, entry in enumerate(entries, start=1):
        try:
            outlined, empty = data.confirmed(entry.case_id)
        except FetalIQAError as problem:  # one damaged label must not stop the training
            problems.append(f"{entry.case_id} is excluded: {problem}")
        else:
            if outlined or empty:
                confirmed.append(ConfirmedCase(entry.case_id, entry.subject_id, outlined, empty))
        progress(done, len(entries))
    return confirmed, problems


def readable_cases(
    data: Studies, cases: Sequence[ConfirmedCase], progress: Callable[[int, int], None] = lambda *_: None
) -> tuple[list[ConfirmedCase], list[str]]:
    """Those of the cases whose image and mask can be read, and why the others cannot, one sentence each.

    One damaged file would otherwise end every training. Unchanged files are not read again.
    """
    file = read_file(data.folder)
    try:
        before = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        before = {}
    readable, problems, seen = [], [], {}
    for done, case in enumerate(cases, start=1):
        try:
            mark = data.case_fingerprint(case.case_id)
            if not isinstance(before, dict) or before.get(case.case_id) != mark:
                data.read(case.case_id)
        except FetalIQAError as problem:
            problems.append(f"{case.case_id} is excluded: {problem}")
        else:
            readable.append(case)
            seen[case.case_id] = mark
        progress(done, len(cases))
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(file, seen)
    return readable, problems


def check_enough(cases: Sequence[ConfirmedCase], problems: Sequence[str] = ()) -> None:
    """Check that there are enough confirmed frames.

    Args:
        cases: with confirmed frames.
        problems: why other labels do not count.

    Raises:
        TooFewLabels: saying what is missing.
    """
    frames = sum(case.frames for case in cases)
    outlined = {case.subject_id for case in cases if case.outlined}
    subjects = {case.subject_id for case in cases}
    if not cases:
        # the reasons why labels do not count are more helpful than general advice
        why = f" ({problems[0]})" if problems else ""
        raise TooFewLabels(f"no frame is confirmed yet; save labels with annotated or empty frames first{why}")
    if frames < MIN_FRAMES:
        raise TooFewLabels(f"{frames} confirmed frame(s); retraining needs {MIN_FRAMES}, so confirm more first")
    if len(subjects) < MIN_SUBJECTS:
        what = "case" if len(cases) == 1 else "subject"
        raise TooFewLabels(
            f"all confirmed frames are of one {what} ({cases[0].case_id}); confirm frames of another subject, "
            "so that one trains and one validates"
        )
    if len(outlined) < MIN_SUBJECTS:
        has = "no confirmed frame has an outline" if not outlined else "only one subject has an outlined frame"
        raise TooFewLabels(
            f"{has}; annotate frames of {MIN_SUBJECTS} subjects, so that training and validation have some each"
        )


def recorded_split(studies: Path, cases: Sequence[ConfirmedCase], *, write: bool = True) -> Split:
    """The train/validation split recorded in the folder; new cases are added, none changes its part.

    Raises:
        TooFewLabels: when a part has no confirmed frame with an outline.
        OptionError: when the recorded split cannot be read.
    """
    file = split_file(studies)
    entries = [case.entry for case in cases]
    if file.is_file():
        before = read_split(file)
        split = extend_split(before, entries, FRACTIONS)
    else:
        before, split = None, _first_split(cases)
    _check_parts(split, cases)
    if write and split != before:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_split(file, split)
    return split.restricted(case.case_id for case in cases)


def _first_split(cases: Sequence[ConfirmedCase]) -> Split:
    """Split by subject; a part without an outline gets the subject with the fewest frames of the other part."""
    split = subject_split([case.entry for case in cases], FRACTIONS)
    where = {case: part for part in ("train", "validation") for case in split.part(part)}
    for poor, rich in (("train", "validation"), ("validation", "train")):
        if any(case.outlined and where[case.case_id] == poor for case in cases):
            continue
        frames: dict[str, int] = {}
        for case in cases:
            if where[case.case_id] == rich:
                frames[case.subject_id] = frames.get(case.subject_id, 0) + case.frames
        outlined = {case.subject_id for case in cases if case.outlined}
        moving = min(sorted(outlined & set(frames)), key=lambda subject: frames[subject])
        where.update({case.case_id: poor for case in cases if case.subject_id == moving})
    order = [case.case_id for case in cases]
    train, validation = (tuple(case for case in order if where[case] == part) for part in ("train", "validation"))
    return replace(split, name="retraining", train=train, validation=validation, test=())


def _check_parts(split: Split, cases: Sequence[ConfirmedCase]) -> None:
    for part, doing in (("train", "to train on"), ("validation", "to check on")):
        own = set(split.part(part))
        if not any(case.outlined for case in cases if case.case_id in own):
            raise TooFewLabels(
                f"no frame with an outline {doing}: none of the {len(own & {case.case_id for case in cases})} "
                f"labelled {part} cases of the recorded split has one; annotate a frame of one of them, or "
                "label more cases"
            )
