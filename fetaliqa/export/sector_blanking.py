"""Blanking of pixels outside of the ultrasound sector, where scanners burn in names and dates."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from fetaliqa.atomic import atomic_path
from fetaliqa.export.export_case import ExportCase
from fetaliqa.measure.field_of_view import field_of_view
from fetaliqa.pictures.frame_picture import OUTLINE_COLOUR

PREVIEW_WIDTH = 360  # pixels of a case in the preview
PREVIEW_COLUMNS = 4
PREVIEW_CASES = 48  # in the preview; the others are blanked too
BLANKED_COLOUR = (255, 64, 48)  # RGB, over blanked pixels
FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class Blanked:
    """What was blanked in a case.

    Attributes:
        share: of the image, in [0, 1].
        lit: blanked pixels that were not black in some exported frame.
    """

    share: float
    lit: int


def blank(case: ExportCase, sector: np.ndarray, frames: list[int]) -> tuple[ExportCase, Blanked]:
    """The case with ``frames`` black outside of the sector.

    Args:
        case: the case.
        sector: uint8 [H, W], positive inside.
        frames: numbers of the frames that are exported.
    """
    outside = sector == 0
    pixels = case.frames.copy() if not case.frames.flags.writeable else case.frames
    lit = 0
    for frame in frames:
        lit += int((pixels[frame][outside] > 0).sum())
        pixels[frame][outside] = 0
    return replace(case, frames=pixels), Blanked(float(outside.mean()), lit)


class Preview:
    """A picture of the blanked regions for review. It contains the removed pixels, so it is confidential."""

    def __init__(self) -> None:
        self._pictures: list[np.ndarray] = []
        self.left_out = 0

    def add(self, case: ExportCase, sector: np.ndarray, frames: list[int]) -> None:
        """Show a case: the brightest value of each pixel, the sector's outline, blanked pixels in red."""
        if len(self._pictures) >= PREVIEW_CASES:
            self.left_out += 1
            return
        brightest = case.frames[frames[0]].copy()
        for frame in frames[1:]:
            np.maximum(brightest, case.frames[frame], out=brightest)
        picture = np.repeat(brightest[..., None], 3, axis=2)
        outside = sector == 0
        red = np.array(BLANKED_COLOUR, np.float32) * (0.25 + 0.75 * brightest[outside, None] / 255)
        picture[outside] = red.astype(np.uint8)
        contours, _ = cv2.findContours(sector, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, contours, -1, OUTLINE_COLOUR, 2, cv2.LINE_AA)
        height = max(1, round(picture.shape[0] * PREVIEW_WIDTH / picture.shape[1]))
        small = cv2.resize(picture, (PREVIEW_WIDTH, height), interpolation=cv2.INTER_AREA)
        note = "whole image: nothing blanked" if outside.sum() == 0 else f"{outside.mean():.0%} blanked"
        for row, text in enumerate((case.case_id[:40], note)):
            cv2.putText(small, text, (8, 18 + 18 * row), FONT, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
        self._pictures.append(small)

    def write(self, path: Path) -> None:
        """Write the picture (PNG, atomically); nothing when no case was shown."""
        if not self._pictures:
            return
        height = max(picture.shape[0] for picture in self._pictures)
        columns = min(PREVIEW_COLUMNS, len(self._pictures))
        rows = -(-len(self._pictures) // columns)
        sheet = np.zeros((rows * height, columns * PREVIEW_WIDTH, 3), np.uint8)
        for number, picture in enumerate(self._pictures):
            top, left = number // columns * height, number % columns * PREVIEW_WIDTH
            sheet[top : top + picture.shape[0], left : left + PREVIEW_WIDTH] = picture
        with atomic_path(path) as temporary:
            temporary.write_bytes(cv2.imencode(".png", sheet[..., ::-1])[1].tobytes())


def sector_of(case: ExportCase) -> np.ndarray:
    """Field of view of a case: uint8 [H, W], 1 inside."""
    return field_of_view(case.frames)
