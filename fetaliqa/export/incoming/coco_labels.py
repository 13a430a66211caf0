"""Reader of COCO annotations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fetaliqa.errors import LabelError
from fetaliqa.export.frame_names import FrameNames
from fetaliqa.export.incoming.label_source import ClassLabel, Drawn, Outline, Placed, check_size, read_json
from fetaliqa.export.incoming.shape_masks import polygons_mask, runs_mask
from fetaliqa.sweep import Sweep


class CocoLabels:
    """COCO annotations: RLE or polygons, in one file, or in a folder without the duplicates as polygons.

    In a folder, ``annotations/*.json`` are read (COCO, CVAT, this software), else its own ``*.json`` (Label
    Studio).

    Args:
        path: file or folder.
        names: interprets picture names.
        crowd: whether annotations with ``iscrowd`` count as outlines. In COCO it marks a region of several
            objects; CVAT sets it for every brush mask.
    """

    shared = True

    def __init__(self, path: Path, names: FrameNames, *, crowd: bool = False) -> None:
        self.where, self._crowd = path.name, crowd
        self.placed: Placed[tuple[dict[str, Any], list[tuple[dict[str, Any], ClassLabel]]]] = Placed(names)
        self._classes: dict[ClassLabel, None] = {}
        for file in _files(path):
            self._add(file)

    def classes(self, case_id: str) -> list[ClassLabel]:
        return list(self._classes)

    def drawn(self, case_id: str, sweep: Sweep) -> dict[int | None, Drawn]:
        frames: dict[int | None, Drawn] = {}
        for frame, place, (image, drawn) in self.placed.of(case_id):
            check_size(str(image["file_name"]), (_whole(image["height"]), _whole(image["width"])), sweep)
            outlines = [self._outline(annotation, label, sweep) for annotation, label in drawn]
            frames[frame] = Drawn(outlines, place.proposed)
        return frames

    def _outline(self, annotation: dict[str, Any], label: ClassLabel, sweep: Sweep) -> Outline:
        ignored = (_yes(annotation.get("iscrowd")) and not self._crowd) or _yes(annotation.get("ignore"))
        return Outline(label, lambda: _mask(annotation, sweep.shape[1], sweep.shape[2]), ignored)

    def _add(self, file: Path) -> None:
        content = read_json(file)
        try:
            labels = {}
            for category in content.get("categories") or []:
                key = str(category["id"])
                if key in labels:
                    raise LabelError(f"{file.name}: two categories have the id {key}; export it again")
                labels[key] = ClassLabel(str(category["name"]), key)
            images: dict[str, tuple[dict[str, Any], list[Any]]] = {}
            for image in content["images"]:
                image["height"], image["width"]  # a KeyError names what is missing
                if str(image["id"]) in images:
                    raise LabelError(f"{file.name}: two images have the id {image['id']}; export it again")
                images[str(image["id"])] = (image, [])
            for annotation in content["annotations"]:
                key = str(annotation["category_id"])
                label = labels.setdefault(key, ClassLabel(None, key))
                images[str(annotation["image_id"])][1].append((annotation, label))
            for image, drawn in images.values():
                self.placed.add(str(image["file_name"]), (image, drawn))
        except (KeyError, TypeError, AttributeError) as problem:
            raise LabelError(f"{file.name}: no COCO annotations ({problem}); export them again") from None
        self._classes.update(dict.fromkeys(labels.values()))


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    every = sorted(path.glob("annotations/*.json")) or sorted(path.glob("*.json"))
    return [file for file in every if not file.stem.endswith("_polygons")] or every


def _yes(value: Any) -> bool:
    """A flag that some tools write as text."""
    return str(value).lower() not in ("0", "0.0", "false", "none", "")


def _whole(value: Any) -> Any:
    """A size that some tools write as text."""
    return int(value) if isinstance(value, str) and value.isdecimal() else value


def _mask(annotation: dict[str, Any], height: int, width: int) -> np.ndarray | None:
    """The mask of an annotation; None when it has a box only."""
    where, segmentation = f"annotation {annotation.get('id')}", annotation.get("segmentation")
    if not segmentation:
        return None
    if isinstance(segmentation, dict):
        if segmentation.get("size") != [height, width]:
            raise LabelError(
                f"{where}: its size {segmentation.get('size')} is not that of its picture, {height} x {width}"
            )
        return runs_mask(segmentation.get("counts"), height, width, where)
    if not isinstance(segmentation, list):
        raise LabelError(f"{where}: its outline is neither polygons nor run lengths; export it again")
    return polygons_mask(
        segmentation if isinstance(segmentation[0], list) else [segmentation], height, width, where
    )
