"""The image sector of the simulated curvilinear probe, and the polar grid images are formed on.

The numbers were fitted to the official field-of-view mask of ACOUSLIC-AI (744 x 562 pixels of 0.28 mm;
the fit differs from it on 382 of 267,936 pixels, all on the border).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import cv2
import numpy as np

FULL_ROWS, FULL_COLUMNS = 562, 744  # pixels of an ACOUSLIC-AI frame
FULL_SPACING_MM = 0.28  # ACOUSLIC-AI pixel size
APEX_COLUMN_MM = 371.9375 * FULL_SPACING_MM  # centre of curvature, from the centre of pixel (0, 0)
APEX_ROW_MM = -182.5 * FULL_SPACING_MM
INNER_RADIUS_MM = 58.95  # probe surface; about the 60 mm of a C60 transducer
OUTER_RADIUS_MM = 208.78  # 150 mm depth
HALF_ANGLE_RAD = float(np.radians(30.0))
DEPTH_MM = OUTER_RADIUS_MM - INNER_RADIUS_MM

SCALES = {"full": 1, "half": 2}  # frame size divisor


@dataclass(frozen=True)
class Sector:
    """Pixel and polar grids of one frame scale.

    Attributes:
        divisor: 1 for 562 x 744 pixels of 0.28 mm, 2 for 281 x 372 of 0.56 mm.
    """

    divisor: int

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a frame."""
        return FULL_ROWS // self.divisor, FULL_COLUMNS // self.divisor

    @property
    def spacing_mm(self) -> float:
        return FULL_SPACING_MM * self.divisor

    @property
    def depth_count(self) -> int:
        return round(DEPTH_MM / self.spacing_mm)

    @property
    def beam_count(self) -> int:
        return 256 if self.divisor == 1 else 160

    @cached_property
    def radii(self) -> np.ndarray:
        """Distance of each depth sample from the centre of curvature, mm, float32 [depth_count]."""
        step = DEPTH_MM / (self.depth_count - 1)
        return (INNER_RADIUS_MM + step * np.arange(self.depth_count)).astype(np.float32)

    @cached_property
    def angles(self) -> np.ndarray:
        """Beam angles, rad, float32 [beam_count]."""
        return np.linspace(-HALF_ANGLE_RAD, HALF_ANGLE_RAD, self.beam_count).astype(np.float32)

    @cached_property
    def plane_mm(self) -> tuple[np.ndarray, np.ndarray]:
        """Lateral and depth position (mm from the centre of curvature) of pixel columns and rows.

        Half-scale pixels are centred on blocks of 2 x 2 full-scale pixels.
        """
        shift = (self.divisor - 1) / 2 * FULL_SPACING_MM
        rows, columns = self.shape
        lateral = shift + self.spacing_mm * np.arange(columns) - APEX_COLUMN_MM
        depth = shift + self.spacing_mm * np.arange(rows) - APEX_ROW_MM
        return lateral.astype(np.float32), depth.astype(np.float32)

    @cached_property
    def _polar(self) -> tuple[np.ndarray, np.ndarray]:
        lateral, depth = self.plane_mm
        return (
            np.hypot(lateral[None, :], depth[:, None]),
            np.arctan2(lateral[None, :], depth[:, None]),
        )

    @cached_property
    def mask(self) -> np.ndarray:
        """Field of view, bool [rows, columns]."""
        radius, angle = self._polar
        return (radius >= INNER_RADIUS_MM) & (radius <= OUTER_RADIUS_MM) & (np.abs(angle) <= HALF_ANGLE_RAD)

    @cached_property
    def _maps(self) -> tuple[np.ndarray, np.ndarray]:
        radius, angle = self._polar
        beam = (angle + HALF_ANGLE_RAD) / (2 * HALF_ANGLE_RAD) * (self.beam_count - 1)
        sample = (radius - INNER_RADIUS_MM) / DEPTH_MM * (self.depth_count - 1)
        fixed = cv2.convertMaps(beam.astype(np.float32), sample.astype(np.float32), cv2.CV_16SC2)
        return fixed[0], fixed[1]

    def to_cartesian(self, polar: np.ndarray) -> np.ndarray:
        """Scan-convert uint8 [depth_count, beam_count] to uint8 [rows, columns], 0 outside the sector."""
        frame: np.ndarray = cv2.remap(polar, *self._maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        frame *= self.mask
        return frame


@lru_cache(maxsize=4)
def sector_for(scale: str) -> Sector:
    """The sector of ``scale`` ("full" or "half"), built once."""
    return Sector(SCALES[scale])
