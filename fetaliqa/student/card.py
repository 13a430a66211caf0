"""The card of a student: whose frames it screens, how far its guesses are trusted, and what that rests on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fetaliqa.errors import BundleError
from fetaliqa.models.card import TrainingData, read_card_file
from fetaliqa.models.hashing import SHA256_PATTERN
from fetaliqa.models.naming import CARD_FILE
from fetaliqa.models.records import from_json, to_json
from fetaliqa.student.network import GRID, WIDTHS
from fetaliqa.student.search import ScreenLimits

STUDENT_SCHEMA = 1
MAX_WIDTH = 1024  # channels; far more than a small network has


@dataclass(frozen=True)
class Teacher:
    """The bundle whose answers a student learnt: name and version for people, the fingerprint for certain."""

    name: str
    version: str
    fingerprint: str

    def __post_init__(self) -> None:
        if not SHA256_PATTERN.fullmatch(self.fingerprint):
            raise ValueError(f"fingerprint is {self.fingerprint!r}; 64 hex digits are needed")


@dataclass(frozen=True)
class StudentCard:
    """Contents of a student's ``card.json``.

    Attributes:
        teacher: whose answers it learnt.
        training_data: what it was trained on; nobody annotated anything.
        held_out: what searches and screening do on the held-out cases that the limits were chosen on.
        limits: how far its guesses are trusted.
        sha256: of the file of weights.
        widths: channels of the network.
        grid: pixels along a side of its pictures.
    """

    teacher: Teacher
    training_data: TrainingData
    held_out: dict[str, Any]
    limits: ScreenLimits
    licence: str
    intended_use: str
    limitations: str
    created: str = ""
    sha256: str = ""
    widths: tuple[int, int, int, int, int] = WIDTHS
    grid: int = GRID
    schema: int = field(default=STUDENT_SCHEMA)

    def __post_init__(self) -> None:
        if self.grid != GRID:
            raise ValueError(f"grid is {self.grid}; {GRID} is all that this version has")
        for width in self.widths:
            if not 1 <= width <= MAX_WIDTH:
                raise ValueError(f"widths are {list(self.widths)}; each is from 1 to {MAX_WIDTH}")

    def to_json(self) -> dict[str, Any]:
        """The card as JSON values, the schema number first."""
        values = to_json(self)
        return {"schema": values.pop("schema"), **values}


def read_student_card(folder: Path) -> StudentCard:
    """Read and check the card of a student's folder.

    Raises:
        BundleError: when it is missing, damaged, of another schema, or incomplete; the field is named.
    """
    file = folder / CARD_FILE
    value = read_card_file(folder, "a student's card", "a student")
    schema = value.get("schema") if isinstance(value, dict) else None
    if schema != STUDENT_SCHEMA or isinstance(schema, bool) or "teacher" not in value:
        raise BundleError(
            f"{file}: not the card of a student of schema {STUDENT_SCHEMA}, which is what this version reads"
        )
    return from_json(StudentCard, value, str(file), BundleError)
