"""Random plan of a phantom case: fetus, annotated sweeps, and poses that produce them.

The label pattern is drawn first, from the counts of the 300 real cases; each sweep is then posed at random
until its true anatomy gives that pattern, without frames a reader could argue about (an organ half out of
the sector or half in a dropout, a plane between axial and oblique).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fetaliqa.lab.phantom.fetus import AC_MAX_MM, AC_MIN_MM, Fetus, draw_fetus
from fetaliqa.lab.phantom.phantom_settings import SWEEP_COUNT, SWEEP_SLOTS, PhantomSettings
from fetaliqa.lab.phantom.phantom_truth import SweepTruth, sweep_truth
from fetaliqa.lab.phantom.probe_path import (
    TRANSVERSE_SWEEPS,
    ContactLoss,
    SweepPlan,
    fetal_rotation,
    probe_path,
)

# ACOUSLIC-AI training set, 300 cases: with an AC in 1, 2, 3, 4 sweeps
CASES_BY_AC_COUNT = (127, 108, 50, 15)
SWEEP_FRAMES = (100, 125)  # true frames of a sweep of 140 slots
CUT_SHARE = 0.6  # of the attempts at a labelled sweep; most of these fail, which leaves about an eighth
MAX_TRIES = 400


@dataclass(frozen=True)
class CasePlan:
    """A fetus, and per sweep its geometry and labels."""

    fetus: Fetus
    sweeps: tuple[SweepPlan, ...]
    truths: tuple[SweepTruth, ...]
    cephalic: bool


def draw_pattern(rng: np.random.Generator, sweeps: int) -> np.ndarray:
    """Which sweeps carry an AC, bool [sweeps], at least one."""
    weights = np.array(CASES_BY_AC_COUNT, float)
    count = min(int(rng.choice(4, p=weights / weights.sum())) + 1, sweeps)
    pattern = np.zeros(SWEEP_COUNT, bool)
    # drawn one by one without replacement, these odds give the real cases with an AC in sweep 1 to 6:
    # 237, 135, 90, 31, 47, 13 of 300
    odds = np.array([1.00, 0.32, 0.165, 0.065, 0.08, 0.027])[:sweeps]
    chosen = rng.choice(sweeps, size=count, replace=False, p=odds / odds.sum())
    pattern[chosen] = True
    return pattern[:sweeps]


@dataclass(frozen=True)
class _Lie:
    """How the fetus lies during one group of sweeps."""

    longitudinal: bool
    cephalic: bool
    roll: float
    depth_mm: float
    wall_mm: float


def _draw_losses(rng: np.random.Generator, length: int) -> list[ContactLoss]:
    """Short partial contact losses, mostly at the sector's sides."""
    losses = []
    for _ in range(rng.poisson(1.2)):
        start = int(rng.integers(0, length))
        side = rng.choice([-1.0, 1.0])
        width = np.radians(rng.uniform(6, 24))
        low, high = sorted((side * np.radians(31), side * (np.radians(31) - width)))
        losses.append(ContactLoss(start, start + int(rng.integers(4, 25)), low, high, float(rng.uniform(10, 35))))
    return losses


def _pose(
    rng: np.random.Generator, fetus: Fetus, sweep: int, lie: _Lie, settings: PhantomSettings, carries: bool
) -> SweepPlan:
    """One random attempt at a sweep that does (or does not) show the abdomen's standard plane."""
    stretch = settings.slots / SWEEP_SLOTS
    length = max(8, round(int(rng.integers(SWEEP_FRAMES[0], SWEEP_FRAMES[1] + 1)) * stretch))
    speed = float(np.clip(rng.lognormal(np.log(1.9), 0.32), 1.0, 4.0)) / stretch
    losses = _draw_losses(rng, length)
    side = (0.0, -1.0, 1.0)[sweep] if sweep < TRANSVERSE_SWEEPS else (-1.0, 0.0, 1.0)[sweep - 3]
    crossing = float(np.clip(rng.normal(54, 24), 4, 100)) * stretch
    aside = rng.normal(side * 12, 9)
    axial = lie.longitudinal == (sweep < TRANSVERSE_SWEEPS)
    tilt = abs(rng.normal(0, np.radians(9)))
    if axial and not carries:
        way = rng.choice(["elsewhere", "aside", "contact"], p=[0.4, 0.35, 0.25])
        if way == "elsewhere":  # the path ends before the abdomen, or starts after it
            crossing = rng.choice([-rng.uniform(12, 45), (length / stretch + rng.uniform(12, 45))]) * stretch
        elif way == "aside":
            aside = (side or rng.choice([-1.0, 1.0])) * rng.uniform(70, 120)
        else:
            reach = 0.85 * fetus.radius / speed
            losses.append(ContactLoss(int(crossing - reach), int(crossing + reach), -9, 9, 45.0))
    lean = float(np.clip(aside / 140, -0.6, 0.6))  # the probe points inwards
    if carries and rng.random() < CUT_SHARE:  # aside and pointing straight down: the sector cuts the outline
        aside = rng.choice([-1.0, 1.0]) * rng.uniform(0.5, 1.1) * fetus.radius
        lean = rng.normal(0, 0.06)
    if not axial:
        lean = 0.0
        aside = rng.normal(0, 30)
        tilt = abs(rng.normal(0, np.radians(14)))
    origin, lateral, depth = probe_path(
        rng,
        sweep,
        length,
        speed=speed,
        crossing=crossing,
        aside=aside,
        lean=lean,
    )
    pose = fetal_rotation(
        longitudinal=lie.longitudinal,
        cephalic=lie.cephalic,
        roll=lie.roll + rng.normal(0, 0.2),
        tilt=tilt,
        tilt_way=rng.uniform(0, 2 * np.pi),
    )
    centre = np.array([0.0, 0.0, lie.depth_mm + rng.normal(0, 2)])
    size = float(np.clip(rng.normal(1.0, 0.04), 0.90, 1.10))
    return SweepPlan(sweep, origin, lateral, depth, pose, centre, size, lie.wall_mm, tuple(losses))


def _draw_lies(rng: np.random.Generator, fetus: Fetus, pattern: np.ndarray) -> tuple[_Lie, _Lie]:
    """The lie during the transverse and during the sagittal sweeps; the fetus may move in between."""
    across = bool(pattern[TRANSVERSE_SWEEPS:].any())
    along = bool(pattern[:TRANSVERSE_SWEEPS].any())
    cephalic = bool(rng.random() < 0.72)
    wall = float(np.clip(rng.normal(19, 5), 10, 34))
    depth = wall + fetus.radius * 1.08 + abs(rng.normal(0, 9))
    # the fetal back never lies between probe and organs: such planes would not have been annotated
    roll = rng.uniform(-1.75, 1.75)
    first = _Lie(along, cephalic, roll, depth, wall)
    return first, _Lie(not across, cephalic, roll + rng.normal(0, 0.3), depth, wall)


def plan_case(rng: np.random.Generator, settings: PhantomSettings) -> CasePlan:
    """Draw a case without rendering it."""
    pattern = draw_pattern(rng, settings.sweeps)
    while True:
        fetus = draw_fetus(rng)
        lies = _draw_lies(rng, fetus, pattern)
        plans, truths = [], []
        for sweep, carries in enumerate(pattern):
            lie = lies[0] if sweep < TRANSVERSE_SWEEPS else lies[1]
            for _ in range(MAX_TRIES):
                plan = _pose(rng, fetus, sweep, lie, settings, bool(carries))
                truth = sweep_truth(plan, fetus)
                plausible = truth.ac_mm is None or AC_MIN_MM <= truth.ac_mm <= AC_MAX_MM
                if plausible and not truth.ambiguous.any() and bool(truth.grade.any()) == bool(carries):
                    plans.append(plan)
                    truths.append(truth)
                    break
            else:
                break  # this fetus cannot be posed so; draw another
        else:
            return CasePlan(fetus, tuple(plans), tuple(truths), lies[0].cephalic)
