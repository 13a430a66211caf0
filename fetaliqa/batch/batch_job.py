"""What is to be scored, and how: small, and the same in every process that takes part."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fetaliqa.case_names import MAX_FILE_NAME_BYTES, fitting
from fetaliqa.errors import OptionError
from fetaliqa.inference.assessment_options import AssessOptions
from fetaliqa.model.bundle_names import AUTO
from fetaliqa.sweep import case_id_of

SCORED: Literal["scored"] = "scored"
KEPT: Literal["kept"] = "kept"
FAILED: Literal["failed"] = "failed"
LOST: Literal["lost"] = "lost"


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        path: absolute, of a sweep file or a folder of frames.
        name: of the case, and of its folder in the results.
    """

    path: Path
    name: str

    @classmethod
    def of(cls, path: Path) -> Case:
        """The case of a path that may be relative."""
        return cls(path.absolute(), fitting(case_id_of(path), MAX_FILE_NAME_BYTES))


@dataclass(frozen=True)
class Outcome:
    """What became of a case.

    Attributes:
        case: which.
        status: ``scored``; ``kept``, when it was done before; ``failed``, when its input cannot be assessed;
            ``lost``, when the process that had it ended.
        reason: one sentence, of a failed or lost case.
        record: its assessment, where no folder was written that holds it.
    """

    case: Case
    status: Literal["scored", "kept", "failed", "lost"]
    reason: str = ""
    record: dict[str, Any] | None = None


@dataclass(frozen=True)
class ScoreJob:
    """Everything that a process needs to know to score cases.

    Attributes:
        model: folder of the bundle; a name would mean another one once a version is published.
        classifier: folder of the classifier's bundle, or None.
        weights: foundation-model weights; None uses the user's.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        options: of the assessments.
        made_with: what assessments depend on besides the sweep (``AssessmentService.made_with``). A process that
            would make them with something else refuses to.
        measurement: ``AC`` or ``HC``, names a column of the summary.
        student: of searches: ``auto``, ``none``, or an absolute folder, see ``AssessmentService``.
        out: absolute, folder of the results; None writes none.
        out_id: what ``out`` is known by, where machines must agree that they see the same folder.
        mask_format: suffix of the mask files.
        cache_dir: folder of cached assessments, None for no caching.
        resume: whether what an earlier run has done, and would come out the same, is left as it is.
        run: name of this run, by which a case is known to be done in it when its shard is tried again.
    """

    model: Path
    classifier: Path | None
    weights: str | None
    device: str
    options: AssessOptions
    made_with: dict[str, Any]
    measurement: str
    student: str = AUTO
    out: Path | None = None
    out_id: str | None = None
    mask_format: str = ".mha"
    cache_dir: Path | None = None
    resume: bool = False
    run: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True)
class Part:
    """One of several equal parts of a list of cases, for machines that know nothing of each other.

    Attributes:
        number: from 1.
        of: how many parts there are.
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> Part:
        """``3/100`` is the third of a hundred.

        Raises:
            OptionError: for anything else.
        """
        number, slash, of = text.partition("/")
        if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise OptionError(f"shard is {text!r}; it must be like 3/100: the third of a hundred parts")
        return cls(int(number), int(of))

    def choose(self, cases: list[Case]) -> list[Case]:
        """Every ``of``-th case: neighbours, which are often alike in size, go to different machines."""
        return cases[self.number - 1 :: self.of]

    @property
    def suffix(self) -> str:
        """For the names of this part's tables."""
        return f"-{self.number}-of-{self.of}"
