"""Readers of the still images of each public data set.

====================================  =======================================================================
folder                                what
====================================  =======================================================================
hc18, hc18_rest                       HC18 heads (Zenodo 1327317, CC BY 4.0): expert's lines; filled masks
african_abdomen, _femur, _thorax      African planes (Sendra-Balcells et al. 2023, Zenodo 7540448, CC BY 4.0)
fp_abdomen, _femur, _thorax, _brain,  FETAL_PLANES_DB (Burgos-Artizzu et al. 2020, Zenodo 3904280, CC BY 4.0); its
_other                                calipers (Multicentre fetal biometry) are CC BY-NC-SA 4.0
natalia_phantom                       NatalIA PBF-US1, a phantom (CC BY 4.0)
acouslic                              single ACOUSLIC-AI frames with experts' masks (CC BY-NC-SA 4.0)
====================================  =======================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fetaliqa.datasets.hc18 import hc18_table, line_ellipse, patient_of, read_table
from fetaliqa.errors import SweepError
from fetaliqa.lab.stills.drawn_tables import fitting_row
from fetaliqa.lab.stills.line_tables import LineRow, caliper_table, line_table
from fetaliqa.lab.stills.outline_tables import PACKAGED, OutlineRow, outline_table
from fetaliqa.lab.stills.still_image import CC_BY, CC_BY_NC_SA, Picture, Plane, Still, read_grey, read_picture
from fetaliqa.measure import Ellipse, fit_outline

Read = tuple[Still, Picture]

# Filling HC18's drawn line makes a head larger by this much in radius: measured on the 402 masks of hc18_rest
# against the table's circumference, 1.354 +- 0.030 px whatever the size of the head. Taken off both semi-axes it
# leaves 0.005 mm on average, 0.019 mm in mean absolute value, 0.16 mm at most.
FILLED_LINE_PX = 1.354
MASK_LEVEL = 127  # masks are 0 and 255
ACOUSLIC_PIXEL_MM = 0.28
AFRICAN = re.compile(r"(patient\d+_([A-Z]{3}))_plane\d")
COUNTRIES = {"DZA": "Algeria", "EGY": "Egypt", "GHA": "Ghana", "MWI": "Malawi", "UGA": "Uganda"}
MARKED_COUNTRIES = ("Ghana", "Uganda")  # their scanners' calipers are in the pictures
SPANISH = re.compile(r"Patient(\d+)_")
MASK_SUFFIX = "_mask_gt"
OUTLINER = "maintainer, no clinician"
AFRICAN_PLANES: dict[str, Plane] = {
    "african_abdomen": "abdomen",
    "african_femur": "femur",
    "african_thorax": "thorax",
}
SPANISH_PLANES: dict[str, Plane] = {
    "fp_abdomen": "abdomen",
    "fp_femur": "femur",
    "fp_thorax": "thorax",
    "fp_brain": "brain",
    "fp_other": "other",
}


def hc18_lines(folder: Path) -> Iterator[Read]:
    """HC18 as published: the expert's outline is a line; the ellipse runs along its middle."""
    yield from _hc18(folder / "hc18", "annotations", "_Annotation", line_ellipse)


def hc18_masks(folder: Path) -> Iterator[Read]:
    """HC18 with filled masks, whose ellipses are made smaller by ``FILLED_LINE_PX``."""
    yield from _hc18(folder / "hc18_rest", "masks", "_Mask", filled_ellipse)


def filled_ellipse(mask: Path, shape: tuple[int, int]) -> Ellipse:
    """The ellipse along the middle of the line that was filled.

    Raises:
        NotFoundError: when there is no such file.
        SweepError: when it is no picture, of another size, or shows no ellipse.
    """
    filled = read_grey(mask)
    if filled.shape != shape:
        raise SweepError(f"{mask.name}: {filled.shape} pixels; its image has {shape}; they differ in size")
    outer = fit_outline(filled > MASK_LEVEL, None).ellipse
    if outer is None or outer.semi_minor <= FILLED_LINE_PX:
        raise SweepError(f"{mask.name}: its mask is not an ellipse")
    axes = outer.semi_major - FILLED_LINE_PX, outer.semi_minor - FILLED_LINE_PX
    return Ellipse(outer.center_x, outer.center_y, *axes, outer.angle_deg)


def _hc18(
    root: Path, part: str, suffix: str, outline_of: Callable[[Path, tuple[int, int]], Ellipse]
) -> Iterator[Read]:
    table = hc18_table(root)
    for row in read_table(table) if table else ():
        image = root / "images" / f"{row.name}.png"
        annotation = root / part / f"{row.name}{suffix}.png"
        if not (image.is_file() and annotation.is_file()):
            continue
        picture = read_picture(image)
        still = Still(
            file=image,
            sha256=picture.sha256,
            shape=picture.shape,
            patient=f"hc18/{patient_of(row.name)}",
            source="hc18",
            centre="Netherlands",
            plane="head",
            licence=CC_BY,
            trainable=True,
            ellipse=outline_of(annotation, picture.shape),
            outliner="HC18's expert",
            pixel_mm=row.pixel_mm,
            circumference_mm=row.circumference_mm,
        )
        yield still, picture


def _outlined(row: OutlineRow | None) -> dict[str, Any]:
    """What a still has of an outline that was drawn for this project."""
    if row is None:
        return {}
    return {"ellipse": row.ellipse, "outliner": OUTLINER, "confidence": row.confidence or None}


def _lined(row: LineRow | None) -> dict[str, Any]:
    """What a still has of a line that was drawn for this project."""
    if row is None:
        return {}
    return {"line": row.line, "outliner": OUTLINER, "confidence": row.confidence or None}


def african(folder: Path) -> Iterator[Read]:
    """Abdomens, femurs and thoraces of five African countries, with this project's outlines and lines."""
    lines = line_table(PACKAGED / "african_femur_lines.csv")
    beside = folder / "african_abdomen"
    drawn = outline_table(PACKAGED / "african.csv"), outline_table(beside / "ellipses.csv")
    dotted = outline_table(PACKAGED / "african_burned_in.csv"), outline_table(beside / "ellipses_burned_in.csv")
    for part, plane in AFRICAN_PLANES.items():
        for file in sorted((folder / part).glob("*.png")):
            named = AFRICAN.match(file.stem)
            if named is None:
                continue
            picture = read_picture(file)
            centre = COUNTRIES.get(named.group(2), named.group(2))
            row = fitting_row(picture, file.name, *drawn) if plane == "abdomen" else None
            marks = fitting_row(picture, file.name, *dotted) if row else None
            line = fitting_row(picture, file.name, lines) if plane == "femur" else None
            still = Still(
                file=file,
                sha256=picture.sha256,
                shape=picture.shape,
                patient=f"african/{named.group(1)}",
                source="african",
                centre=centre,
                plane=plane,
                licence=CC_BY,
                trainable=True,
                **_outlined(row),
                **_lined(line),
                burned_in=row.calipers == "yes" if row and row.calipers else centre in MARKED_COUNTRIES,
                burned_in_ellipse=marks.ellipse if marks else None,
            )
            yield still, picture


def spanish(folder: Path) -> Iterator[Read]:
    """FETAL_PLANES_DB; the abdomens with this project's outlines; experts' calipers of abdomens and femurs."""
    lines = caliper_table(folder / "fp_femur" / "FP_Femur_rows_original.csv")
    drawn = outline_table(PACKAGED / "spanish.csv"), outline_table(folder / "fp_abdomen" / "ellipses.csv")
    calipers = outline_table(folder / "fp_abdomen" / "ellipses_through_calipers.csv")
    for part, plane in SPANISH_PLANES.items():
        for file in sorted((folder / part).glob("*.png")):
            named = SPANISH.match(file.stem)
            if named is None:
                continue
            picture = read_picture(file)
            row = fitting_row(picture, file.name, *drawn) if plane == "abdomen" else None
            expert = calipers.get(file.name) if plane == "abdomen" else None
            line = lines.get(file.name) if plane == "femur" else None
            still = Still(
                file=file,
                sha256=picture.sha256,
                shape=picture.shape,
                patient=f"spanish/{named.group(1)}",
                source="spanish",
                centre="Spain",
                plane=plane,
                licence=CC_BY,
                trainable=True,
                **_outlined(row),
                burned_in=bool(row and row.calipers == "yes"),
                caliper_ellipse=expert.ellipse if expert else None,
                caliper_line=line.line if line else None,
                pixel_mm=line.pixel_mm if line else None,
            )
            yield still, picture


def natalia(folder: Path) -> Iterator[Read]:
    """Frames of one fetal phantom; which of them show head, abdomen or limbs is not recorded."""
    for file in sorted((folder / "natalia_phantom").glob("*.png")):
        picture = read_picture(file)
        still = Still(
            file, picture.sha256, picture.shape, "natalia/phantom", "natalia", "phantom", "phantom", CC_BY, True
        )
        yield still, picture


def acouslic(folder: Path) -> Iterator[Read]:
    """ACOUSLIC-AI frames with an expert's mask, and one head frame that was labelled as none; evaluation only."""
    for file in sorted((folder / "acouslic").glob("*.png")):
        mask = file.with_name(f"{file.stem}{MASK_SUFFIX}.png")
        empty = file.stem.endswith("no_annotation")
        if not (mask.is_file() or empty):
            continue
        picture = read_picture(file)
        still = Still(
            file=file,
            sha256=picture.sha256,
            shape=picture.shape,
            patient=f"acouslic/{file.stem.removeprefix('resampled_')}",
            source="acouslic",
            centre="ACOUSLIC-AI",
            plane="head" if empty else "abdomen",
            licence=CC_BY_NC_SA,
            trainable=False,
            mask_file=None if empty else mask,
            pixel_mm=ACOUSLIC_PIXEL_MM,
        )
        yield still, picture


SOURCES: tuple[Callable[[Path], Iterator[Read]], ...] = (
    hc18_lines,
    hc18_masks,
    african,
    spanish,
    natalia,
    acouslic,
)
