"""Readers of mask stacks of whole cases: ACOUSLIC-AI, nnU-Net and others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from fetaliqa.datasets.acouslic_layout import MASKS
from fetaliqa.errors import LabelError
from fetaliqa.export.frame_names import SUFFIX, FrameNames
from fetaliqa.export.incoming.class_values import Progress, outlines_of, unnamed_classes
from fetaliqa.export.incoming.label_source import ClassLabel, Drawn, Placed, add_frame
from fetaliqa.export.incoming.own_labels import export_classes, export_rows
from fetaliqa.labels import FrameRecord, parse_record
from fetaliqa.labels.frame_record import read_record_file
from fetaliqa.labels.studies_folder import RECORD_SUFFIX
from fetaliqa.sweep import Sweep, read_masks
from fetaliqa.sweep.pixel_conversion import to_labels
from fetaliqa.sweep.sweep_reader import open_image

STACKS = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd")
FOLDERS = ("labels", "masks", MASKS.as_posix())
PLANES = [ClassLabel("optimal", 1), ClassLabel("suboptimal", 2)]  # of ACOUSLIC-AI


def read_stack(file: Path, sweep: Sweep, frames: list[int] | None) -> dict[int, np.ndarray]:
    """Label values of frames, uint8 [H, W], by number.

    Args:
        file: of the same frames, in their order.
        sweep: that they belong to.
        frames: numbers; None: all.

    Raises:
        LabelError, SweepError: when the file does not fit.
    """
    if frames is None:
        return dict(enumerate(read_masks(file, sweep, by_size=True)))
    if not all(0 <= frame < sweep.frame_count for frame in frames):
        raise LabelError(
            f"{file.name}: is of frame {max(frames)}; frames of {sweep.case_id} are 0 to {sweep.frame_count - 1}"
        )
    return dict(zip(frames, read_masks(file, replace(sweep, frames=sweep.frames[frames]), by_size=True)))


class AcouslicLabels:
    """Mask stacks as ACOUSLIC-AI has them: 1 on an optimal plane, 2 on a suboptimal one."""

    shared = True

    def __init__(self, path: Path, names: FrameNames) -> None:
        self.where = path.name
        folder = path / MASKS if (path / MASKS).is_dir() else path
        self.placed: Placed[Path] = Placed(names)
        for file in [path] if path.is_file() else sorted(folder.glob("*.mha")):
            self.placed.add(file.name, file, whole=True)

    def classes(self, case_id: str) -> list[ClassLabel]:
        return PLANES

    def drawn(self, case_id: str, sweep: Sweep) -> dict[int | None, Drawn]:
        frames: dict[int | None, Drawn] = {}
        for frame, place, file in self.placed.of(case_id):
            for number, mask in read_stack(file, sweep, None if frame is None else [frame]).items():
                drawn = Drawn(outlines_of(mask, PLANES, file.name), place.proposed)
                add_frame(frames, number, drawn, file.name)
        return frames


class StackLabels:
    """A mask stack of each case, in the folder itself or its ``labels`` or ``masks``.

    For an export of this software, the manifest gives the frames of its stacks. With a frame record beside a stack
    (``CASE.frames.json``) only the frames in the record are imported.

    Args:
        path: a stack or a folder.
        names: interprets file names.
        progress: called with stacks read and stacks in all, while values are collected.
    """

    shared = True

    def __init__(self, path: Path, names: FrameNames, progress: Progress | None = None) -> None:
        self.where = path.name
        self.placed: Placed[Path] = Placed(names)
        folder = next((path / name for name in FOLDERS if (path / name).is_dir()), path)
        for file in [path] if path.is_file() else sorted(folder.iterdir()):
            if file.name.lower().endswith(STACKS) and not file.name.startswith("."):
                self.placed.add(file.name, file, whole=True)
        self._rows = export_rows(path)
        self._classes = export_classes(path) or unnamed_classes(self.placed, _values, progress)

    def classes(self, case_id: str) -> list[ClassLabel]:
        return self._classes

    def drawn(self, case_id: str, sweep: Sweep) -> dict[int | None, Drawn]:
        frames: dict[int | None, Drawn] = {}
        for frame, place, file in self.placed.of(case_id):
            rows = sorted(self._rows.get(file.resolve(), []), key=lambda row: row.slice or 0)
            own = [row.frame for row in rows] if rows else None if frame is None else [frame]
            record = _record_of(file)
            for position, (number, mask) in enumerate(read_stack(file, sweep, own).items()):
                label = None if record is None else record.frames.get(position)
                if record is not None and label is None:
                    continue
                proposed = place.proposed or (label is not None and not label.known)
                drawn = Drawn(outlines_of(mask, self._classes, file.name), proposed)
                add_frame(frames, number, drawn, file.name)
        return frames


def _values(file: Path) -> np.ndarray:
    return to_labels(open_image(file).pixels, file.name)


def _record_of(file: Path) -> FrameRecord | None:
    beside = file.with_name(SUFFIX.sub("", file.name) + RECORD_SUFFIX)
    return parse_record(read_record_file(beside), beside.name) if beside.is_file() else None
