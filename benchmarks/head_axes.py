"""BPD and OFD of the head model's ellipse against experts' calipers on Spanish brain planes.

    python benchmarks/head_axes.py FOLDER [--json]

FOLDER holds images of FETAL_PLANES_DB (CC BY 4.0) and ``FP_Head_rows_original.csv`` of "Multicentre fetal
biometry" (CC BY-NC-SA 4.0: calipers measure and never train). Pixel sizes are that table's; relative errors do not
depend on them. A caliper of less than 20 pixels is an error of the table and is left out. Not for clinical use.
"""

from __future__ import annotations

import argparse
import csv
import json
from pathlib import Path

import numpy as np
import torch

from fetaliqa.inference import Predictor, assess
from fetaliqa.lab.stills.still_image import read_grey
from fetaliqa.model import Bundle
from fetaliqa.registry.model_store import resolve_bundle
from fetaliqa.sweep import sweep_from_array

TABLE = "FP_Head_rows_original.csv"
LEAST_PX = 20.0


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    predictor = Predictor(Bundle.open(resolve_bundle("head")), "cpu")
    found, left_out = [], []
    with open(args.folder / TABLE, newline="", encoding="utf-8") as stream:
        for row in csv.DictReader(stream):
            file = args.folder / row["image_name"]
            if not file.is_file():
                continue
            calipers = {name: caliper_px(row, name) for name in ("bpd", "ofd")}
            pixel_mm = float(row["px_to_mm_rate"])
            if min(calipers.values()) < LEAST_PX:
                left_out.append(file.stem)
                continue
            sweep = sweep_from_array(read_grey(file)[None], (pixel_mm, pixel_mm), case_id=file.stem)
            frame = assess(sweep, predictor).record["frames"][0]
            for name, pixels in calipers.items():
                value = frame.get(f"{name}_mm")
                found.append((name, file.stem, pixels * pixel_mm, value))
    figures = {name: errors([one for one in found if one[0] == name]) for name in ("bpd", "ofd")}
    figures["left_out"] = left_out
    if args.json:
        print(json.dumps({**figures, "each": found}, indent=2))
        return
    for name in ("bpd", "ofd"):
        print(name.upper(), figures[name])
    print(f"calipers of less than {LEAST_PX:g} pixels, left out: {', '.join(left_out) or 'none'}")


def caliper_px(row: dict[str, str], name: str) -> float:
    """Distance of a caliper's ends in pixels."""
    ends = [np.array([float(row[f"{name}_{end}_{axis}"]) for axis in "xy"]) for end in (1, 2)]
    return float(np.linalg.norm(ends[0] - ends[1]))


def errors(rows: list[tuple[str, str, float, float | None]]) -> dict[str, float | int]:
    """Errors of the ellipse's axis against the calipers."""
    pairs = [(caliper, value) for _, _, caliper, value in rows if value is not None]
    relative = np.array([value / caliper - 1 for caliper, value in pairs])
    absolute = np.array([value - caliper for caliper, value in pairs])
    return {
        "images": len(rows),
        "measured": len(pairs),
        "mean_error": round(float(relative.mean()), 4),
        "median_error": round(float(np.median(relative)), 4),
        "mean_absolute_error": round(float(np.abs(relative).mean()), 4),
        "mean_absolute_error_mm": round(float(np.abs(absolute).mean()), 2),
        "largest": round(float(np.abs(relative).max()), 4),
    }


if __name__ == "__main__":
    main()
