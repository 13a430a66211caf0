"""Reader of label pictures and of plain masks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from fetaliqa.errors import LabelError
from fetaliqa.export.frame_names import FrameNames
from fetaliqa.export.incoming.class_values import Progress, outlines_of, unnamed_classes, values_in
from fetaliqa.export.incoming.label_source import ClassLabel, Drawn, Outline, Placed, check_size
from fetaliqa.export.incoming.own_labels import export_classes
from fetaliqa.sweep import Sweep
from fetaliqa.sweep.image_folder import MAX_FRAME_PIXELS

SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
LOSSY = (".jpg", ".jpeg", ".webp")
FORMATS = ("PNG", "TIFF", "BMP")
MASK_FOLDERS = ("masks", "mask", "labels", "label", "annotations", "SegmentationClass")
IMAGE_FOLDERS = ("images", "image", "imgs", "JPEGImages")
UNNAMED = "no class"  # of a picture without a class in its name, where other names have one


def opened_picture(file: Path) -> Image.Image:
    """A label picture, decoded.

    Raises:
        LabelError: when it cannot be read, or was compressed with loss.
    """
    if file.suffix.lower() in LOSSY:
        raise LabelError(f"{file.name}: its compression changes values; export the mask as PNG")
    try:
        image = Image.open(file, formats=FORMATS)
        if image.width * image.height > MAX_FRAME_PIXELS:
            raise LabelError(f"{file.name}: has more than {MAX_FRAME_PIXELS:,} pixels; no frame is that large")
        pages = getattr(image, "n_frames", 1)
        if pages > 1:
            raise LabelError(f"{file.name}: holds {pages} pages; save each frame as a picture")
        image.load()
    except UnidentifiedImageError:
        raise LabelError(f"{file.name}: cannot be read as a picture; export it again") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as problem:
        raise LabelError(f"{file.name}: cannot be read as a picture ({problem}); export it again") from None
    return image


def read_picture(file: Path) -> np.ndarray:
    """Pixels of a label picture: whole numbers [H, W] (of a palette, its numbers), or colours [H, W, 3].

    Raises:
        LabelError: when it cannot be read, or its pixels are neither.
    """
    with opened_picture(file) as image:
        mode, pixels = image.mode, np.asarray(image)
    if mode == "1":
        return pixels.astype(np.uint8)
    if mode in ("RGBA", "LA"):
        if (pixels[..., -1] != pixels[..., -1].max()).any() or not pixels.any():
            raise LabelError(f"{file.name}: is partly transparent; export the mask without transparency")
        pixels = pixels[..., :-1]
    if mode not in ("L", "P", "I", "F", "RGB", "RGBA", "LA") and not mode.startswith("I;16"):
        raise LabelError(f"{file.name}: has pixels of the kind {mode}; export the mask as PNG")
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    if pixels.dtype.kind == "f" and (pixels != np.rint(pixels)).any():
        raise LabelError(f"{file.name}: holds values that are no whole numbers; export it again")
    return pixels


class PlainMasks:
    """Pictures of masks: 0 outside and one value inside, or values that a card of an export names.

    Args:
        path: a picture or a folder. Where folders are called ``masks``, ``labels`` and the like, only these are
            read; folders of images never are.
        names: interprets picture names.
        progress: called with pictures read and pictures in all, while values are collected.
    """

    shared = True

    def __init__(self, path: Path, names: FrameNames, progress: Progress | None = None) -> None:
        self.where = path.name
        self.placed: Placed[Path] = Placed(names)
        for file in _mask_files(path):
            self.placed.add(file.relative_to(path).as_posix() if path.is_dir() else file.name, file)
        names_in_files = {place.label for case in self.placed.at for _, place, _ in self.placed.of(case)}
        self._by_name = bool(names_in_files - {None})  # the class is in the name of the file
        if self._by_name:
            self._classes = [ClassLabel(name) for name in sorted(one or UNNAMED for one in names_in_files)]
        else:
            self._classes = export_classes(path) or unnamed_classes(self.placed, _values, progress)

    def classes(self, case_id: str) -> list[ClassLabel]:
        return self._classes

    def drawn(self, case_id: str, sweep: Sweep) -> dict[int | None, Drawn]:
        frames: dict[int | None, Drawn] = {}
        for frame, place, file in self.placed.of(case_id):
            picture = _values(file)
            check_size(file.name, picture.shape, sweep)
            drawn = frames.setdefault(frame, Drawn([], place.proposed))
            if not self._by_name:
                drawn.outlines.extend(outlines_of(picture, self._classes, file.name))
                continue
            if len(values_in(picture)) > 1:
                raise LabelError(f"{file.name}: holds several values beside 0; its name gives one class")
            if picture.any():
                drawn.outlines.append(Outline(ClassLabel(place.label or UNNAMED), _inside(picture)))
        return frames


def _inside(picture: np.ndarray) -> Callable[[], np.ndarray]:
    return lambda: picture > 0


def _values(file: Path) -> np.ndarray:
    """A picture of values, [H, W].

    Raises:
        LabelError: when it is coloured, or cannot be read.
    """
    picture = read_picture(file)
    if picture.ndim != 2:
        raise LabelError(
            f"{file.name}: is coloured, and the class of each colour is not known; use --from cvat, with "
            "the pictures in a folder SegmentationClass and a labelmap.txt with lines `name:red,green,blue::`"
        )
    return picture


def _mask_files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    files = [
        file
        for file in sorted(path.rglob("*"))
        if file.suffix.lower() in (*SUFFIXES, *LOSSY) and not file.name.startswith(".")
    ]
    parts = {file: set(file.relative_to(path).parts[:-1]) for file in files}
    masks = [file for file in files if parts[file] & set(MASK_FOLDERS)]
    return masks or [file for file in files if not parts[file] & set(IMAGE_FOLDERS)]
