"""A scoring job and its cases: small values that every process gets."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from fetaliqa.case_names import MAX_FILE_NAME_BYTES, fitting
from fetaliqa.errors import OptionError
from fetaliqa.measure.fetal_growth import GestationalAge
from fetaliqa.registry.assessment_setup import AssessmentSetup
from fetaliqa.sweep import case_id_of

if TYPE_CHECKING:
    from fetaliqa.inference.case_result import AssessmentResult

SCORED: Literal["scored"] = "scored"
SKIPPED: Literal["skipped"] = "skipped"
FAILED: Literal["failed"] = "failed"
LOST: Literal["lost"] = "lost"


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        path: absolute, of a sweep file or a folder of frames.
        name: of the case, and of its folder in the results.
        age: of the fetus, given by the user; None for the one that a DICOM header gives.
    """

    path: Path
    name: str
    age: GestationalAge | None = None

    @classmethod
    def of(cls, path: Path) -> Case:
        """The case of a path, which may be relative."""
        return cls(path.absolute(), fitting(case_id_of(path), MAX_FILE_NAME_BYTES))


@dataclass(frozen=True)
class Outcome:
    """The outcome of a case.

    Attributes:
        case: the case.
        status: ``scored``; ``skipped`` when it was completed before; ``failed`` when its input cannot be assessed;
            ``lost`` when its process ended.
        reason: of a failed or lost case, one sentence.
        record: its assessment, when no folder was written that holds it.
        note: on a scored case, what its folder lacks that was asked for, one sentence.
    """

    case: Case
    status: Literal["scored", "skipped", "failed", "lost"]
    reason: str = ""
    record: dict[str, Any] | None = None
    note: str | None = None


class CaseWriter(Protocol):
    """Writes more files into a case's folder; it is sent to other processes."""

    @property
    def name(self) -> str:
        """Of what it writes, on the command line."""

    @property
    def files(self) -> tuple[str, ...]:
        """Names of the files that it may write."""

    def check_input(self, path: Path) -> None:
        """Raise a FetalIQAError when nothing can be written for a case, before it is assessed."""

    def write(self, folder: Path, path: Path, result: AssessmentResult) -> str | None:
        """Write the files of a case; returns a sentence when there is nothing to write."""


@dataclass(frozen=True)
class ScoreJob:
    """Everything that a process needs to score cases.

    Attributes:
        setup: what cases are assessed with; its device and precision are chosen, not ``auto``.
        made_with: what assessments depend on besides the sweep (``AssessmentService.made_with``); a process where
            it differs refuses to score.
        measurement: ``AC`` or ``HC``, names a column of the summary.
        out: absolute folder of the results; None writes none.
        out_id: identifies ``out``, so that machines can check that they see the same folder.
        mask_format: suffix of the mask files.
        also: writes more files into each case's folder; None writes none.
        resume: skip cases that an earlier run completed with the same input, model and options.
        run: identifies this run: a shard that is tried again skips the cases that it has completed.
    """

    setup: AssessmentSetup
    made_with: dict[str, Any]
    measurement: str
    out: Path | None = None
    out_id: str | None = None
    mask_format: str = ".mha"
    also: CaseWriter | None = None
    resume: bool = False
    run: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True)
class Part:
    """One of several equal parts of a list of cases, for independent machines.

    Attributes:
        number: from 1.
        of: how many parts there are.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """Read ``3/100``, the third of a hundred parts.

        Raises:
            OptionError: for anything else.
        """
        number, slash, of = text.partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise OptionError(f"shard is {text!r}; it must be like 3/100: the third of a hundred parts")
        return cls(int(number), int(of))

    def choose(self, cases: list[Case]) -> list[Case]:
        """Every ``of``-th case: neighbours, which often have the same size, go to different machines."""
        return cases[self.number - 1 :: self.of]

    @property
    def suffix(self) -> str:
        """For the names of this part's tables."""
        return f"-{self.number}-of-{self.of}"
