"""Reader of Label Studio's export "JSON": brush masks, polygons and ellipses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fetaliqa.errors import LabelError
from fetaliqa.export.frame_names import FrameNames
from fetaliqa.export.incoming.label_source import ClassLabel, Drawn, Outline, Placed, check_size, read_json
from fetaliqa.export.incoming.shape_masks import ellipse_mask, painted_mask, polygons_mask
from fetaliqa.sweep import Sweep

KINDS = ("brush", "polygon", "ellipse", "rectangle", "keypoint")
WHOLE_PICTURE = (  # results about the whole picture, or about a region drawn by another result
    *("", "choices", "datetime", "labels", "number", "pairwise"),
    *("ranker", "rating", "relation", "taxonomy", "textarea"),
)
PERCENT = 100.0  # unit of Label Studio's lengths: of the picture's width or height
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif")


class LabelStudioLabels:
    """Annotated tasks; predictions of models are skipped.

    Args:
        path: the JSON file, or a folder with one.
        names: interprets picture names.

    Raises:
        LabelError: when it is another export of Label Studio.
    """

    shared = True

    def __init__(self, path: Path, names: FrameNames) -> None:
        files = sorted(path.glob("*.json")) if path.is_dir() else [path]
        if len(files) != 1:
            raise LabelError(
                f"{path.name}: {len(files)} JSON files in it; name the one of Label Studio's export `JSON`"
            )
        self.where = files[0].name
        self.placed: Placed[list[dict[str, Any]]] = Placed(names)
        self._classes: dict[ClassLabel, None] = {}
        try:
            for task in read_json(files[0], list):
                self._add(task)
        except (KeyError, TypeError, AttributeError) as problem:
            raise LabelError(
                f"{self.where}: not Label Studio's export `JSON` ({problem}); COCO is read too (--from coco)"
            ) from None

    def classes(self, case_id: str) -> list[ClassLabel]:
        return list(self._classes)

    def drawn(self, case_id: str, sweep: Sweep) -> dict[int | None, Drawn]:
        frames: dict[int | None, Drawn] = {}
        for frame, place, results in self.placed.of(case_id):
            try:
                outlines = [one for result in results for one in self._outlines(result, results, sweep)]
            except (KeyError, TypeError, ValueError) as problem:
                raise LabelError(
                    f"{self.where}: a result for frame {frame} of {case_id} is damaged ({problem!r})"
                ) from None
            frames[frame] = Drawn(outlines, place.proposed)
        return frames

    def _add(self, task: dict[str, Any]) -> None:
        annotations = [one for one in task["annotations"] if not one.get("was_cancelled")]
        if not annotations:
            return  # not reviewed
        name, results, problem = _picture_of(task), annotations[0]["result"], None
        if len(annotations) > 1:
            problem = (
                f"{name}: has {len(annotations)} annotations; export and import those of one person at a time"
            )
        self.placed.add(name, results, problem=problem)
        for result in results:
            self._classes.update(dict.fromkeys(map(ClassLabel, _labels_of(result, results))))

    def _outlines(self, result: dict[str, Any], results: list[dict[str, Any]], sweep: Sweep) -> list[Outline]:
        kind = _kind_of(result)
        if kind is None:
            if str(result.get("type") or "") in WHOLE_PICTURE:
                return []
            raise LabelError(
                f"{self.where}, region {result.get('id')}: its type {str(result['type'])[:40]!r} cannot be read; "
                "draw brush masks, polygons or ellipses"
            )
        where = f"{self.where}, {kind} {result.get('id')}"
        check_size(where, (result["original_height"], result["original_width"]), sweep)
        if result.get("image_rotation"):
            raise LabelError(
                f"{where}: the image was rotated in Label Studio; reset the rotation there and export again"
            )
        return [
            Outline(ClassLabel(name), lambda: _mask(kind, result["value"], sweep, where))
            for name in _labels_of(result, results) or [f"{kind} without label"]
        ]


def _kind_of(result: dict[str, Any]) -> str | None:
    kind = str(result.get("type", "")).removesuffix("labels")
    return kind if kind in KINDS else None


def _labels_of(result: dict[str, Any], results: list[dict[str, Any]]) -> list[str]:
    """Names of a region's classes, which the region has itself, or another result of the same id."""
    kind = _kind_of(result)
    if kind is None:
        return []
    own = result["value"].get(f"{kind}labels")
    others = (one["value"].get("labels") for one in results if one.get("id") == result.get("id"))
    return [str(name) for name in own or next(filter(None, others), [])]


def _picture_of(task: dict[str, Any]) -> str:
    """The address of a task's picture."""
    data = task["data"]
    addresses = [data.get("image"), *data.values(), task.get("file_upload")]
    texts = [one for one in addresses if isinstance(one, str)]
    pictures = [one for one in texts if one.lower().split("?")[0].endswith(PICTURES) or "?d=" in one]
    return next(iter(pictures or texts), f"task {task.get('id')}")


def _mask(kind: str, value: dict[str, Any], sweep: Sweep, where: str) -> np.ndarray | None:
    """The mask of a region; None for one without an area."""
    try:
        return _enclosed(kind, value, sweep, where)
    except (KeyError, TypeError, ValueError) as problem:
        raise LabelError(f"{where}: cannot be read ({problem!r}); export it again") from None


def _enclosed(kind: str, value: dict[str, Any], sweep: Sweep, where: str) -> np.ndarray | None:
    _, height, width = sweep.shape
    scale = np.array([width, height]) / PERCENT
    if kind == "brush":
        return painted_mask(value["rle"], height, width, where)
    if kind == "polygon":
        return polygons_mask([(np.array(value["points"], float) * scale).ravel().tolist()], height, width, where)
    if kind == "ellipse":
        x, y = np.array([value["x"], value["y"]], float) * scale
        radii = np.array([value["radiusX"], value["radiusY"]], float) * scale
        degrees = float(value.get("rotation", 0))
        return ellipse_mask(
            (float(x), float(y)), (float(radii[0]), float(radii[1])), degrees, height, width, where
        )
    return None
