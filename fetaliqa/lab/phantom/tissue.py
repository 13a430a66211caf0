"""Echogenicity and attenuation of each sample of a phantom frame on the polar grid.

Every part is a quadric, so along a beam its equation is a parabola in the distance r from the probe's
centre of curvature: q(r) = A r^2 + 2 B r + C, with A and B per beam. Its two roots bound the samples that
need painting, which keeps a frame to a few milliseconds.
"""

from __future__ import annotations

import numpy as np

from fetaliqa.lab.phantom.fetus import Fetus, Part
from fetaliqa.lab.phantom.phantom_truth import LONGITUDINAL_TILT_RAD, SweepTruth
from fetaliqa.lab.phantom.probe_path import SweepPlan
from fetaliqa.lab.phantom.probe_sector import INNER_RADIUS_MM, Sector

FLUID_DB = (-32.0, -14.0)  # amniotic fluid against soft tissue; vernix and clutter make it echogenic
SPECULAR_LOSS_DB = 16.0  # a wall seen edge-on against the same wall seen face-on
WALL_SPREAD_DB = 3.0  # unevenness along a wall
REACH = 1.35  # q up to which a part with a wall is evaluated
FADE = {"organ_stomach": "stomach", "organ_vein": "vein", "organ_vein_hook": "vein"}


def draw_uterus(rng: np.random.Generator, fetus: Fetus) -> tuple[Part, ...]:
    """Uterine cavity with fluid, and a placenta on its wall, in fetal coordinates."""
    a = fetus.radius
    middle = a * np.array([rng.normal(0, 0.1), rng.uniform(0.05, 0.3), 0.7])
    semi = a * np.array([rng.uniform(1.12, 1.5), rng.uniform(1.18, 1.55), 3.3])
    cavity = Part(
        "uterus",
        middle,
        semi,
        level_db=rng.uniform(*FLUID_DB),
        shell_db=20,
        shell_mm=1.6,
        attenuation=-0.02,
        warp=0.22,
    )
    angle = rng.uniform(0, 2 * np.pi)
    seat = np.array([np.cos(angle), np.sin(angle), rng.uniform(-0.4, 0.5)]) * semi * [1, 1, 0.6]
    outward = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    lens = a * np.array([rng.uniform(0.28, 0.45), rng.uniform(1.1, 1.5), rng.uniform(1.2, 1.7)])
    placenta = Part("placenta", middle + seat, lens, outward, level_db=2.5, shell_db=9, shell_mm=0.7, warp=0.25)
    return cavity, placenta


class Scene:
    """All parts of one sweep, ready to be cut by its planes."""

    def __init__(self, plan: SweepPlan, truth: SweepTruth, fetus: Fetus, uterus: tuple[Part, ...], sector: Sector):
        self.plan, self.truth, self.sector = plan, truth, sector
        self.parts = (*uterus, *fetus.parts)
        size = plan.size
        self.own = np.stack([plan.rotation @ part.axes for part in self.parts])  # [K, 3, 3]
        self.inverse = np.stack([1.0 / (part.semi * size) for part in self.parts])  # [K, 3]
        self.centres = plan.centre + size * np.stack([plan.rotation @ part.centre for part in self.parts])
        self.beams = np.stack([np.sin(sector.angles), np.cos(sector.angles)], axis=1).astype(float)  # [B, 2]
        self.radii = sector.radii
        self.step = float(self.radii[1] - self.radii[0])
        self.maternal = len(uterus)  # these parts end at the abdominal wall
        self.wall = round(plan.wall_mm / self.step)

    def paint(self, frame: int, tissue: np.ndarray, coarse: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Echogenicity (dB) and extra attenuation (dB/mm), float32 [depth_count, beam_count].

        Args:
            tissue: echogenicity of the maternal tissue around the uterus, same shape.
            coarse: slowly varying texture of unit variance, same shape; bends outlines and breaks walls.
        """
        plan = self.plan
        directions = self.beams @ np.stack([plan.lateral[frame], plan.depth[frame]])  # [B, 3]
        scaled = self.own * self.inverse[:, None, :]
        slope = np.einsum("bi,kij->kbj", directions, scaled)
        start = np.einsum("ki,kij->kj", plan.origin[frame] - self.centres, scaled)
        quadratic = np.einsum("kbj,kbj->kb", slope, slope)
        linear = np.einsum("kbj,kj->kb", slope, start)
        constant = np.einsum("kj,kj->k", start, start)
        level = tissue.copy()
        loss = np.zeros_like(level)
        inside = np.zeros(level.shape, bool)
        axis = plan.rotation[:, 2]
        along = directions @ axis  # change of fetal z per mm of r
        axial = self.truth.tilt[frame] <= LONGITUDINAL_TILT_RAD
        for k, part in enumerate(self.parts):
            slab = part.slab
            if axial and part.name in FADE:  # all of the organ's section, or none (see docs/phantom.md)
                if not getattr(self.truth, FADE[part.name])[frame]:
                    continue
                slab = None
            rounded = part.name in FADE and slab is not None
            reach = REACH if part.shell_db is not None else 1.0
            gap = linear[k] ** 2 - quadratic[k] * (constant[k] - reach)
            hit = np.flatnonzero(gap > 0)
            if not len(hit):
                continue
            lo, hi = hit[0], hit[-1] + 1
            root = np.sqrt(np.maximum(gap[lo:hi], 0))
            near = ((-linear[k, lo:hi] - root) / quadratic[k, lo:hi]).min()
            far = ((-linear[k, lo:hi] + root) / quadratic[k, lo:hi]).max()
            top = max(self.wall if k < self.maternal else 0, int((near - INNER_RADIUS_MM) / self.step))
            bottom = min(len(self.radii), int((far - INNER_RADIUS_MM) / self.step) + 2)
            if bottom <= top:
                continue
            window = (slice(top, bottom), slice(lo, hi))
            r = self.radii[top:bottom, None]
            qa, qb = quadratic[k, lo:hi].astype(np.float32), linear[k, lo:hi].astype(np.float32)
            q = (r * qa + 2 * qb) * r + np.float32(constant[k])
            if part.warp:
                q *= 1 + np.float32(part.warp) * coarse[window]
            allowed = self._allowed(part, slab, frame, k, along[lo:hi], axis, r)
            if rounded:  # a longitudinal section shows the organ with rounded ends
                z = self._level(frame, k, along[lo:hi], axis, r) / np.float32(part.slab)
                q += z**4
                allowed = None
            if part.name.startswith("organ_"):
                allowed = inside[window] if allowed is None else allowed & inside[window]
            self._fill(part, q, allowed, level[window], loss[window], coarse[window], r, qa, qb)
            if part.name == "trunk":
                inside[window] = q < 0.97
        return level, loss

    def _allowed(
        self,
        part: Part,
        slab: float | None,
        frame: int,
        k: int,
        along: np.ndarray,
        axis: np.ndarray,
        r: np.ndarray,
    ) -> np.ndarray | None:
        """Where a part bounded or striped along fetal z exists, bool [rows, beams], or None for everywhere."""
        if slab is None and part.stripe_mm is None:
            return None
        z = self._level(frame, k, along, axis, r)
        allowed = np.ones(z.shape, bool) if slab is None else np.abs(z) <= slab
        if part.stripe_mm is not None:
            allowed &= np.mod(z, part.stripe_mm) < 0.62 * part.stripe_mm
        return allowed

    def _level(self, frame: int, k: int, along: np.ndarray, axis: np.ndarray, r: np.ndarray) -> np.ndarray:
        """Fetal z of each sample from the part's centre, mm at nominal size, float32 [rows, beams]."""
        size = self.plan.size
        first = float((self.plan.origin[frame] - self.centres[k]) @ axis) / size
        return np.float32(first) + r * (along / size).astype(np.float32)

    def _fill(
        self,
        part: Part,
        q: np.ndarray,
        allowed: np.ndarray | None,
        level: np.ndarray,
        loss: np.ndarray,
        coarse: np.ndarray,
        r: np.ndarray,
        qa: np.ndarray,
        qb: np.ndarray,
    ) -> None:
        if part.level_db is not None:
            body = q <= 1.0
            if allowed is not None:
                body &= allowed
            np.copyto(level, np.float32(part.level_db), where=body)
            if not part.shadow_shell:
                np.copyto(loss, np.float32(part.attenuation), where=body)
        if part.shell_db is None:
            return
        finite = part.semi[np.isfinite(part.semi)][:2] * self.plan.size
        radius = float(np.sqrt(finite.prod()))
        root = np.sqrt(np.maximum(q, 0))
        half = max(part.shell_mm, 0.75 * self.step)
        wall = np.abs(root - 1.0) < half / radius
        if allowed is not None:
            wall &= allowed
        cosine = np.minimum(np.abs(qa * r + qb) * (radius / np.maximum(root, 0.1)), 1.0)
        strength = np.float32(part.shell_db) - np.float32(SPECULAR_LOSS_DB) * (1 - cosine * cosine)
        strength += np.float32(WALL_SPREAD_DB) * coarse
        np.copyto(level, np.maximum(strength, level), where=wall)
        if part.shadow_shell:
            np.copyto(loss, np.float32(part.attenuation), where=wall)
