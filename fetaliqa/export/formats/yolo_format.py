"""Writer of YOLO segmentation (docs.ultralytics.com/datasets/segment): a polygon file per picture."""

from __future__ import annotations

from typing import Any

import numpy as np

from fetaliqa.export.export_case import ExportCase
from fetaliqa.export.formats.format_writer import ExportContext, Writer, stem_of, write_bytes
from fetaliqa.export.manifest import Place
from fetaliqa.export.pixel_outlines import pixel_polygons
from fetaliqa.export.still_files import png_bytes

FOLDERS = {"train": "train", "validation": "val", "test": "test"}
DIGITS = 7  # of a coordinate in [0, 1]: a thousandth of a pixel in a picture 10,000 pixels wide


class YoloWriter(Writer):
    """``images/PART``, ``labels/PART``, ``data.yaml``. Classes count from 0; an empty frame has an empty file."""

    name = "yolo"

    def __init__(self, context: ExportContext) -> None:
        super().__init__(context)
        self._parts: set[str] = set()
        self._with_holes = 0

    def write_case(self, case: ExportCase) -> dict[int, Place]:
        folder = FOLDERS[self.context.part_of[case.case_id]]
        self._parts.add(folder)

        def one(frame: int) -> tuple[Place, bool]:
            stem = stem_of(case, frame)
            image, label = f"images/{folder}/{stem}.png", f"labels/{folder}/{stem}.txt"
            text, complete = _polygon_lines(self.context.mask(case, frame))
            write_bytes(self.context.root / image, png_bytes(case.frames[frame]))
            write_bytes(self.context.root / label, text.encode("ascii"))
            return Place(image, label), complete

        written = self.context.each(one, case.entries)
        self._with_holes += sum(not complete for _, complete in written)
        return {frame: place for frame, (place, _) in zip(case.entries, written)}

    def finish(self, about: dict[str, Any]) -> None:
        if self._with_holes:
            self.context.notes.append(f"{self._with_holes} masks have holes, which YOLO's polygons cannot show")
        missing = [folder for folder in ("train", "val") if folder not in self._parts]
        if missing:
            self.context.notes.append(f"no case is in {' or '.join(missing)}; YOLO needs both to train")
        lines = ["path: .  # where this file is; Ultralytics takes a relative one from its own data folder"]
        lines += [f"{folder}: images/{folder}" for folder in FOLDERS.values() if folder in self._parts]
        lines += ["names:", *(f"  {value - 1}: {name}" for name, value in self.context.labels().items())]
        (self.context.root / "data.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _polygon_lines(mask: np.ndarray) -> tuple[str, bool]:
    """A line for each part of each label, and whether that is all of the mask."""
    lines, complete = [], True
    size = np.array([mask.shape[1], mask.shape[0]], float)
    for value in sorted(set(np.unique(mask).tolist()) - {0}):
        polygons, whole = pixel_polygons(mask == value)
        complete = complete and whole
        for polygon in polygons:
            numbers = " ".join(f"{number:.{DIGITS}g}" for number in (polygon / size).ravel())
            lines.append(f"{value - 1} {numbers}\n")
    return "".join(lines), complete
