"""Import of labels made with other tools: readers for each file format, matched to frames.

Pictures are matched to frames by name (``fetaliqa.export.frame_names``), DICOM by the images that it refers to.
The class of the anatomy is found by its name, other classes are skipped. Only outlined frames are imported, unless
the caller states that frames without an outline were reviewed too.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from fetaliqa.errors import LabelError, NotFoundError
from fetaliqa.export.frame_names import FrameNames
from fetaliqa.export.incoming.class_choice import ClassChoice, IncomingFrame, LeftOut
from fetaliqa.export.incoming.label_source import ClassLabel, Source
from fetaliqa.export.incoming.own_labels import export_aliases
from fetaliqa.measure.anatomy import ABDOMEN, Anatomy
from fetaliqa.sweep import Sweep

__all__ = ["Incoming", "IncomingFrame", "LeftOut", "Request", "open_incoming"]


@dataclass(frozen=True)
class Request:
    """Settings of an import.

    Attributes:
        anatomy: that is imported.
        labels: names or values of its classes; none: by name.
        case, pattern, first_frame: how pictures are named, see ``FrameNames``.
        crowd: whether COCO annotations with ``iscrowd`` count as outlines.
        progress: called with files read and files in all, where all are read first.
    """

    anatomy: Anatomy = ABDOMEN
    labels: Sequence[str] = ()
    case: str | None = None
    pattern: str | None = None
    first_frame: int = 0
    crowd: bool = False
    progress: Callable[[int, int], None] | None = None


@dataclass
class CaseLabels:
    """Frames of a case by number, those without an outline included, and what was left out."""

    frames: dict[int, IncomingFrame] = field(default_factory=dict)
    left_out: LeftOut = field(default_factory=LeftOut)


class Incoming:
    """Labels of several cases.

    Args:
        source: the reader.
        choice: chooses the classes of the anatomy.

    Raises:
        LabelError: when the choice is ambiguous among classes shared by all cases.
    """

    def __init__(self, source: Source, choice: ClassChoice) -> None:
        self._source, self._choice = source, choice
        self._shared: frozenset[ClassLabel] | None = None
        if source.shared:
            self._shared = choice.chosen(source.classes(""), source.where)

    def cases(self) -> list[str]:
        """Cases that have labels, by name."""
        return sorted(self._source.placed.at)

    @property
    def unplaced(self) -> list[str]:
        """Names of pictures and files without a matching case."""
        return self._source.placed.unplaced

    def read(self, case_id: str, sweep: Sweep) -> CaseLabels:
        """Labels of a case.

        Raises:
            LabelError, SweepError: when a file does not fit the sweep, or its frame or class is ambiguous.
        """
        problem = self._source.placed.wrong.get(case_id)
        if problem is not None:
            raise LabelError(problem)
        chosen = self._shared
        if chosen is None:
            chosen = self._choice.chosen(self._source.classes(case_id), self._source.where)
        labels, empty = CaseLabels(), np.zeros(sweep.shape[1:], np.uint8)
        seen: set[int] = set()
        drawn_on = self._source.drawn(case_id, sweep)
        for number in sorted(drawn_on, key=lambda one: -1 if one is None else one):
            frame, drawn = self._frame(number, case_id, sweep), drawn_on[number]
            if frame in seen:
                raise LabelError(f"{case_id}: two pictures are its frame {frame}; import them one after the other")
            seen.add(frame)
            label = self._choice.combined(frame, drawn, chosen, empty, labels.left_out)
            if label is not None:
                labels.frames[frame] = label
        return labels

    def _frame(self, number: int | None, case_id: str, sweep: Sweep) -> int:
        if number is None and sweep.frame_count != 1:
            raise LabelError(
                f"{case_id}: has {sweep.frame_count} frames, and a file name has no frame number; use --pattern"
            )
        if number is not None and not 0 <= number < sweep.frame_count:
            raise LabelError(f"{case_id}: frame {number}; its frames are 0 to {sweep.frame_count - 1}")
        return number or 0


def open_incoming(
    path: Path, kind: str, images: Mapping[str, Path] | None = None, request: Request | None = None
) -> Incoming:
    """Open labels made with another tool.

    Args:
        path: folder or file, as ``kind`` has it.
        kind: one of ``fetaliqa.export.incoming_names.FORMATS``.
        images: image of each case of the studies.
        request: settings.

    Raises:
        NotFoundError: when there is nothing of this kind, or no such case.
        LabelError: when it cannot be read, or the class of the anatomy is ambiguous.
        OptionError: when the pattern cannot be used.
    """
    path, images, request = Path(path), images or {}, request or Request()
    if not path.exists():
        raise NotFoundError(f"{path}: no such file or folder; check the path")
    if path.is_file() and zipfile.is_zipfile(path):
        raise LabelError(f"{path.name}: is packed; unpack it, and name the folder")
    if request.case is not None and request.case not in images:
        raise NotFoundError(f"{request.case}: no such case in the studies; its images must be there first")
    names = FrameNames(
        images,
        case=request.case,
        pattern=request.pattern,
        first_frame=request.first_frame,
        aliases=export_aliases(path),
    )
    incoming = Incoming(_opened(path, kind, names, images, request), ClassChoice(request.anatomy, request.labels))
    if not incoming.cases():
        left = ", ".join(incoming.unplaced[:5]) + (", ..." if len(incoming.unplaced) > 5 else "")
        why = f" ({left})" if left else ""
        raise NotFoundError(
            f"{path}: no {kind} label in it whose name gives case and frame{why}; check the folder, or give "
            "--case or --pattern"
        )
    return incoming


def _opened(path: Path, kind: str, names: FrameNames, images: Mapping[str, Path], request: Request) -> Source:
    """The reader of a kind, imported on demand."""
    if kind == "coco":
        from fetaliqa.export.incoming.coco_labels import CocoLabels

        return CocoLabels(path, names, crowd=request.crowd)
    if kind == "cvat":
        from fetaliqa.export.incoming.cvat_labels import cvat_labels

        return cvat_labels(path, names)
    if kind == "dicom":
        from fetaliqa.export.incoming.dicom_seg_labels import DicomSegLabels

        return DicomSegLabels(path, names, images, case_given=request.case is not None)
    if kind == "masks":
        from fetaliqa.export.incoming.picture_labels import PlainMasks

        return PlainMasks(path, names, request.progress)
    if kind == "stacks":
        from fetaliqa.export.incoming.stack_labels import StackLabels

        return StackLabels(path, names, request.progress)
    if kind == "acouslic":
        from fetaliqa.export.incoming.stack_labels import AcouslicLabels

        return AcouslicLabels(path, names)
    if kind == "labelstudio":
        from fetaliqa.export.incoming.labelstudio_labels import LabelStudioLabels

        return LabelStudioLabels(path, names)
    if kind == "nnunet":
        from fetaliqa.export.incoming.nnunet_labels import NnUnetLabels

        return NnUnetLabels(path, names)
    if kind == "slicer":
        from fetaliqa.export.incoming.slicer_labels import SlicerLabels

        return SlicerLabels(path, names)
    from fetaliqa.export.incoming.yolo_labels import YoloLabels

    return YoloLabels(path, names)
