"""Draws the README's first picture: results of the default model on the real stills in sample-data/.

    python benchmarks/real_stills_picture.py [OUT.png]        # without OUT: docs/images/real-stills.png

Each still is assessed as ``fetaliqa score`` does it, and drawn as on a contact sheet: all of them, whatever the
model makes of them.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from fetaliqa.atomic import atomic_path
from fetaliqa.evaluation.frame_metrics import dice
from fetaliqa.inference.case_result import AssessmentResult
from fetaliqa.measure import Ellipse
from fetaliqa.model.user_folders import default_model
from fetaliqa.pictures.colours import ACCENT, BACKGROUND, MUTED, TEXT, WARN
from fetaliqa.pictures.frame_picture import frame_picture
from fetaliqa.registry import AssessmentService

REPOSITORY = Path(__file__).resolve().parents[1]
IMAGES = REPOSITORY / "sample-data" / "images" / "stacked_fetal_ultrasound"
OUTLINES = REPOSITORY / "sample-data" / "masks" / "stills"
STILLS = {
    "patient025_EGY_plane0": "abdomen, Egypt",
    "patient013_MWI_plane0": "abdomen, Malawi",
    "patient023_DZA_plane0": "abdomen, Algeria",
    "Patient00789_Plane2_1_of_1": "abdomen, Spain",
    "Patient01171_Plane2_1_of_1": "abdomen, Spain",
    "patient033_DZA_plane2": "femur, Algeria",
    "Patient01079_Plane3_1_of_3": "brain, Spain",
}
COLUMNS = 4
DPI = 100
TILE = (300, 216)  # columns and rows of a picture, pixels
CAPTION = 46  # pixels below it
COLOURS = 96  # of the PNG; more makes it larger than pages should load


def main() -> None:
    """Assess the stills and draw them."""
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else REPOSITORY / "docs" / "images" / "real-stills.png"
    service = AssessmentService(default_model(), device="cpu")
    rows = -(-len(STILLS) // COLUMNS)
    size = COLUMNS * TILE[0], rows * (TILE[1] + CAPTION)
    figure = Figure(figsize=(size[0] / DPI, size[1] / DPI), dpi=DPI, facecolor=BACKGROUND)
    canvas = FigureCanvasAgg(figure)
    for number, (name, shows) in enumerate(STILLS.items()):
        row, column = divmod(number, COLUMNS)
        draw(
            figure,
            (column * TILE[0], row * (TILE[1] + CAPTION)),
            size,
            service.assess(IMAGES / f"{name}.png"),
            shows,
        )
    canvas.draw()
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3]).quantize(
        COLOURS, dither=Image.Dither.NONE
    )
    with atomic_path(out) as temporary:
        picture.save(temporary, format="PNG", optimize=True)
    print(f"{out}: {out.stat().st_size / 1000:.0f} kB")


def draw(
    figure: Figure, corner: tuple[int, int], size: tuple[int, int], result: AssessmentResult, shows: str
) -> None:
    """A still, its outline, and two lines below it; ``corner`` is its upper left one in a picture of ``size``."""
    frame = result.assessment["frames"][0]
    ellipse = frame.get("ellipse")
    image, mask = result.sweep.frames[0], result.masks[0]
    width = round(min(TILE[0] - 8, (TILE[1] - 4) * image.shape[1] / image.shape[0]))
    drawn = frame_picture(image, mask, None if ellipse is None else Ellipse(**ellipse), width=width)
    left, top = corner[0] + (TILE[0] - width) / 2, corner[1] + (TILE[1] - drawn.shape[0]) / 2
    figure.figimage(drawn, left, size[1] - top - drawn.shape[0], origin="upper")
    colour, caption = verdict(result.assessment["case_id"], frame, mask)
    lines = ((16, TEXT, shows, "bold"), (33, colour, caption, "normal"))
    for offset, shade, text, weight in lines:
        place = (corner[0] + 6) / size[0], 1 - (corner[1] + TILE[1] + offset) / size[1]
        figure.text(*place, text, color=shade, fontsize=8.5, fontweight=weight, parse_math=False)


def verdict(name: str, frame: dict[str, Any], mask: np.ndarray) -> tuple[str, str]:
    """The result of a still in words, and its colour."""
    unlike = "unlike the training data" if frame.get("unlike_training_data") else None
    if not frame["positive"]:
        return (WARN if unlike else MUTED), "; ".join(filter(None, ("no abdomen found", unlike)))
    text = f"outlined, quality {frame['quality']:.2f}"
    if (OUTLINES / f"{name}.png").is_file():
        reference = cv2.imread(str(OUTLINES / f"{name}.png"), cv2.IMREAD_GRAYSCALE) > 0
        text += f"; Dice {dice(mask, reference):.2f}"
    return (WARN if unlike else ACCENT), "; ".join(filter(None, (text, unlike)))


if __name__ == "__main__":
    main()
