"""Accuracy of the femur model on real still images that it was not trained on.

Writes a JSON file and pictures of all lines (of images of several licences: for looking at, not for publishing).

    python benchmarks/femurs.py FOLDER --out femurs [--model femur]

FOLDER holds the public sets that ``fetaliqa/lab/stills/still_sources.py`` names; any of them may be missing.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import cv2
from tqdm import tqdm

from fetaliqa.inference import Predictor
from fetaliqa.lab.femur_evaluation import FemurOutcome, femur_figures, femur_outcome, femur_overlays
from fetaliqa.lab.stills.shipped_split import held_out
from fetaliqa.lab.stills.still_catalogue import read_catalogue
from fetaliqa.lab.stills.still_image import Still
from fetaliqa.measure import Line
from fetaliqa.model import Bundle
from fetaliqa.registry.model_store import resolve_bundle

NEGATIVES = ("abdomen", "thorax", "brain", "head", "other")


def reference_of(still: Still) -> Line | None:
    """This project's line, or the one through an expert's calipers."""
    return still.caliper_line if still.source == "spanish" else still.line


def measured(predictor: Predictor, stills: list[Still], name: str, out: Path) -> list[FemurOutcome]:
    """Assess images with a reference line, and write their overlays."""
    references = [reference_of(one) for one in stills]
    bar = tqdm(stills, desc=name, leave=False)
    outcomes = [femur_outcome(predictor, one, line) for one, line in zip(bar, references)]
    if outcomes:
        cv2.imwrite(str(out / f"{name}.png"), femur_overlays(outcomes, references))
    return outcomes


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="femur", help="bundle (default: femur)")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    stills = held_out(read_catalogue(args.folder), "femur")
    predictor = Predictor(Bundle.open(resolve_bundle(args.model)), "cpu")
    figures: dict[str, Any] = {}
    lined = [one for one in stills if one.plane == "femur" and reference_of(one) is not None]
    groups = {
        "african without marks": [one for one in lined if one.source == "african" and not one.burned_in],
        "african with marks": [one for one in lined if one.source == "african" and one.burned_in],
        "spanish calipers": [one for one in lined if one.source == "spanish"],
    }
    for name, group in groups.items():
        outcomes = measured(predictor, group, name.replace(" ", "-"), args.out)
        figures[name] = femur_figures(outcomes)
        if name == "african without marks":
            clear = [one for one in outcomes if one.still.confidence != "doubtful"]
            figures[f"{name}, not doubtful"] = femur_figures(clear)
    for plane in NEGATIVES:
        group = [one for one in stills if one.plane == plane]
        outcomes = measured(predictor, group, f"negatives-{plane}", args.out)
        called = [one.still.name for one in outcomes if one.positive]
        figures[f"negatives: {plane}"] = {"images": len(group), "called_femur": len(called), "which": called}
    (args.out / "femurs.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
