"""COCO annotations."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fetaliqa.errors import LabelError
from fetaliqa.export.incoming.base import NAME, IncomingFrame, named_frame, read_json
from fetaliqa.sweep import Sweep


class CocoLabels:
    """COCO annotations: RLE or polygons, one file, or all ``annotations/*.json`` without the polygon doubles."""

    def __init__(self, path: Path) -> None:
        files = [path]
        if path.is_dir():
            every = sorted((path / "annotations").glob("*.json"))
            files = [file for file in every if not file.stem.endswith("_polygons")] or every
        self._frames: dict[str, dict[int, tuple[dict[str, Any], bool]]] = {}
        self._annotations: dict[str, list[tuple[dict[str, Any], str]]] = {}
        for file in files:
            self._add(file)

    def cases(self) -> list[str]:
        return sorted(self._frames)

    def read(self, case_id: str, sweep: Sweep) -> dict[int, IncomingFrame]:
        found = {}
        for frame, (image, proposed) in sorted(self._frames[case_id].items()):
            if (image["height"], image["width"]) != sweep.shape[1:]:
                raise LabelError(f"{image['file_name']}: its size is not that of the frames of {case_id}")
            inside, names = np.zeros(sweep.shape[1:], bool), []
            for annotation, name in self._annotations.get(image["file_name"], []):
                inside |= _decoded(annotation, sweep.shape[1], sweep.shape[2]) > 0
                names.append(name)
            found[frame] = named_frame(inside, names, proposed)
        return found

    def _add(self, file: Path) -> None:
        content = read_json(file)
        try:
            names = {category["id"]: str(category["name"]) for category in content["categories"]}
            images = {image["id"]: image for image in content["images"]}
            for image in images.values():
                named = NAME.fullmatch(Path(image["file_name"]).stem)
                image["height"], image["width"]  # a KeyError names what is missing
                if named:
                    told = self._frames.setdefault(named["case"], {})
                    if int(named["frame"]) in told:
                        raise LabelError(
                            f"{file.name}: two pictures are frame {int(named['frame'])} of {named['case']}, the "
                            f"second is {image['file_name']}; import them one after the other"
                        )
                    told[int(named["frame"])] = (image, named["proposed"] is not None)
            for annotation in content["annotations"]:
                image = images[annotation["image_id"]]
                told_of = self._annotations.setdefault(image["file_name"], [])
                told_of.append((annotation, names[annotation["category_id"]]))
        except (KeyError, TypeError, AttributeError) as problem:
            raise LabelError(f"{file.name}: no COCO annotations ({problem}); export them again") from None


def _decoded(annotation: Mapping[str, Any], height: int, width: int) -> np.ndarray:
    from pycocotools import mask as coco_mask

    try:
        told = annotation["segmentation"]
        if told == []:
            return np.zeros((height, width), np.uint8)
        if isinstance(told, dict) and isinstance(told["counts"], list):
            told = coco_mask.frPyObjects(told, height, width)
        elif isinstance(told, list):
            told = coco_mask.merge(coco_mask.frPyObjects(told, height, width))
        decoded = coco_mask.decode(told)
    except Exception as problem:  # noqa: BLE001 - pycocotools raises bare ones
        raise LabelError(f"annotation {annotation.get('id')}: its outline cannot be read ({problem})") from None
    if decoded.shape != (height, width):
        raise LabelError(f"annotation {annotation.get('id')}: its size is not that of its picture")
    return decoded
