"""Reader of YOLO segmentation: a polygon file per picture, and data.yaml with the class names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml

from fetaliqa.errors import LabelError, NotFoundError
from fetaliqa.export.frame_names import FrameNames
from fetaliqa.export.incoming.label_source import ClassLabel, Drawn, Outline, Placed, text_of
from fetaliqa.export.incoming.shape_masks import polygons_mask
from fetaliqa.sweep import Sweep

DESCRIPTIONS = ("data.yaml", "data.yml", "dataset.yaml", "dataset.yml", "classes.txt")  # the last: Label Studio
BOX_NUMBERS = 4


class YoloLabels:
    """``labels/**/*.txt`` and ``data.yaml``. Corners are parts of the picture's width and height."""

    shared = True

    def __init__(self, path: Path, names: FrameNames) -> None:
        described = next((path / name for name in DESCRIPTIONS if (path / name).is_file()), None)
        if described is None:
            raise NotFoundError(f"{path}: no data.yaml or classes.txt of YOLO in it; name the data set's folder")
        self.where = described.name
        self._names = _class_names(described)
        self.placed: Placed[Path] = Placed(names)
        for file in sorted(path.rglob("*.txt")):
            parts = file.relative_to(path)
            if "labels" in parts.parts[:-1]:
                self.placed.add(parts.as_posix(), file)

    def classes(self, case_id: str) -> list[ClassLabel]:
        return [ClassLabel(name, number) for number, name in self._names.items()]

    def drawn(self, case_id: str, sweep: Sweep) -> dict[int | None, Drawn]:
        frames: dict[int | None, Drawn] = {}
        for frame, place, file in self.placed.of(case_id):
            outlines = []
            for number, line in enumerate(text_of(file).splitlines(), start=1):
                if line.strip():
                    outlines.append(self._outline(line.split(), sweep, f"{file.name}, line {number}"))
            frames[frame] = Drawn(outlines, place.proposed)
        return frames

    def _outline(self, words: list[str], sweep: Sweep, where: str) -> Outline:
        _, height, width = sweep.shape
        try:
            number, corners = int(words[0]), [float(word) for word in words[1:]]
        except ValueError:
            raise LabelError(f"{where}: a class number and corners are expected; export it again") from None
        if number not in self._names:
            raise LabelError(f"{where}: class {number}, which {self.where} does not name")
        label = ClassLabel(self._names[number], number)
        if len(corners) == BOX_NUMBERS:
            return Outline(label, lambda: None)
        scaled = (np.array(corners) * np.resize([width, height], len(corners))).tolist()
        return Outline(label, lambda: polygons_mask([scaled], height, width, where))


def _class_names(file: Path) -> dict[int, str]:
    """Names of the classes by number, from a list or a table of them, or a line for each."""
    if file.suffix == ".txt":
        return dict(enumerate(text_of(file).splitlines()))
    try:
        content = yaml.safe_load(text_of(file))
        names = content["names"]
        by_number = dict(enumerate(names)) if isinstance(names, list) else {int(key): names[key] for key in names}
    except (yaml.YAMLError, KeyError, TypeError, ValueError, RecursionError):
        raise LabelError(f"{file.name}: no names of classes in it; add `names: [abdomen, ...]`") from None
    return {number: str(name) for number, name in by_number.items()}
