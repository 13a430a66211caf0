"""Writer of COCO instance segmentation (cocodataset.org/#format-data): lossless RLE, and polygons.

A line (femur) has keypoints too: its two ends.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from fetaliqa.export.export_case import ExportCase
from fetaliqa.export.formats.format_writer import ExportContext, Writer, stem_of, write_bytes
from fetaliqa.export.manifest import Place
from fetaliqa.export.pixel_outlines import pixel_polygons
from fetaliqa.export.still_files import png_bytes
from fetaliqa.measure import fit_line

LINE_CATEGORY = {"keypoints": ["left_end", "right_end"], "skeleton": [[1, 2]]}
VISIBLE = 2  # COCO's flag of a keypoint


class CocoWriter(Writer):
    """``images``, and for each part ``annotations/instances_PART.json`` (RLE) and ``..._polygons.json``."""

    name = "coco"

    def __init__(self, context: ExportContext) -> None:
        super().__init__(context)
        self._images: dict[str, list[dict[str, Any]]] = {}
        self._found: dict[str, dict[str, list[dict[str, Any]]]] = {}
        self._image_id = self._annotation_id = self._with_holes = 0

    def write_case(self, case: ExportCase) -> dict[int, Place]:
        def one(frame: int) -> str:
            name = f"images/{stem_of(case, frame)}.png"
            write_bytes(self.context.root / name, png_bytes(case.frames[frame]))
            return name

        places = dict(zip(case.entries, map(Place, self.context.each(one, case.entries))))
        part = self.context.part_of[case.case_id]
        for frame, place in places.items():
            self._add(part, case, frame, place)
        return places

    def _add(self, part: str, case: ExportCase, frame: int, place: Place) -> None:
        entry, mask = case.entries[frame], self.context.mask(case, frame)
        self._image_id += 1
        row, column = case.spacing or (None, None)
        self._images.setdefault(part, []).append(
            {
                "id": self._image_id,
                "file_name": place.image,
                "width": mask.shape[1],
                "height": mask.shape[0],
                "case_id": case.case_id,
                "frame": frame,
                "state": entry.state,
                "row_spacing_mm": row,
                "column_spacing_mm": column,
            }
        )
        annotations = self._found.setdefault(part, {"rle": [], "polygons": []})
        for value in sorted(set(np.unique(mask).tolist()) - {0}):
            self._annotation_id += 1
            about = _about(mask == value)
            if case.anatomy.is_line:
                about |= _keypoints(mask == value)
            about |= {
                "id": self._annotation_id,
                "image_id": self._image_id,
                "category_id": value,
                "iscrowd": 0,
                "state": entry.state,
            }
            polygons, complete = pixel_polygons(mask == value)
            self._with_holes += not complete
            annotations["rle"].append(about | {"segmentation": _rle(mask == value)})
            annotations["polygons"].append(about | {"segmentation": [p.ravel().tolist() for p in polygons]})

    def finish(self, about: dict[str, Any]) -> None:
        folder = self.context.root / "annotations"
        folder.mkdir(exist_ok=True)
        if self._with_holes:
            self.context.notes.append(
                f"{self._with_holes} outlines have holes, which polygons cannot show; the RLE file has them"
            )
        base = {
            "info": {"description": about["name"], "version": about["software"]["fetaliqa"]},
            "licenses": [{"id": 1, "name": about["licence"], "url": ""}],
            "categories": [
                {"id": value, "name": name, "supercategory": self.context.anatomy.name}
                | (LINE_CATEGORY if self.context.anatomy.is_line else {})
                for name, value in self.context.labels().items()
            ],
        }
        for part, images in self._images.items():
            for key, suffix in (("rle", ""), ("polygons", "_polygons")):
                content = base | {"images": images, "annotations": self._found[part][key]}
                text = json.dumps(content, ensure_ascii=False) + "\n"
                (folder / f"instances_{part}{suffix}.json").write_text(text, encoding="utf-8")


def _about(inside: np.ndarray) -> dict[str, Any]:
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    left, top = int(columns[0]), int(rows[0])
    box = [left, top, int(columns[-1]) - left + 1, int(rows[-1]) - top + 1]
    return {"area": int(inside.sum()), "bbox": box}


def _keypoints(inside: np.ndarray) -> dict[str, Any]:
    """The ends of a line's band, in pixels (the centre of the first pixel is 0, 0); none when it is no line."""
    line = fit_line(inside, None).line
    if line is None:
        return {"keypoints": [0, 0, 0, 0, 0, 0], "num_keypoints": 0}
    points = [value for x, y in line.ends().round(2).tolist() for value in (x, y, VISIBLE)]
    return {"keypoints": points, "num_keypoints": 2}


def _rle(inside: np.ndarray) -> dict[str, Any]:
    """Uncompressed run lengths, column by column, the first run outside; COCO's tools read them as they are."""
    flat = inside.ravel(order="F")
    borders = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    runs = np.diff(np.concatenate(([0], borders, [flat.size]))).tolist()
    return {"size": list(inside.shape), "counts": [0, *runs] if flat[0] else runs}
