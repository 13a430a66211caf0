"""B-mode image formation from echogenicity: speckle, point spread, attenuation, gain, log compression.

Fully developed speckle: circular complex Gaussian scatterers, their amplitude set by the tissue, are
convolved with a separable point spread function on the polar grid. Its width is constant in angle near the
focus and grows beyond it, so the lateral blur in mm grows with depth. The scatterers of neighbouring frames
share a part that depends on how far the probe moved against the slice thickness.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from fetaliqa.lab.phantom.probe_path import SweepPlan, smooth_walk
from fetaliqa.lab.phantom.probe_sector import HALF_ANGLE_RAD, INNER_RADIUS_MM, Sector

GREY_PER_DB = 2.4  # measured: speckle SD 10-12 grey levels in a native frame
TISSUE_GREY = 84.0  # soft tissue in the near half of a native frame (mean 65-75)
SLICE_MM = 3.2  # elevational width over which scatterers stay in the beam
AXIAL_SIGMA_MM = (0.24, 0.42)  # near the focus, and at the bottom; from the autocorrelation of a native frame
BEAM_SIGMA_RAD = (np.radians(0.26), np.radians(0.55))  # near the focus, and at the bottom
NOISE_DB = -27.0  # electronic noise against soft tissue
TEXTURE_CELLS, TEXTURE_STEP_MM = 64, 1.6  # tiling volume of coarse echo texture: 102 mm
TEXTURE_DB = 2.0
COARSE_DB = 2.6


@dataclass(frozen=True)
class Machine:
    """Settings of the scanner for one case: gain (dB) and how fast echoes fade with depth (dB/mm)."""

    gain_db: float
    fade_db_per_mm: float
    fade_from_mm: float


def draw_machine(rng: np.random.Generator) -> Machine:
    """Draw the scanner settings of a case."""
    return Machine(float(rng.normal(0, 2.5)), float(rng.uniform(0.08, 0.22)), float(rng.uniform(35, 65)))


def texture_volumes(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Echo texture that tiles space, of unit variance: fine, and coarse; each float32 [cells^3] (flat)."""
    freq = np.fft.fftfreq(TEXTURE_CELLS).astype(np.float32)
    square = freq[:, None, None] ** 2 + freq[None, :, None] ** 2 + freq[None, None, :] ** 2
    spectrum = np.fft.fftn(rng.standard_normal((TEXTURE_CELLS,) * 3, dtype=np.float32))

    def smoothed(sigma: float) -> np.ndarray:
        part = np.fft.ifftn(spectrum * np.exp(-2 * (np.pi * sigma) ** 2 * square)).real
        return part / part.std()

    fine = 0.5 * smoothed(1.1) + 0.85 * smoothed(3.0)  # cells
    coarse = np.roll(smoothed(6.0), TEXTURE_CELLS // 2, axis=(0, 1, 2))
    return fine.astype(np.float32).ravel(), coarse.astype(np.float32).ravel()


def _kernel(sigma: float) -> np.ndarray:
    """Gaussian of unit energy, so that filtered white noise keeps its power."""
    half = max(1, int(np.ceil(3 * sigma)))
    taps = np.exp(-0.5 * (np.arange(-half, half + 1) / max(sigma, 0.3)) ** 2)
    return (taps / np.sqrt((taps**2).sum())).astype(np.float32)


class Imager:
    """Forms the frames of one sweep, in order."""

    def __init__(
        self,
        rng: np.random.Generator,
        plan: SweepPlan,
        machine: Machine,
        volumes: tuple[np.ndarray, np.ndarray],
        sector: Sector,
    ):
        self.rng, self.plan, self.sector, self.volumes = rng, plan, sector, volumes
        self.depth = (sector.radii - INNER_RADIUS_MM)[:, None]
        step = float(sector.radii[1] - sector.radii[0])
        beam_step = 2 * HALF_ANGLE_RAD / (sector.beam_count - 1)
        self.axial = [_kernel(sigma / step) for sigma in AXIAL_SIGMA_MM]
        self.lateral = [_kernel(float(s) / beam_step) for s in BEAM_SIGMA_RAD]
        self.far_share = np.clip((self.depth - 50) / 100, 0, 1)[..., None].astype(np.float32)
        fade = np.maximum(self.depth - machine.fade_from_mm, 0) * machine.fade_db_per_mm
        self.gain = (machine.gain_db + 3.0 * np.exp(-self.depth / 6.0) - fade).astype(np.float32)
        self.step = step
        self.tissue = self._maternal(rng)
        self.wander = smooth_walk(rng, plan.length, 0.8)
        self.beam_gain = self._beam_gain(rng)
        self.shade = self._shade(rng)
        self.scatter = self._fresh()
        self.last: int | None = None  # the frame formed before

    def _fresh(self) -> np.ndarray:
        shape = (self.sector.depth_count, self.sector.beam_count, 2)
        return self.rng.standard_normal(shape, dtype=np.float32) * np.float32(np.sqrt(0.5))

    def _maternal(self, rng: np.random.Generator) -> np.ndarray:
        """Echogenicity (dB) of skin, fat, muscle and uterine wall, which follow the probe surface."""
        beams = np.linspace(-1, 1, self.sector.beam_count, dtype=np.float32)[None, :]
        sway = rng.normal(0, 1.2) * beams + rng.normal(0, 1.5) * beams**2
        wall = self.plan.wall_mm
        fraction = (self.depth + sway) / wall
        edges = np.array([0.0, 0.10, 0.42, 0.47, 0.72, 0.78, 1.0])
        levels = np.array([4.0, -2.0, 5.0, -3.0, 4.0, 0.0, -1.0]) + rng.normal(0, 1.2, 7)
        return levels[np.clip(np.searchsorted(edges, fraction) - 1, 0, 6)].astype(np.float32)

    def _beam_gain(self, rng: np.random.Generator) -> np.ndarray:
        """Gain per frame and beam (dB) from uneven contact and contact losses, float32 [T, B]."""
        length, beams = self.plan.length, self.sector.beam_count
        knots = rng.normal(0, 1.1, (length // 12 + 2, 9)).astype(np.float32)
        gain: np.ndarray = cv2.resize(knots, (beams, length), interpolation=cv2.INTER_CUBIC)
        edge = np.clip(np.abs(self.sector.angles) / HALF_ANGLE_RAD - 0.8, 0, None) * 5 * rng.uniform(0, 8)
        gain -= edge[None, :].astype(np.float32)
        soft = np.radians(5.0)
        frames = np.arange(length)[:, None]
        for loss in self.plan.losses:
            ramp = (self.sector.angles - loss.low) / soft, (loss.high - self.sector.angles) / soft
            beam_share = np.clip(ramp[0], 0, 1) * np.clip(ramp[1], 0, 1)
            time_share = np.clip(np.minimum(frames - loss.start + 1, loss.stop - frames), 0, 1)
            gain -= (loss.loss_db * time_share * beam_share[None, :]).astype(np.float32)
        return gain

    def _shade(self, rng: np.random.Generator) -> np.ndarray:
        """Attenuation per frame and beam (dB/mm) from ribs, gas and uneven fat, float32 [T, B]."""
        length, beams = self.plan.length, self.sector.beam_count
        knots = rng.normal(0, 0.05, (length // 10 + 2, 10)) + 0.08 * (rng.random((length // 10 + 2, 10)) < 0.05)
        shade = cv2.resize(knots.astype(np.float32), (beams, length), interpolation=cv2.INTER_CUBIC)
        return np.clip(shade, -0.03, 0.16)

    def texture(self, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Fine and coarse texture where the frame's samples lie, float32 [depth_count, beam_count]."""
        plan, sector = self.plan, self.sector
        origin = (plan.origin[frame] - plan.centre) / TEXTURE_STEP_MM + 4096
        basis = np.stack([plan.lateral[frame], plan.depth[frame]]) / TEXTURE_STEP_MM
        directions = (np.stack([np.sin(sector.angles), np.cos(sector.angles)], axis=1) @ basis).astype(np.float32)
        radii = sector.radii[:, None]
        index = np.zeros((sector.depth_count, sector.beam_count), np.int32)
        for axis in range(3):
            cell = (np.float32(origin[axis]) + radii * directions[:, axis]).astype(np.int32)
            index = index * TEXTURE_CELLS + (cell & (TEXTURE_CELLS - 1))
        return self.volumes[0][index], self.volumes[1][index]

    def form(
        self, frame: int, level: np.ndarray, loss: np.ndarray, texture: tuple[np.ndarray, np.ndarray]
    ) -> np.ndarray:
        """The frame (uint8 [rows, columns]) of what ``Scene.paint`` returned."""
        if self.last is not None:
            moved = float(np.linalg.norm(self.plan.origin[frame] - self.plan.origin[self.last]))
            correlation = np.exp(-0.5 * (moved / SLICE_MM) ** 2)
            self.scatter *= np.float32(correlation)
            self.scatter += np.float32(np.sqrt(1 - correlation * correlation)) * self._fresh()
        self.last = frame
        through = np.cumsum(loss, axis=0)
        through *= -2.0 * self.step
        level += through
        level += np.float32(TEXTURE_DB) * texture[0]
        level += np.float32(COARSE_DB) * texture[1]
        level += self.beam_gain[frame]
        level -= self.depth * self.shade[frame]
        amplitude: np.ndarray = cv2.exp(level * np.float32(np.log(10) / 20))
        amplitude += np.float32(10 ** (NOISE_DB / 20))
        field = self.scatter * amplitude[..., None]
        near: np.ndarray = cv2.sepFilter2D(
            field, -1, self.lateral[0], self.axial[0], borderType=cv2.BORDER_REFLECT
        )
        far: np.ndarray = cv2.sepFilter2D(field, -1, self.lateral[1], self.axial[1], borderType=cv2.BORDER_REFLECT)
        near += self.far_share * (far - near)
        power = near[..., 0] ** 2 + near[..., 1] ** 2
        grey: np.ndarray = cv2.log(power + np.float32(1e-6))
        grey *= np.float32(10 / np.log(10) * GREY_PER_DB)
        grey += (self.gain + np.float32(self.wander[frame])) * np.float32(GREY_PER_DB)
        grey += np.float32(TISSUE_GREY)
        grey = cv2.blur(grey, (3, 1))  # neighbouring beams are averaged (spatial compounding)
        return self.sector.to_cartesian(np.clip(grey, 0, 255).astype(np.uint8))
