"""Reader of the labels of nnU-Net's raw data sets: pictures, or stacks of whole cases."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from fetaliqa.errors import LabelError, NotFoundError
from fetaliqa.export.frame_names import FrameNames
from fetaliqa.export.incoming.class_values import values_in
from fetaliqa.export.incoming.label_source import (
    ClassLabel,
    Drawn,
    Outline,
    Placed,
    add_frame,
    check_size,
    read_json,
)
from fetaliqa.export.incoming.picture_labels import SUFFIXES, read_picture
from fetaliqa.export.incoming.stack_labels import STACKS, read_stack
from fetaliqa.sweep import Sweep


class NnUnetLabels:
    """``labelsTr`` and ``labelsTs`` of a raw data set: pictures, or stacks of whole cases."""

    shared = True

    def __init__(self, path: Path, names: FrameNames) -> None:
        sets = sorted(path.glob("Dataset*/dataset.json"))
        sets = sets or [file for file in (path / "dataset.json",) if file.is_file()]
        if not sets:
            raise NotFoundError(f"{path}: no dataset.json of nnU-Net in it; name the data set's folder")
        if len(sets) > 1:
            raise LabelError(f"{path.name}: holds {len(sets)} data sets; name the folder of one")
        described = sets[0]
        self.where = described.name
        content = read_json(described)
        self._values = _nnunet_labels(content.get("labels"), described.name)
        self.placed: Placed[Path] = Placed(names)
        for file in sorted(described.parent.glob("labelsT[rs]/*")):
            if file.name.lower().endswith((*SUFFIXES, *STACKS)) and not file.name.startswith("."):
                self.placed.add(file.name, file, whole=file.name.lower().endswith(STACKS))
            elif not file.name.startswith("."):
                self.placed.unplaced.append(file.name)

    def classes(self, case_id: str) -> list[ClassLabel]:
        return list(self._values)

    def drawn(self, case_id: str, sweep: Sweep) -> dict[int | None, Drawn]:
        frames: dict[int | None, Drawn] = {}
        for frame, place, file in self.placed.of(case_id):
            pictures: dict[int | None, np.ndarray]
            if file.name.lower().endswith(STACKS):
                pictures = dict(read_stack(file, sweep, None if frame is None else [frame]).items())
            else:
                pictures = {frame: read_picture(file)}
                check_size(file.name, pictures[frame].shape[:2], sweep)
            for number, picture in pictures.items():
                add_frame(frames, number, Drawn(self._outlines(picture, file), place.proposed), file.name)
        return frames

    def _outlines(self, picture: np.ndarray, file: Path) -> list[Outline]:
        if picture.ndim != 2:
            raise LabelError(f"{file.name}: is a colour image; nnU-Net's label images hold one value per pixel")
        values = values_in(picture)
        unknown = values.difference(*self._values.values())
        if unknown:
            raise LabelError(f"{file.name}: holds the value {min(unknown)}, which dataset.json does not name")
        return [
            Outline(label, lambda region=region: np.isin(picture, region))  # type: ignore[misc]
            for label, region in self._values.items()
            if values & set(region)
        ]


def _nnunet_labels(labels: object, where: str) -> dict[ClassLabel, tuple[int, ...]]:
    """Values of each label; a region (several labels in nnU-Net) has several values."""
    if not isinstance(labels, dict):
        raise LabelError(f"{where}: its labels must be a JSON object that maps names to values")
    if all(isinstance(value, str) for value in labels.values()):  # as nnU-Net v1 wrote them: names by value
        labels = {name: int(value) if value.isdecimal() else value for value, name in labels.items()}
    regions = {}
    for name, value in labels.items():
        values = value if isinstance(value, list) else [value]
        for one in values:
            if isinstance(one, bool) or not isinstance(one, int | float) or one % 1 != 0:
                raise LabelError(
                    f"{where}: label {name!r} is {value!r}; whole numbers, or lists of them, are read"
                )
        region = tuple(sorted({int(one) for one in values} - {0}))
        if region:
            regions[ClassLabel(name, region[0] if len(region) == 1 else str(list(region)))] = region
    return regions
