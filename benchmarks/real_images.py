"""Accuracy of the shipped models on real still images that they were not trained on.

Writes a JSON file, a table and pictures of all outlines (the pictures show images of several licences and are for
looking at, not for publishing).

    python benchmarks/real_images.py FOLDER --out real-images [--abdomen abdomen] [--head head] [--views 4]

FOLDER holds the public sets that ``fetaliqa/lab/stills/still_sources.py`` names; any of them may be missing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
from tqdm import tqdm

from fetaliqa.inference import Predictor
from fetaliqa.lab.real_image_evaluation import (
    Outcome,
    area_under_curve,
    negative_figures,
    outcome,
    outline_figures,
    overlays,
    rank_correlation,
)
from fetaliqa.lab.stills.shipped_split import held_out
from fetaliqa.lab.stills.still_catalogue import read_catalogue
from fetaliqa.lab.stills.still_image import Still
from fetaliqa.model import Bundle
from fetaliqa.registry.model_store import resolve_bundle

Group = Callable[[Still], bool]
ABDOMENS: dict[str, tuple[Group, bool]] = {
    "African abdomens without burned-in marks": (
        lambda one: one.source == "african" and one.plane == "abdomen" and not one.burned_in,
        False,
    ),
    "African abdomens with burned-in marks": (
        lambda one: one.source == "african" and one.plane == "abdomen" and one.burned_in,
        False,
    ),
    "Spanish abdomens, ellipse through the calipers": (
        lambda one: one.source == "spanish" and one.plane == "abdomen",
        True,
    ),
    "ACOUSLIC-AI frames": (lambda one: one.source == "acouslic" and one.mask_file is not None, False),
}
# of FETAL_PLANES_DB's other planes at hand, those of neck vessels by a linear probe; some others show a trunk
NECK_VESSELS = ("Patient00004", "Patient00019", "Patient00023", "Patient00032", "Patient00041")
NEGATIVES: dict[str, Group] = {
    "femur, brain, neck vessels": lambda one: one.plane in ("femur", "brain") or is_neck(one),
    "thorax": lambda one: one.plane == "thorax",
    "head (HC18)": lambda one: one.plane == "head",
}


def is_neck(still: Still) -> bool:
    """Whether an image shows neck vessels, no fetus."""
    return still.plane == "other" and still.name.startswith(NECK_VESSELS)


def run(predictor: Predictor, stills: list[Still], name: str, calipers: bool = False) -> list[Outcome]:
    """Assess images, with a progress bar."""
    return [outcome(predictor, one, calipers=calipers) for one in tqdm(stills, desc=name, leave=False)]


def keep(out: Path, name: str, outcomes: list[Outcome]) -> None:
    """Write the overlays of a group."""
    if outcomes:
        file = out / f"{name.replace(' ', '-').replace(',', '').lower()}.png"
        cv2.imwrite(str(file), overlays(outcomes))


def abdomens(predictor: Predictor, stills: list[Still], out: Path) -> dict[str, Any]:
    """Figures of the abdomen model."""
    figures: dict[str, Any] = {}
    outlined: list[Outcome] = []
    everything: list[Outcome] = []
    for name, (belongs, calipers) in ABDOMENS.items():
        outcomes = run(predictor, [one for one in stills if belongs(one)], name, calipers)
        keep(out, name, outcomes)
        figures[name] = outline_figures(outcomes)
        if name.startswith("ACOUSLIC"):
            figures[name]["each"] = {one.still.name: round(one.dice or 0.0, 4) for one in outcomes}
        else:
            outlined += outcomes
        everything += outcomes
    for name, belongs in NEGATIVES.items():
        outcomes = run(predictor, [one for one in stills if belongs(one)], name)
        keep(out, f"negatives {name}", [one for one in outcomes if one.positive])
        figures[f"negatives: {name}"] = negative_figures(outcomes)
        everything += outcomes
    far = [one.distance for one in everything if is_neck(one.still) and one.distance is not None]
    near = [one.distance for one in everything if one.still.plane != "other" and one.distance is not None]
    figures["out of distribution: neck vessels against fetal planes"] = {
        "images": [len(far), len(near)],
        "auroc": area_under_curve(near, far),
    }
    figures["expected against true Dice, rank correlation"] = rank_correlation(outlined)
    return figures


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--abdomen", default="abdomen", help="bundle (default: abdomen)")
    parser.add_argument("--head", default="head", help="bundle (default: head)")
    parser.add_argument("--views", type=int, default=1, help="views of an image that are averaged: 1, 2 or 4")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    stills = read_catalogue(args.folder)
    figures: dict[str, Any] = {"views": args.views}
    if args.abdomen != "none":
        predictor = Predictor(Bundle.open(resolve_bundle(args.abdomen)), "cpu", views=args.views)
        figures["abdomen"] = abdomens(predictor, held_out(stills, "abdomen"), args.out)
    if args.head != "none":
        predictor = Predictor(Bundle.open(resolve_bundle(args.head)), "cpu", views=args.views)
        heads = [one for one in held_out(stills, "head") if one.plane == "head"]
        outcomes = run(predictor, heads, "heads")
        keep(args.out, "heads worst", sorted(outcomes, key=lambda one: one.dice or 0.0)[:36])
        figures["head"] = {
            "HC18 heads": outline_figures(outcomes),
            "expected against true Dice, rank correlation": rank_correlation(outcomes),
        }
    (args.out / "real-images.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
