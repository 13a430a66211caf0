"""Readers of CVAT: "Segmentation mask 1.1" and "CVAT for images 1.1". Its COCO export is read as COCO."""

from __future__ import annotations

from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, fromstring

import numpy as np

from fetaliqa.errors import LabelError, NotFoundError
from fetaliqa.export.frame_names import FrameNames
from fetaliqa.export.incoming.label_source import ClassLabel, Drawn, Outline, Placed, check_size, text_of
from fetaliqa.export.incoming.picture_labels import SUFFIXES, opened_picture
from fetaliqa.export.incoming.shape_masks import ellipse_mask, polygons_mask, runs_mask
from fetaliqa.sweep import Sweep

AUTOMATIC = "auto"  # source of an unchanged shape of a model; an edited one is "semi-auto"
SIZE = ("height", "width")  # attributes of an image


def cvat_labels(path: Path, names: FrameNames) -> CvatMasks | CvatXml:
    """The reader of an unpacked export of CVAT, or of its annotations.xml."""
    if path.is_file():
        return CvatXml(path, names)
    xml = path / "annotations.xml"
    return CvatXml(xml, names) if xml.is_file() else CvatMasks(path, names)


class CvatMasks:
    """CVAT's "Segmentation mask": coloured pictures in SegmentationClass, and labelmap.txt."""

    shared = True

    def __init__(self, path: Path, names: FrameNames) -> None:
        self.where = "labelmap.txt"
        labels = path / self.where
        if not labels.is_file():
            raise NotFoundError(
                f"{path}: no labelmap.txt or annotations.xml in it; unpack CVAT's export `Segmentation mask`, or "
                "`CVAT for images`"
            )
        self._colours = _label_map(labels)
        self.placed: Placed[Path] = Placed(names)
        below = path / "SegmentationClass"
        for file in sorted(below.rglob("*")):
            if file.suffix.lower() in SUFFIXES and not file.name.startswith("."):
                self.placed.add(file.relative_to(below).as_posix(), file)

    def classes(self, case_id: str) -> list[ClassLabel]:
        return list(self._colours.values())

    def drawn(self, case_id: str, sweep: Sweep) -> dict[int | None, Drawn]:
        frames: dict[int | None, Drawn] = {}
        for frame, place, file in self.placed.of(case_id):
            with opened_picture(file) as image:
                picture = np.asarray(image.convert("RGB"))
            check_size(file.name, picture.shape[:2], sweep)
            frames[frame] = Drawn(self._outlines(picture, file), place.proposed)
        return frames

    def _outlines(self, picture: np.ndarray, file: Path) -> list[Outline]:
        outlines = []
        numbers = picture.astype(np.int64) @ (65536, 256, 1)
        for number in np.unique(numbers).tolist():
            colour = (number >> 16, number >> 8 & 255, number & 255)
            label = self._colours.get(colour)
            if label is None and colour != (0, 0, 0):
                raise LabelError(f"{file.name}: holds the colour {colour}, which labelmap.txt does not name")
            if label is not None:
                outlines.append(Outline(label, lambda number=number: numbers == number))  # type: ignore[misc]
        return outlines


def _label_map(file: Path) -> dict[tuple[int, ...], ClassLabel]:
    """Class of each colour (red, green, blue): lines ``name:r,g,b:parts:actions``."""
    labels: dict[tuple[int, ...], ClassLabel] = {}
    for line in text_of(file).splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        colour = rest.split(":")[0].split(",")
        try:
            rgb = tuple(map(int, colour))
        except ValueError:
            rgb = ()
        if len(rgb) != 3:
            raise LabelError(
                f"{file.name}: the colour {','.join(colour)!r} of {name!r} is not three whole numbers"
            )
        if rgb in labels:
            raise LabelError(f"{file.name}: {labels[rgb]} and {name} have one colour; export it again")
        labels[rgb] = ClassLabel(name)
    return labels


class CvatXml:
    """CVAT's "CVAT for images": annotations.xml with polygons, masks and ellipses.

    Unchanged shapes of a model are proposed, not annotated. Tags of a picture are not outlines.

    Args:
        file: annotations.xml.
        names: interprets picture names.

    Raises:
        LabelError: when it is no such file, or has tracks (videos), whose frames are mostly interpolated.
    """

    shared = True

    def __init__(self, file: Path, names: FrameNames) -> None:
        self.where = file.name
        self.placed: Placed[Element] = Placed(names)
        root = _xml(file)
        if root.find("track") is not None:
            raise LabelError(
                f"{file.name}: has tracks of a video, between whose frames CVAT interpolates; annotate the frames "
                "as shapes, and export `CVAT for images`"
            )
        labels = [label.findtext("name") or "" for label in root.iterfind("meta//labels/label")]
        for image in root.iterfind("image"):
            labels += [shape.get("label", "") for shape in image]
            self.placed.add(image.get("name", ""), image)
        self._classes = [ClassLabel(name) for name in dict.fromkeys(labels)]

    def classes(self, case_id: str) -> list[ClassLabel]:
        return self._classes

    def drawn(self, case_id: str, sweep: Sweep) -> dict[int | None, Drawn]:
        frames: dict[int | None, Drawn] = {}
        for frame, place, image in self.placed.of(case_id):
            name = image.get("name", "")
            height, width = (int(text) if (text := image.get(key, "")).isdecimal() else text for key in SIZE)
            check_size(name, (height, width), sweep)
            outlines = [self._outline(shape, name, sweep) for shape in image]
            frames[frame] = Drawn(outlines, place.proposed)
        return frames

    def _outline(self, shape: Element, name: str, sweep: Sweep) -> Outline:
        proposed = shape.get("source") == AUTOMATIC
        return Outline(ClassLabel(shape.get("label", "")), lambda: _shape(shape, sweep, name), proposed=proposed)


def _xml(file: Path) -> Element:
    """The root of an XML file of CVAT; rejects entities, against expansion attacks."""
    content = file.read_bytes()
    try:
        if b"<!DOCTYPE" in content:
            raise ParseError("a document type is not expected")
        root = fromstring(content)
    except (ParseError, ValueError, LookupError) as problem:
        raise LabelError(f"{file.name}: not XML ({problem}); export it again") from None
    if root.tag != "annotations":
        raise LabelError(f"{file.name}: no annotations of CVAT; export `CVAT for images`")
    return root


def _shape(shape: Element, sweep: Sweep, picture: str) -> np.ndarray | None:
    """The mask of a shape; None for one without an area (box, points, line, tag)."""
    _, height, width = sweep.shape
    where = f"{picture}, {shape.tag} {shape.get('label', '')!r}"
    try:
        if shape.tag == "polygon":
            corners = [float(number) for pair in shape.attrib["points"].split(";") for number in pair.split(",")]
            return polygons_mask([corners], height, width, where)
        if shape.tag == "ellipse":
            x, y, rx, ry = (float(shape.attrib[key]) for key in ("cx", "cy", "rx", "ry"))
            return ellipse_mask((x, y), (rx, ry), float(shape.get("rotation", 0)), height, width, where)
        if shape.tag == "mask":
            left, top, columns, rows = (int(shape.attrib[key]) for key in ("left", "top", "width", "height"))
            if min(left, top, columns, rows) < 0 or left + columns > width or top + rows > height:
                raise ValueError("it lies outside of the picture")
            counts = [int(number) for number in shape.attrib["rle"].split(",")]
            inside = np.zeros((height, width), bool)
            inside[top : top + rows, left : left + columns] = runs_mask(counts, rows, columns, where, order="C")
            return inside
    except (KeyError, ValueError) as problem:
        raise LabelError(f"{where}: cannot be read ({problem}); export it again") from None
    return None
