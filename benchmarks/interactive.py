"""Measures the interactive model: clicks needed, clicks followed, masks carried along, and time per click.

    python benchmarks/interactive.py FOLDER --json figures.json --pictures pictures
    python benchmarks/interactive.py FOLDER --model runs/bundle --only clicks --heads 30

FOLDER holds the public sets that ``fetaliqa/lab/stills/still_sources.py`` names. Which images are held out, and
who outlined them: docs/interactive.md. The convention of NoC@90: ``fetaliqa/lab/interactive/click_evaluation.py``.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from fetaliqa.inference.interactive_segmentation import InteractiveSegmenter, Prompts
from fetaliqa.inference.propagation import StopRule
from fetaliqa.lab.interactive.click_evaluation import (
    Clicked,
    answerer_of,
    clicks_to_goal,
    iou,
    region_growing,
    summary,
)
from fetaliqa.lab.interactive.interactive_data import held_out_abdomens, held_out_heads, unseen_planes
from fetaliqa.lab.interactive.propagation_evaluation import carried_runs, figures
from fetaliqa.lab.interactive.synthetic_objects import grey_region, with_lesion
from fetaliqa.lab.phantom.phantom_seeds import PHANTOM, TEST, VALIDATION
from fetaliqa.lab.stills.still_catalogue import read_catalogue
from fetaliqa.lab.stills.still_image import Still, read_grey
from fetaliqa.lab.stills.still_samples import native_mask
from fetaliqa.measure import main_component
from fetaliqa.measure.square_grid import SquareGrid
from fetaliqa.model import Bundle, normalise
from fetaliqa.model.interactive_bundle import InteractiveBundle, with_metrics
from fetaliqa.model.user_folders import interactive_folder, shipped_folder

MULTIPLIERS = (1.5, 2.0, 2.5)  # of region growing; the best one on the test images is reported
GROWN_EVERY = 6  # images between two that regions are grown on: it takes seconds
SIDE = 400  # pixels of unseen planes, on which objects are made
THRESHOLDS = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9)  # of the stop rule, on validation phantoms
TIMED = 30  # clicks


def automatic(anatomy: str) -> Any:
    """The automatic outline of an image by the bundle that ships for an anatomy: uint8 [H, W]."""
    bundle = Bundle.open(shipped_folder(anatomy))
    model = bundle.load_model()

    @torch.inference_mode()
    def outline(image: np.ndarray) -> np.ndarray:
        grid = SquareGrid(*image.shape)
        probabilities = torch.sigmoid(model(normalise(grid.to_square(image[None])))[:, 0].float())
        mask = grid.masks_to_native(probabilities, bundle.card.threshold.probability)[0]
        found = main_component(mask)
        return np.zeros(image.shape, np.uint8) if found is None else found.astype(np.uint8)

    return outline


def click_figures(segmenter: InteractiveSegmenter, stills: Sequence[Still], anatomy: Any) -> dict[str, Any]:
    """Clicks needed on stills: from nothing, from the automatic outline, and by region growing."""
    outline = automatic(anatomy)
    nothing, started, alone = [], [], []
    grown: dict[float, list[Clicked]] = {one: [] for one in MULTIPLIERS}
    for number, still in enumerate(stills):
        image, truth = read_grey(still.file), native_mask(still, anatomy)
        answerer = answerer_of(segmenter, image)
        first = outline(image)
        nothing.append(clicks_to_goal(still.name, truth, answerer))
        started.append(clicks_to_goal(still.name, truth, answerer, first))
        alone.append(iou(first, truth))
        for multiplier in MULTIPLIERS if number % GROWN_EVERY == 0 else ():
            grown[multiplier].append(clicks_to_goal(still.name, truth, region_growing(image, multiplier), most=20))
    best = min(MULTIPLIERS, key=lambda one: float(np.mean([each.needed for each in grown[one]])))
    return {
        "from_nothing": summary(nothing),
        "from_automatic_outline": summary(started),
        "automatic_outline_alone": {
            "iou_mean": round(float(np.mean(alone)), 4),
            "share_at_90": round(float(np.mean([one >= 0.9 for one in alone])), 4),
        },
        "region_growing": {"multiplier": best, **summary(grown[best])},
        "slowest": sorted(((one.needed, one.name) for one in nothing), reverse=True)[:5],
    }


def shrunk(image: np.ndarray) -> np.ndarray:
    """The image with a longer side of ``SIDE`` pixels, in a square."""
    scale = SIDE / max(image.shape)
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    square = np.zeros((SIDE, SIDE), np.uint8)
    square[: small.shape[0], : small.shape[1]] = small
    return square


def unseen_figures(bundle: InteractiveBundle, stills: Sequence[Still], folder: Path | None) -> dict[str, Any]:
    """Clicks on femur planes; ``network_obeyed`` is the share that the network follows by itself."""
    report = _unseen(InteractiveSegmenter(bundle), stills, folder)
    alone = _unseen(InteractiveSegmenter(bundle, heed=False), stills, None)
    return {kind: {**found, "network_obeyed": alone[kind]["obeyed"]} for kind, found in report.items()}


def _unseen(segmenter: InteractiveSegmenter, stills: Sequence[Still], folder: Path | None) -> dict[str, Any]:
    """Clicks on soft tissue of like grey, and on lesions painted into it."""
    results: dict[str, list[Clicked]] = {"soft tissue": [], "painted lesion": []}
    pictures = []
    for number, still in enumerate(stills):
        rng = np.random.default_rng([77, number])
        image = shrunk(read_grey(still.file))
        region = grey_region(image, rng)
        painted = with_lesion(image, rng)
        for kind, pixels, truth in (("soft tissue", image, region), ("painted lesion", *painted)):
            if truth is None or not truth.any():
                continue
            result = clicks_to_goal(still.name, truth, answerer_of(segmenter, pixels), most=10, keep=True)
            results[kind].append(result)
            if number < 4:
                pictures.append(pictured(pixels, truth, result))
    if folder is not None and pictures:
        cv2.imwrite(str(folder / "unseen.png"), np.vstack(pictures))
    return {kind: summary(some) for kind, some in results.items()}


def pictured(image: np.ndarray, truth: np.ndarray, result: Clicked, shown: int = 4) -> np.ndarray:
    """A row of pictures: truth (blue), the answers to the first clicks (green), clicks (green and red dots)."""
    tiles = [overlaid(image, truth, (255, 160, 60), [])]
    for count in range(1, shown + 1):
        mask = result.masks[min(count, len(result.masks)) - 1] if result.masks else np.zeros_like(truth)
        tiles.append(overlaid(image, mask, (80, 255, 80), result.clicks[:count]))
    return np.hstack(tiles)


def overlaid(
    image: np.ndarray, mask: np.ndarray, colour: tuple[int, int, int], clicks: Sequence[Any]
) -> np.ndarray:
    """An image with a mask's outline and clicks, 240 pixels high."""
    picture = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    outlines, _ = cv2.findContours(mask, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, outlines, -1, colour, max(1, max(image.shape) // 240))
    for kind, (column, row) in clicks:
        dot = (80, 255, 80) if kind == "foreground" else (60, 60, 255)
        cv2.circle(picture, (round(column), round(row)), max(3, max(image.shape) // 80), dot, cv2.FILLED)
    scale = 240 / picture.shape[0]
    return cv2.resize(picture, (240, 240) if image.shape[0] == image.shape[1] else None, fx=scale, fy=scale)


def still_pictures(segmenter: InteractiveSegmenter, stills: Sequence[Still], anatomy: Any, file: Path) -> None:
    """A picture of the first clicks on some stills."""
    rows = []
    for still in stills[:4]:
        image, truth = read_grey(still.file), native_mask(still, anatomy)
        side = max(image.shape)
        padding = ((0, side - image.shape[0]), (0, side - image.shape[1]))
        image, truth = np.pad(image, padding), np.pad(truth, padding)
        rows.append(
            pictured(image, truth, clicks_to_goal(still.name, truth, answerer_of(segmenter, image), keep=True))
        )
    cv2.imwrite(str(file), np.vstack(rows))


def carried_figures(segmenter: InteractiveSegmenter, cases: int, validation: int) -> dict[str, Any]:
    """Masks carried along phantom sweeps: thresholds on validation cases, the default rule on others."""
    chosen = list(carried_runs(segmenter, range(VALIDATION, VALIDATION + validation), PHANTOM))
    tested = list(carried_runs(segmenter, range(TEST, TEST + cases), PHANTOM))
    return {
        "validation": {str(one): figures(chosen, StopRule(least_dice=one)) for one in THRESHOLDS},
        "test": {"rule": StopRule().__dict__, **figures(tested, StopRule())},
        "test_without_rule": figures(tested, StopRule(0.0, 0.0, 1e9, 1e9)),
    }


def time_figures(segmenter: InteractiveSegmenter) -> dict[str, Any]:
    """Milliseconds of encoding a frame of ACOUSLIC-AI's size and of answering a click on it."""
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 255, (562, 744), dtype=np.uint8)
    encodings, clicks = [], []
    for _ in range(TIMED):
        start = time.perf_counter()
        encoded = segmenter.encode(frame)
        encodings.append(time.perf_counter() - start)
        start = time.perf_counter()
        segmenter.segment(encoded, Prompts(foreground=((300, 300),), background=((10, 10),)))
        clicks.append(time.perf_counter() - start)
    return {
        "machine": f"{platform.machine()}, {torch.get_num_threads()} threads",
        "encode_ms_median": round(1000 * float(np.median(encodings)), 1),
        "click_ms_median": round(1000 * float(np.median(clicks)), 1),
        "click_ms_95": round(1000 * float(np.percentile(clicks, 95)), 1),
    }


def card_figures(report: dict[str, Any]) -> dict[str, Any]:
    """The main figures, for the card."""
    sets = [name for name in ("heads", "african abdomens", "spanish abdomens") if name in report]
    metrics: dict[str, Any] = {"set": "images held out and phantom cases that did not train: docs/interactive.md"}
    for name in sets:
        metrics[name] = {
            start: {
                key: report[name][start][key] for key in ("images", "clicks_to_90", "iou_after_1", "not_reached")
            }
            for start in ("from_nothing", "from_automatic_outline")
        }
    if "carried" in report:
        metrics["carried along phantom sweeps"] = report["carried"]["test"]
    return metrics


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", type=Path, help="bundle (default: the one that ships)")
    parser.add_argument("--only", nargs="+", choices=["clicks", "unseen", "carried", "time"])
    parser.add_argument("--heads", type=int, default=1000, help="most heads to measure on")
    parser.add_argument("--cases", type=int, default=8, help="phantom cases to test on")
    parser.add_argument("--validation", type=int, default=4, help="phantom cases for the stop rule's threshold")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--pictures", type=Path, help="write pictures to this folder")
    parser.add_argument("--card", action="store_true", help="write the main figures into the bundle's card")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(1)
    if args.pictures:
        args.pictures.mkdir(parents=True, exist_ok=True)
    parts = args.only or ["clicks", "unseen", "carried", "time"]
    segmenter = InteractiveSegmenter(InteractiveBundle.open(args.model or interactive_folder()))
    report: dict[str, Any] = {"model": segmenter.bundle.reference}
    if "time" in parts:
        report["time"] = time_figures(segmenter)
    if "clicks" in parts or "unseen" in parts:
        stills = read_catalogue(args.folder)
    if "clicks" in parts:
        heads, abdomens = held_out_heads(stills)[: args.heads], held_out_abdomens(stills)
        report["heads"] = click_figures(segmenter, heads, "head")
        for source in ("african", "spanish"):
            some = [one for one in abdomens if one.source == source]
            report[f"{source} abdomens"] = click_figures(segmenter, some, "abdomen")
        if args.pictures:
            still_pictures(segmenter, heads, "head", args.pictures / "heads.png")
            still_pictures(segmenter, abdomens[::5], "abdomen", args.pictures / "abdomens.png")
    if "unseen" in parts:
        report["unseen"] = unseen_figures(segmenter.bundle, unseen_planes(stills), args.pictures)
    if "carried" in parts:
        report["carried"] = carried_figures(segmenter, args.cases, args.validation)
    print(json.dumps(report, indent=1))
    if args.card:
        with_metrics(segmenter.bundle, card_figures(report))
    if args.json:
        args.json.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
