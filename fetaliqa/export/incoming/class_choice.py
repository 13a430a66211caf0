"""Choice of the classes that are the anatomy, and a record of what is skipped."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from fetaliqa.errors import LabelError
from fetaliqa.export.incoming.label_source import ClassLabel, Drawn
from fetaliqa.labels.frame_record import PLANES
from fetaliqa.measure.anatomy import Anatomy
from fetaliqa.measure.anatomy_names import grade_of, is_background, is_ignored, stem_of

CODES = {
    "abdomen": ("SCT:113345001", "SCT:818981001", "SRT:T-D4000", "99SDM:T-D4000"),
    "head": ("SCT:69536005", "SRT:T-D1100", "99SDM:T-D1100"),
    "femur": ("SCT:71341001", "SRT:T-12710", "99SDM:T-12710"),
}
"""Property types of DICOM segments (SNOMED CT, and the SRT codes of older files)."""


@dataclass(frozen=True, eq=False)
class IncomingFrame:
    """An imported label of one frame.

    Attributes:
        mask: uint8 [H, W], 0 outside; 1 or, on a suboptimal plane, 2 inside.
        plane: as in a frame record.
        proposed: whether it is unconfirmed.
    """

    mask: np.ndarray
    plane: str | None = None
    proposed: bool = False


@dataclass
class LeftOut:
    """What of a case is not imported, and which outlines were joined.

    Attributes:
        classes: outlines of other classes, by the name of the class.
        ignored: frames with an unknown region (nnU-Net's ``ignore``, COCO's ``iscrowd``).
        without_outline: frames on which the anatomy is marked, but not outlined (a box, a point, no pixel).
        joined: frames on which several outlines of the anatomy were merged; these are imported.
    """

    classes: dict[str, int] = field(default_factory=dict)
    ignored: list[int] = field(default_factory=list)
    without_outline: list[int] = field(default_factory=list)
    joined: list[int] = field(default_factory=list)


class ClassChoice:
    """Chooses the classes that are the anatomy.

    Args:
        anatomy: what is imported.
        wanted: names or values of its classes; none: found by its name.
    """

    def __init__(self, anatomy: Anatomy, wanted: Sequence[str] = ()) -> None:
        self.anatomy, self._wanted = anatomy, wanted

    def chosen(self, classes: Iterable[ClassLabel], where: str) -> frozenset[ClassLabel]:
        """The classes that are the anatomy; none when there is no class at all.

        Args:
            classes: that are there.
            where: file, for messages.

        Raises:
            LabelError: when the choice is ambiguous, naming the classes.
        """
        there = [one for one in dict.fromkeys(classes) if not _is_nothing(one)]
        if self._wanted:
            return frozenset(one for wanted in self._wanted for one in self._called(wanted, there, where))
        if not there:
            return frozenset()
        if there == [ClassLabel(None)]:  # a mask of inside and outside
            return frozenset(there)
        name = self.anatomy.name
        stems = {one: stem_of(one.name, name) for one in there if one.name is not None}
        matching = {one: stem for one, stem in stems.items() if stem is not None}
        if len(set(matching.values())) > 1:
            raise LabelError(
                f"{where}: {_listed(matching)} are both names of the {name}; choose with --label (it may be given "
                "several times)"
            )
        matching = matching or {one: name for one in there if one.code in CODES.get(name, ())}
        if not matching:
            raise LabelError(
                f"{where}: none of its classes is the {name} by name: {_listed(there)}; choose by --label NAME "
                "(or value)"
            )
        return frozenset(matching)

    def _called(self, wanted: str, there: list[ClassLabel], where: str) -> list[ClassLabel]:
        by_name = [one for one in there if one.name is not None and _folded(one.name) == _folded(wanted)]
        matching = by_name or [one for one in there if str(one.value) == wanted.strip()]
        if not matching:
            raise LabelError(f"{where}: no class {wanted!r}; there are {_listed(there) or 'none'}")
        return matching

    def combined(
        self, frame: int, drawn: Drawn, chosen: frozenset[ClassLabel], empty: np.ndarray, left: LeftOut
    ) -> IncomingFrame | None:
        """The anatomy's outline on a frame, all parts merged.

        Args:
            frame: number.
            drawn: its outlines in the file.
            chosen: classes that are the anatomy.
            empty: uint8 [H, W] zeros.
            left: collects what is skipped.

        Returns:
            None when the frame is skipped: with an unknown region or only a box it is neither outlined nor empty.
        """
        mine = [one for one in drawn.outlines if one.label in chosen and not one.ignored]
        unknown = [
            one
            for one in drawn.outlines
            if (one.ignored and one.label in chosen) or (one.label.name and is_ignored(one.label.name))
        ]
        others = Counter(
            str(one.label)
            for one in drawn.outlines
            if one not in mine and one not in unknown and not _is_nothing(one.label)
        )
        for name, count in others.items():
            left.classes[name] = left.classes.get(name, 0) + count
        if unknown:
            left.ignored.append(frame)
            return None
        mine = [one for one in mine if not one.proposed] or mine
        proposed = drawn.proposed or (bool(mine) and all(one.proposed for one in mine))
        shapes = [part for one in mine if (part := one.draw()) is not None and part.any()]
        if mine and not shapes:
            left.without_outline.append(frame)
            return None
        if not shapes:
            return IncomingFrame(empty, proposed=proposed)
        if len(shapes) > 1:
            left.joined.append(frame)
        plane = _plane_of(one.label.name or "" for one in mine)
        inside = np.logical_or.reduce(shapes)
        return IncomingFrame(inside.astype(np.uint8) * np.uint8(PLANES.get(plane or "", 1)), plane, proposed)


def _plane_of(names: Iterable[str]) -> str | None:
    """The grade given by names; the better one of two, None where one of them gives none."""
    grades = set(map(grade_of, names))
    return "optimal" if "optimal" in grades else "suboptimal" if grades == {"suboptimal"} else None


def _is_nothing(label: ClassLabel) -> bool:
    return label.name is not None and (is_background(label.name) or is_ignored(label.name))


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).strip().casefold()


def _listed(classes: Iterable[ClassLabel]) -> str:
    """Classes with their values, for messages."""
    listed = [
        str(one) if one.name is None or one.value is None else f"{one.name!r} ({one.value})" for one in classes
    ]
    return ", ".join(listed[:20]) + (", ..." if len(listed) > 20 else "")
