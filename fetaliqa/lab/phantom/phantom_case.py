"""Generation of one seeded phantom case, rendered or as labels only."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from fetaliqa.lab.phantom.phantom_planning import CasePlan, plan_case
from fetaliqa.lab.phantom.phantom_settings import VERSION, PhantomCase, PhantomSettings
from fetaliqa.lab.phantom.phantom_truth import OPTIMAL, SUBOPTIMAL, masks_of
from fetaliqa.lab.phantom.speckle import Imager, draw_machine, texture_volumes
from fetaliqa.lab.phantom.tissue import Scene, draw_uterus

_PLAN, _LOOK, _SWEEP, _NAME = range(4)  # independent random streams of a case


def _stream(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence([VERSION, seed, *key]))


def draw_plan(seed: int, settings: PhantomSettings | None = None) -> CasePlan:
    """The plan (geometry and labels) of a case, without rendering; about 20 ms."""
    return plan_case(_stream(seed, _PLAN), settings or PhantomSettings())


def frame_ranges(labels: np.ndarray, wanted: int, start: int = 0) -> list[list[int]]:
    """Half-open ranges [first, stop) of frames labelled ``wanted``, shifted by ``start``."""
    flags = np.concatenate([[0], (labels == wanted).astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(flags)) + start
    return [[int(a), int(b)] for a, b in zip(edges[::2], edges[1::2])]


def describe(plan: CasePlan, settings: PhantomSettings) -> dict:
    """The parameters that the labels of a case were derived from, as JSON values."""
    sweeps = []
    for index, (sweep, truth) in enumerate(zip(plan.sweeps, plan.truths)):
        start = index * settings.slots
        sweeps.append(
            {
                "sweep": index + 1,
                "start": start,
                "length": sweep.length,
                "optimal": frame_ranges(truth.grade, OPTIMAL, start),
                "suboptimal": frame_ranges(truth.grade, SUBOPTIMAL, start),
                "best_frame": None if truth.best is None else start + truth.best,
                "ac_mm": truth.ac_mm,
                "tilt_deg": round(float(np.degrees(np.median(truth.tilt))), 2),
            }
        )
    return {"target_ac_mm": plan.fetus.ac_mm, "cephalic": plan.cephalic, "sweeps": sweeps}


class CaseRenderer:
    """Renders all or some frames of one seeded case.

    Args:
        seed: non-negative.
        settings: scale and layout.
    """

    def __init__(self, seed: int, settings: PhantomSettings) -> None:
        self.plan = draw_plan(seed, settings)
        self._seed, self._sector = seed, settings.sector
        look = _stream(seed, _LOOK)
        self._machine = draw_machine(look)
        self._uterus = draw_uterus(look, self.plan.fetus)
        self._volumes = texture_volumes(look)

    def render(self, sweep: int, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pictures and masks of some frames of a sweep.

        Speckle is drawn in the order of ``frames``, so a subset shows the same anatomy and gain as the whole
        sweep under other speckle.

        Args:
            sweep: 0-based sweep number.
            frames: frame numbers within the sweep, int [N].

        Returns:
            uint8 [N, rows, columns] pictures, and masks of the same shape (0, 1 optimal, 2 suboptimal).
        """
        path, truth = self.plan.sweeps[sweep], self.plan.truths[sweep]
        imager = Imager(_stream(self._seed, _SWEEP, sweep), path, self._machine, self._volumes, self._sector)
        scene = Scene(path, truth, self.plan.fetus, self._uterus, self._sector)
        pictures = np.zeros((len(frames), *self._sector.shape), np.uint8)
        masks = np.zeros_like(pictures)
        outlined = masks_of(path, self.plan.fetus, truth, self._sector)
        for position, frame in enumerate(int(number) for number in frames):
            texture = imager.texture(frame)
            level, loss = scene.paint(frame, imager.tissue, texture[1])
            pictures[position] = imager.form(frame, level, loss, texture)
            if frame in outlined:
                masks[position] = outlined[frame]
        return pictures, masks


def generate_case(seed: int, settings: PhantomSettings | None = None, *, threads: int = 1) -> PhantomCase:
    """Generate one case.

    The result depends on ``seed`` and ``settings`` only, bit for bit, whatever ``threads`` is (sweeps have
    random streams of their own). On another kind of processor single grey levels may differ by rounding.

    Args:
        seed: non-negative.
        settings: scale and layout; defaults to six sweeps of 140 slots at half scale.
        threads: sweeps rendered at the same time.
    """
    settings = settings or PhantomSettings()
    renderer = CaseRenderer(seed, settings)
    plan, sector = renderer.plan, settings.sector
    shape = (settings.frame_count, *sector.shape)
    frames, masks = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)

    def render(index: int) -> None:
        start, length = index * settings.slots, plan.sweeps[index].length
        frames[start : start + length], masks[start : start + length] = renderer.render(index, np.arange(length))

    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(render, range(settings.sweeps)))
    else:
        for index in range(settings.sweeps):
            render(index)
    return PhantomCase(
        case_id=str(uuid.UUID(bytes=_stream(seed, _NAME).bytes(16), version=4)),
        subject_id=f"{seed % 1000:03d}",
        frames=frames,
        masks=masks,
        ac_mm=tuple(truth.ac_mm for truth in plan.truths),
        spacing_mm=(sector.spacing_mm, sector.spacing_mm),
        sweep_lengths=tuple(sweep.length for sweep in plan.sweeps),
        truth=describe(plan, settings),
    )
