"""Evaluation of a model on single images, with or without reference masks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from fetaliqa.errors import NotFoundError, SweepError
from fetaliqa.evaluation.frame_metrics import dice
from fetaliqa.inference import Predictor, assess
from fetaliqa.sweep import read_sweep
from fetaliqa.sweep.case_paths import expand_cases

MASK_ENDING = "_mask_gt"  # NAME_mask_gt.png beside NAME.png, if images and masks share a folder


def image_pairs(images: Path, masks: Path | None) -> list[tuple[Path, Path | None]]:
    """The images of a folder; if ``masks`` is given, only those with a mask in that folder.

    A mask has its image's name, or that name with ``_mask_gt`` before the suffix.

    Raises:
        NotFoundError: when a folder is missing.
        SweepError: when there is no image, or none with a mask.
    """
    for folder in (images, masks):
        if folder is not None and not folder.is_dir():
            raise NotFoundError(f"{folder}: no such folder; check the path")
    paths = [path for path in expand_cases(images, each=True) if not path.stem.endswith(MASK_ENDING)]
    if masks is None:
        return [(path, None) for path in paths]
    pairs: list[tuple[Path, Path | None]] = []
    for path in paths:
        names = [f"{path.stem}{MASK_ENDING}.png"] + ([path.name] if masks.resolve() != images.resolve() else [])
        mask = next((masks / name for name in names if (masks / name).is_file()), None)
        if mask is not None:
            pairs.append((path, mask))
    if not pairs:
        raise SweepError(
            f"{masks}: no mask in it is named like an image of {images} (NAME or NAME{MASK_ENDING}.png)"
        )
    return pairs


def evaluate_on_images(
    predictor: Predictor,
    pairs: Sequence[tuple[Path, Path | None]],
    done: Callable[[], object] = lambda: None,
) -> dict[str, Any]:
    """Assess each image as a sweep of one frame.

    Args:
        predictor: a segmentation model.
        pairs: images, each with its mask (any value above 0 is foreground) or None.
        done: called after each image.

    Returns:
        How many images there are, how many were called positive, the mean Dice over those with a mask (an image
        called negative counts 0), and the same for each image.

    Raises:
        SweepError: when an image or a mask cannot be used.
    """
    rows = []
    for image, mask in pairs:
        result = assess(read_sweep(image), predictor)
        row: dict[str, Any] = {"image": image.name, "positive": bool(result.record["frames"][0]["positive"])}
        if mask is not None:
            row["dice"] = round(dice(result.masks[0], _read_mask(mask, result.masks.shape[1:])), 4)
        rows.append(row)
        done()
    dices = [row["dice"] for row in rows if "dice" in row]
    return {
        "images": len(rows),
        "called_positive": sum(row["positive"] for row in rows),
        "images_with_mask": len(dices),
        "mean_dice": float(np.mean(dices)) if dices else None,
        "each": rows,
    }


def _read_mask(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if mask is None:
        raise SweepError(f"{path}: not a readable image; a mask is a PNG with values above 0 inside")
    if mask.shape != tuple(shape):
        raise SweepError(f"{path}: the mask is {mask.shape}, its image {tuple(shape)}; their sizes must be equal")
    return mask > 0
