"""Time of a frame change in the Slicer module, without Slicer's rendering.

    python benchmarks/slicer_frames.py [--frames 140] [--render]

A sweep of ACOUSLIC-AI's size (562 x 744) with a proposal on half of its frames and masks of a person on some, on
real MRML (slicer-core): volume, masks, ellipse, plot, decisions and journal, as the keys and the slider do it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPOSITORY / "slicer_module" / "FetalIQA"), str(REPOSITORY / "tests" / "slicer")]

from FetalIQALib.case_annotation import CaseAnnotation  # noqa: E402
from FetalIQALib.ellipse_measurement import Ellipse, Measurement  # noqa: E402
from FetalIQALib.frame_annotations import Proposal  # noqa: E402
from FetalIQALib.frame_masks import Mask  # noqa: E402
from FetalIQALib.image_files import FrameStack, Grid  # noqa: E402
from FetalIQALib.journal import Journals  # noqa: E402
from FetalIQALib.quality_strip import draw_strip  # noqa: E402
from FetalIQALib.sweep_data import Assessment, Sweep, find_padding  # noqa: E402
from FetalIQALib.sweep_scene import SweepScene  # noqa: E402
from FetalIQALib.workspace import Workspace  # noqa: E402
from slice_view import Mrml, SliceView  # noqa: E402

SHAPE = (562, 744)
SPACING = 0.28  # mm


def ellipse_of(frame: int) -> Ellipse:
    """The outline on a frame."""
    return Ellipse(300 + frame, 280, 150 + frame / 10, 120, 0.4)


def a_sweep(count: int) -> Sweep:
    """Noise with proposals that move and grow over the middle half."""
    frames = np.random.default_rng(0).integers(0, 200, (count, *SHAPE), dtype=np.uint8)
    grid = Grid((SHAPE[1], SHAPE[0], count), (SPACING, SPACING, 1), (0, 0, 0), (1, 0, 0, 0, 1, 0, 0, 0, 1))
    sweep = Sweep("benchmark", FrameStack(frames, grid, "0" * 64), find_padding(frames), np.ones(SHAPE, bool))
    masks = {frame: Mask.of(ellipse_of(frame).draw(SHAPE)) for frame in range(count // 4, 3 * count // 4)}
    proposals = {frame: Proposal(mask, "benchmark") for frame, mask in masks.items() if mask is not None}
    quality = np.array([0.8 if frame in proposals else 0.02 for frame in range(count)])
    assessed = Assessment(
        quality=quality,
        circumference_mm=np.where(quality > 0.5, 240.0, np.nan),
        ranges=((0, count),),
        best=count // 2,
        reason="",
        ranking=(count // 2,),
        proposals=proposals,
        spacing_mm=(SPACING, SPACING),
        model="benchmark",
        measured={frame: Measurement(ellipse_of(frame), 240.0) for frame in proposals},
    )
    return replace(sweep, assessment=assessed)


def report(what: str, seconds: list[float]) -> None:
    """Print median, 95th percentile and largest of some times."""
    values = np.array(seconds) * 1000
    median, high, last = np.median(values), np.percentile(values, 95), values.max()
    print(f"{what:34} median {median:6.1f} ms   95 % {high:6.1f}   max {last:6.1f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, default=140)
    parser.add_argument("--render", action="store_true", help="also draw the slice view (in software here)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(options.frames, options.render, Path(folder))


def measure(count: int, render: bool, folder: Path) -> None:
    """Walk through all frames twice: the second time every measurement is known."""
    mrml, workspace = Mrml(), Workspace(folder)
    workspace.journals = Journals(folder, "http://none")
    scene = SweepScene(mrml.scene, mrml.sequences, workspace.controller)
    controller = workspace.controller
    controller.annotation = CaseAnnotation(a_sweep(count), "anna")
    started = time.perf_counter()
    workspace.session.notify("case")
    print(f"{count} frames of {SHAPE[0]} x {SHAPE[1]} put into the scene in {time.perf_counter() - started:.2f} s")
    view = SliceView(mrml, (SHAPE[1], SHAPE[0])) if render else None
    if view is not None:
        view.show(scene.frames.volume)
    for frame in range(count // 4, 3 * count // 4, 5):
        controller.go_to(frame)
        controller.apply("accept", lambda annotation, frame=frame: annotation.accept(frame))
    for name in ("frame change, first time", "frame change, again"):
        times, drawn = [], []
        for frame in range(count):
            started = time.perf_counter()
            controller.go_to(frame)
            times.append(time.perf_counter() - started)
            if view is not None:
                started = time.perf_counter()
                view.window.Render()
                drawn.append(time.perf_counter() - started)
        report(name, times)
        if drawn:
            report("  drawing it (software renderer)", drawn)
    times = []
    for _ in range(50):
        started = time.perf_counter()
        draw_strip(controller.annotation, controller.position, 400)
        times.append(time.perf_counter() - started)
    report("quality strip", times)
    times = []
    for frame in range(count // 4, 3 * count // 4):
        controller.go_to(frame)
        started = time.perf_counter()
        controller.apply("accept", lambda annotation, frame=frame: annotation.accept(frame))
        times.append(time.perf_counter() - started)
    report("one decision, kept on the disk", times)


if __name__ == "__main__":
    main()
