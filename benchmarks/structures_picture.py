"""Picture of what the measure after FUIQA finds on real planes: abdomen, stomach bubble, umbilical vein.

    python benchmarks/structures_picture.py FOLDER --network WORK/measures/fuiqa-KEY.safetensors --out PICTURE

FOLDER holds the public sets that ``fetaliqa/lab/stills/still_sources.py`` names; ``fetaliqa experiment
structures`` trains the network. Takes every n-th African and Spanish plane (CC BY 4.0), no choice by result;
writes the scores to standard output.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np

from fetaliqa.lab.image_quality.frame_sample import INPUT_COLUMNS, INPUT_ROWS, fitted
from fetaliqa.lab.image_quality.measure_scores import bounding_box
from fetaliqa.lab.image_quality.structure_network import PlaneStructures, StructureNetwork, plane_structures
from fetaliqa.lab.image_quality.trained_measures import read_structure_network
from fetaliqa.lab.stills.burned_in_marks import without_marks
from fetaliqa.lab.stills.still_catalogue import read_catalogue
from fetaliqa.lab.stills.still_image import Still, read_grey
from fetaliqa.measure.field_of_view import field_of_view

COLOURS = ((80, 220, 80), (60, 60, 255), (255, 160, 0))  # BGR: abdomen, stomach, vein
CHOSEN = (("african", "abdomen", 8), ("spanish", "abdomen", 6), ("african", "thorax", 3), ("african", "femur", 3))
COLUMNS, SCALE, GAP = 5, 1.5, 4  # tiles in a row; enlargement of the network's input; pixels between tiles


def evenly(stills: list[Still], count: int) -> list[Still]:
    """``count`` images, evenly spaced."""
    return [
        stills[place] for place in np.linspace(0, len(stills) - 1, min(count, len(stills))).round().astype(int)
    ]


def tile(still: Still, network: StructureNetwork) -> tuple[np.ndarray, PlaneStructures]:
    """The image with what was found, and the findings."""
    image = without_marks(read_grey(still.file))
    inside = field_of_view(image[None]) > 0
    box = bounding_box(inside)
    found = plane_structures(network, image[box], inside[box])
    size = (round(INPUT_COLUMNS * SCALE), round(INPUT_ROWS * SCALE))
    drawn = cv2.cvtColor(cv2.resize(fitted(image[box]), size, interpolation=cv2.INTER_CUBIC), cv2.COLOR_GRAY2BGR)
    for mask, colour in zip(found.masks, COLOURS):
        large = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_LINEAR)
        outlines, _ = cv2.findContours(large, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(drawn, outlines, -1, colour, 1, cv2.LINE_AA)
    text = f"{still.plane}: {found.in_view:.2f} {found.stomach:.2f} {found.vein:.2f}"
    cv2.putText(drawn, text, (4, size[1] - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (230, 230, 230), 1, cv2.LINE_AA)
    return cv2.copyMakeBorder(drawn, 0, GAP, 0, GAP, cv2.BORDER_CONSTANT), found


def main() -> None:
    """Write the picture."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--network", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    network = read_structure_network(args.network)
    stills = read_catalogue(args.folder)
    tiles = []
    for source, plane, count in CHOSEN:
        for still in evenly([one for one in stills if (one.source, one.plane) == (source, plane)], count):
            drawn, found = tile(still, network)
            tiles.append(drawn)
            print(f"{still.name}: in view {found.in_view:.2f}, stomach {found.stomach:.2f}, vein {found.vein:.2f}")
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % COLUMNS)
    rows = [np.hstack(tiles[start : start + COLUMNS]) for start in range(0, len(tiles), COLUMNS)]
    args.out.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(args.out), np.vstack(rows))


if __name__ == "__main__":
    main()
