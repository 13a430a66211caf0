"""How exported DICOM segmentations mark confirmed and proposed frames (algorithm type, segment name)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from fetaliqa.export.export_case import FrameEntry
from fetaliqa.export.frame_selection import PROPOSED

MANUAL, SEMIAUTOMATIC, AUTOMATIC = "MANUAL", "SEMIAUTOMATIC", "AUTOMATIC"  # PS3.3 C.8.20.2, (0062,0008)
TYPES = {
    "abdomen": ("113345001", "Abdomen"),
    "head": ("69536005", "Head"),
    "femur": ("71341001", "Femur"),
}  # SNOMED CT
CATEGORY = ("123037004", "SCT", "Anatomical Structure")
ARTIFICIAL = ("123110", "DCM", "Artificial Intelligence")  # PS3.16 CID 7162
UNCONFIRMED = "_proposed"  # at the end of a segment's name: viewers show the name, but rarely the algorithm type
NOT_STATED = "not stated"
TEXT_LENGTH = 64  # characters, of LO and of a part of PN


@dataclass(frozen=True)
class Algorithm:
    """How an outline was drawn.

    Attributes:
        kind: ``MANUAL``, ``SEMIAUTOMATIC`` (a person confirmed or changed what a model proposed) or
            ``AUTOMATIC`` (not confirmed).
        name, version: of the model; empty for ``MANUAL``, and the version where it is in the name.
    """

    kind: str = MANUAL
    name: str = ""
    version: str = ""

    @property
    def confirmed(self) -> bool:
        """Whether a person confirmed it."""
        return self.kind != AUTOMATIC


def algorithm_of(entry: FrameEntry) -> Algorithm:
    """How a frame of an export was drawn; an unconfirmed one names its model."""
    if entry.state != PROPOSED:
        return Algorithm()
    return Algorithm(AUTOMATIC, line_of(entry.model) or NOT_STATED, line_of(entry.model_version) or NOT_STATED)


def segment_name(name: str, algorithm: Algorithm) -> str:
    """Name of a segment, marked when unconfirmed."""
    return name if algorithm.confirmed else f"{name}{UNCONFIRMED}"


def description_of(entries: Iterable[FrameEntry]) -> str:
    """Description of a segmentation of exported frames, at most 64 characters."""
    states = {entry.state for entry in entries}
    if states == {PROPOSED}:
        return "proposed by a model, not confirmed"
    if PROPOSED in states:
        return "some frames proposed by a model, not confirmed"
    return states.pop() if len(states) == 1 else "frames that a person confirmed"


def line_of(text: str | None) -> str:
    """Text as DICOM's LO takes it: one value (a backslash would part it) of 64 characters."""
    return re.sub(r"[\\\x00-\x1f\x7f]", " ", text or "")[:TEXT_LENGTH].strip()
