"""The fetus of the phantom: quadrics (ellipsoids and elliptical cylinders) in fetal coordinates.

Fetal axes: x to the fetal left, y to the front (the spine is at negative y), z to the head; the origin is
the centre of the abdomen, unit mm. All sizes are multiples of the abdominal radius ``a``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fetaliqa.measure.ellipse import ellipse_circumference

# AC of ACOUSLIC-AI training cases: 553 values, mean 232.0, SD 45.1, range 140.9-350.6 mm
AC_MEAN_MM, AC_SD_MM, AC_MIN_MM, AC_MAX_MM = 232.0, 45.1, 141.0, 351.0


@dataclass(frozen=True)
class Part:
    """One quadric with its acoustic properties.

    Attributes:
        name: what it is; names starting with "organ_" are painted inside of the trunk only.
        centre: mm, [3].
        axes: rotation, columns are the quadric's own axes, [3, 3].
        semi: semi-axes in mm; ``inf`` makes a cylinder along that own axis.
        level_db: echogenicity of the filling relative to soft tissue, None for a shell only.
        shell_db: echogenicity of the wall, None without one.
        shell_mm: half thickness of the wall.
        attenuation: extra attenuation of the filling (of the wall, when ``shadow_shell``), dB/mm.
        slab: half length (mm) along fetal z about ``centre``; None when unbounded.
        warp: how far coarse texture bends the outline (share of q); 0 keeps the exact quadric.
        stripe_mm: period along fetal z at which the part repeats (ribs, vertebrae); None when solid.
    """

    name: str
    centre: np.ndarray
    semi: np.ndarray
    axes: np.ndarray = field(default_factory=lambda: np.eye(3))
    level_db: float | None = None
    shell_db: float | None = None
    shell_mm: float = 0.8
    attenuation: float = 0.0
    slab: float | None = None
    stripe_mm: float | None = None
    shadow_shell: bool = False
    warp: float = 0.0


@dataclass(frozen=True)
class Fetus:
    """A fetus: its parts in painting order, and the parts that labels are derived from."""

    ac_mm: float
    radius: float
    trunk: Part
    stomach: Part
    vein: Part
    parts: tuple[Part, ...]


def rotation(axis: int, angle: float) -> np.ndarray:
    """Rotation by ``angle`` (rad) about coordinate axis 0, 1 or 2, [3, 3]."""
    c, s = np.cos(angle), np.sin(angle)
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = c
    matrix[i, j], matrix[j, i] = -s, s
    return matrix


def draw_ac(rng: np.random.Generator) -> float:
    """A target AC in mm from the truncated normal of the real values."""
    while True:
        value = rng.normal(AC_MEAN_MM, AC_SD_MM)
        if AC_MIN_MM <= value <= AC_MAX_MM:
            return float(value)


def _vec(a: float, *values: float) -> np.ndarray:
    return a * np.array(values, float)


def _organs(a: float, rng: np.random.Generator) -> tuple[Part, Part, list[Part]]:
    """Stomach, umbilical vein, and what lies at other levels of the trunk."""
    # Levels where stomach and vein are cut: lengths and offset give the runs of (sub)optimal frames.
    stomach_half = a * rng.uniform(0.09, 0.30)
    vein_half = a * rng.uniform(0.09, 0.30)
    if rng.random() < 0.33:  # never both in one plane: only suboptimal planes, often in two runs
        offset = rng.choice([-1.0, 1.0]) * rng.uniform(1.15, 1.5) * (stomach_half + vein_half)
    else:
        offset = float(np.clip(a * rng.normal(0, 0.14), -0.3 * a, 0.3 * a))
    middle = a * rng.uniform(-0.05, 0.05)
    stomach = Part(
        "organ_stomach",
        _vec(a, rng.uniform(0.40, 0.50), rng.uniform(0.0, 0.14), 0) + np.array([0, 0, middle - offset / 2]),
        _vec(a, rng.uniform(0.24, 0.30), rng.uniform(0.17, 0.22), np.inf),
        rotation(2, rng.uniform(-0.6, 0.2)),
        level_db=-34,
        warp=0.07,
        slab=stomach_half,
        attenuation=-0.05,
        shell_db=9,
        shell_mm=0.7,
    )
    vein = Part(
        "organ_vein",
        _vec(a, rng.uniform(-0.12, -0.02), rng.uniform(0.34, 0.44), 0) + np.array([0, 0, middle + offset / 2]),
        _vec(a, rng.uniform(0.10, 0.12), rng.uniform(0.26, 0.32), np.inf),
        rotation(2, rng.uniform(0.1, 0.45)),
        level_db=-34,
        warp=0.07,
        slab=vein_half,
        attenuation=-0.04,
        shell_db=12,
        shell_mm=0.8,
    )
    hook = Part(
        "organ_vein_hook",
        vein.centre + _vec(a, -0.17, -0.24, 0),
        _vec(a, 0.20, 0.10, np.inf),
        rotation(2, rng.uniform(-0.5, -0.2)),
        level_db=-34,
        warp=0.07,
        slab=vein_half,
    )
    others = [
        Part("organ_lungs", _vec(a, 0, 0, 1.0), _vec(a, 0.86, 0.86, 0.62), level_db=5),
        Part("organ_heart", _vec(a, 0.12, 0.28, 0.88), _vec(a, 0.42, 0.38, 0.34), level_db=1, shell_db=10),
    ]
    for x, y in ((0.28, 0.38), (0.05, 0.44), (0.20, 0.12), (-0.03, 0.18)):  # ventricles and atria
        others.append(
            Part(f"organ_chamber_{x}", _vec(a, x, y, 0.88), _vec(a, 0.10, 0.12, 0.22), level_db=-28, warp=0.15)
        )
    for side in (-1, 1):
        centre = _vec(a, side * 0.42, -0.38, -0.78)
        others.append(Part("organ_kidney", centre, _vec(a, 0.22, 0.24, 0.30), level_db=-9, shell_db=5, warp=0.15))
        others.append(Part("organ_pelvis", centre, _vec(a, 0.06, 0.10, 0.16), level_db=-20))
        others.append(
            Part(
                "organ_ilium",
                _vec(a, side * 0.50, -0.15, -1.22),
                _vec(a, 0.05, 0.26, 0.14),
                rotation(2, side * 0.5),
                level_db=24,
                attenuation=2.0,
            )
        )
    others.append(
        Part(
            "organ_bladder",
            _vec(a, 0, 0.30, -1.18),
            _vec(a, 0.20, 0.16, 0.2),
            level_db=-34,
            warp=0.07,
            attenuation=-0.04,
        )
    )
    return stomach, vein, [hook, *others]


def _spine(a: float) -> list[Part]:
    """Vertebral body and two laminae: the three bright dots of an axial section, with shadow."""
    inf = np.inf
    parts = [Part("organ_aorta", _vec(a, 0.12, -0.40, 0), _vec(a, 0.055, 0.055, inf), level_db=-24, slab=1.3 * a)]
    for x, y, r in ((0.0, -0.62, 0.11), (-0.15, -0.80, 0.075), (0.15, -0.80, 0.075)):
        parts.append(
            Part(
                "organ_spine",
                _vec(a, x, y, 0),
                _vec(a, r, r * 0.8, inf),
                level_db=33,
                attenuation=0.9,
                slab=1.45 * a,
                stripe_mm=0.22 * a,
            )
        )
    return parts


def _head(a: float, rng: np.random.Generator) -> list[Part]:
    centre = _vec(a, 0, rng.uniform(0.1, 0.3), 2.55)
    turn = rotation(2, rng.uniform(-0.6, 0.6))
    semi = _vec(a, 0.88, 1.10, 0.95)
    inner = turn @ _vec(a, 0, 0.1, 0)
    return [
        Part("neck", _vec(a, 0, -0.05, 1.65), _vec(a, 0.42, 0.45, 0.55), level_db=1),
        Part(
            "head",
            centre,
            semi,
            turn,
            level_db=-9,
            shell_db=42,
            shell_mm=1.3,
            attenuation=1.5,
            shadow_shell=True,
        ),
        Part("falx", centre, semi * [0.012, 0.85, 0.7], turn, level_db=12),
        Part("ventricle", centre + turn @ _vec(a, 0.3, -0.3, 0), semi * [0.12, 0.3, 0.3], turn, level_db=-22),
        Part("thalami", centre + inner, semi * [0.25, 0.16, 0.2], turn, level_db=-14),
    ]


def _limb(start: np.ndarray, end: np.ndarray, a: float) -> list[Part]:
    """A soft capsule with a bright, shadowing bone along it."""
    axis = end - start
    length = float(np.linalg.norm(axis))
    direction = axis / length
    helper = np.eye(3)[int(np.argmin(np.abs(direction)))]
    second = np.cross(direction, helper)
    second /= np.linalg.norm(second)
    axes = np.stack([second, np.cross(direction, second), direction], axis=1)
    middle = (start + end) / 2
    return [
        Part(
            "limb", middle, np.array([0.21 * a, 0.21 * a, 0.62 * length]), axes, level_db=1, shell_db=15, warp=0.25
        ),
        Part("bone", middle, np.array([0.055 * a, 0.055 * a, 0.48 * length]), axes, level_db=35, attenuation=2.5),
    ]


def _limbs(a: float, rng: np.random.Generator) -> list[Part]:
    parts: list[Part] = []
    for side in (-1, 1):
        shake = lambda: rng.normal(0, 0.08 * a, 3)  # noqa: E731
        shoulder, elbow = _vec(a, side * 1.0, 0.1, 1.35), _vec(a, side * 0.95, 0.95, 1.0)
        hand = _vec(a, side * 0.3, 1.1, 1.75)
        hip, knee = _vec(a, side * 0.55, 0.1, -1.5), _vec(a, side * 0.65, 1.15, -0.95)
        foot = _vec(a, side * 0.2, 0.95, -1.9)
        for start, end in ((shoulder, elbow), (elbow, hand), (hip, knee), (knee, foot)):
            parts += _limb(start + shake(), end + shake(), a)
    return parts


def draw_fetus(rng: np.random.Generator) -> Fetus:
    """Draw a fetus: its AC from the real distribution, everything else in proportion."""
    ac_mm = draw_ac(rng)
    ratio = rng.uniform(0.88, 1.08)  # front-to-back over transverse diameter
    a = ac_mm / ellipse_circumference(1.0, 1.0)
    scale = ac_mm / ellipse_circumference(a, ratio * a)
    semi_x, semi_y = a * scale, a * scale * ratio
    trunk = Part(
        "trunk",
        np.zeros(3),
        np.array([semi_x, semi_y, 1.75 * a]),
        level_db=0.0,
        shell_db=27,
        shell_mm=1.1,
        attenuation=0.02,
    )
    stomach, vein, others = _organs(a, rng)
    ribs = Part(
        "organ_ribs",
        _vec(a, 0, 0, 0.95),
        np.array([semi_x * 0.90, semi_y * 0.90, 1.7 * a]) * [0.94, 0.94, 1],
        shell_db=26,
        shell_mm=0.9,
        slab=0.62 * a,
        stripe_mm=0.2 * a,
        attenuation=0.8,
        shadow_shell=True,
    )
    parts = (*_limbs(a, rng), *_head(a, rng), trunk, *others, vein, stomach, ribs, *_spine(a))
    return Fetus(ac_mm, a, trunk, stomach, vein, tuple(parts))
