"""Labels made elsewhere: which frames they outline, whatever files they are in.

Pictures are matched to frames by name, ``CASE_FRAME`` as exports call them; stacks by case. Only outlined frames
are taken, unless the caller says that frames without an outline were looked at too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fetaliqa.errors import NotFoundError
from fetaliqa.export.incoming.base import Incoming, IncomingFrame
from fetaliqa.export.incoming.coco import CocoLabels
from fetaliqa.export.incoming.pictures import CvatLabels, NnUnetLabels
from fetaliqa.export.incoming.volumes import SlicerLabels, StackLabels

__all__ = ["FORMATS", "Incoming", "IncomingFrame", "open_incoming"]

FORMATS = ("acouslic", "nnunet", "coco", "cvat", "slicer")


def open_incoming(path: Path, kind: str) -> Incoming:
    """Open labels made elsewhere.

    Args:
        path: folder or file, as ``kind`` has it.
        kind: one of ``FORMATS``.

    Raises:
        NotFoundError: when there is nothing of this kind.
        LabelError: when it cannot be read.
    """
    path = Path(path)
    if not path.exists():
        raise NotFoundError(f"{path}: no such file or folder; check the path")
    opened: dict[str, Any] = {
        "acouslic": StackLabels,
        "nnunet": NnUnetLabels,
        "coco": CocoLabels,
        "cvat": CvatLabels,
        "slicer": SlicerLabels,
    }
    found: Incoming = opened[kind](path)
    if not found.cases():
        raise NotFoundError(f"{path}: no {kind} label in it whose name tells case and frame; check the folder")
    return found
