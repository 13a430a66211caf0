"""A picture of one phantom case: frames along every sweep, annotated outlines in colour."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import SimpleITK as sitk

from fetaliqa.atomic import atomic_path
from fetaliqa.datasets.acouslic_layout import IMAGES, MANIFEST, MASKS
from fetaliqa.lab.phantom.phantom_truth import OPTIMAL

TILE = (248, 187)  # pixels, a third of a full-size frame
EVENLY = 5  # frames shown along each sweep, besides its best one
COLOURS = {OPTIMAL: (90, 220, 90), 2: (60, 190, 250)}  # BGR: green optimal, amber suboptimal


def _tile(frame: np.ndarray, mask: np.ndarray, caption: str) -> np.ndarray:
    tile = cv2.cvtColor(cv2.resize(frame, TILE, interpolation=cv2.INTER_AREA), cv2.COLOR_GRAY2BGR)
    if mask.any():
        small = cv2.resize((mask > 0).astype(np.uint8), TILE, interpolation=cv2.INTER_NEAREST)
        outline, _ = cv2.findContours(small, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(tile, outline, -1, COLOURS[int(mask.max())], 1, cv2.LINE_AA)
    cv2.putText(tile, caption, (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (190, 190, 190), 1, cv2.LINE_AA)
    return tile


def case_picture(frames: np.ndarray, masks: np.ndarray, sweeps: list[dict]) -> np.ndarray:
    """Draw a case.

    Args:
        frames, masks: uint8 [T, rows, columns].
        sweeps: the "sweeps" list of the case's truth.

    Returns:
        uint8 [height, width, 3] BGR, one row of tiles per sweep; the last tile is the sweep's best frame.
    """
    rows = []
    for sweep in sweeps:
        shown = [sweep["start"] + round((k + 0.5) / EVENLY * sweep["length"]) for k in range(EVENLY)]
        tiles = [_tile(frames[f], masks[f], f"sweep {sweep['sweep']}  frame {f}") for f in shown]
        best = sweep["best_frame"]
        if best is None:
            tiles.append(np.zeros_like(tiles[0]))
        else:
            tiles.append(_tile(frames[best], masks[best], f"best {best}  AC {sweep['ac_mm']:.0f} mm"))
        rows.append(np.hstack(tiles))
    return np.vstack(rows)


def write_preview(directory: Path, target: Path) -> None:
    """Write a picture of the first case of a phantom folder as PNG."""
    entry = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))["cases"][0]
    name = f"{entry['case_id']}.mha"
    frames = sitk.GetArrayFromImage(sitk.ReadImage(str(directory / IMAGES / name)))
    masks = sitk.GetArrayFromImage(sitk.ReadImage(str(directory / MASKS / name)))
    encoded = cv2.imencode(".png", case_picture(frames, masks, entry["truth"]["sweeps"]))[1]
    with atomic_path(Path(target)) as temporary:
        temporary.write_bytes(encoded.tobytes())
