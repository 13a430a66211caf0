"""Clicks that are needed to reach an IoU, by simulated clicks, on the native grid of each image.

Protocol, as in RITM (arXiv 2102.06583): the first click is at the object's deepest pixel, each next one at the
deepest pixel of the largest region where the answer is wrong. NoC@90 is the number of clicks to an IoU of 0.90,
20 where it is not reached. With a mask to begin with, 0 clicks are needed where it has that IoU already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from fetaliqa.inference.interactive_segmentation import InteractiveSegmenter, Prompts
from fetaliqa.lab.interactive.simulated_prompts import next_click

GOAL_IOU = 0.90
MOST_CLICKS = 20

Click = tuple[str, tuple[float, float]]
Answerer = Callable[[Sequence[Click], np.ndarray | None], np.ndarray]  # clicks, previous mask -> mask


@dataclass
class Clicked:
    """How one image went.

    Attributes:
        name: of the image.
        ious: after 0, 1, 2, ... clicks; the first is that of the initial mask, 0 without one.
        obeyed: clicks whose pixel has the asked value in the answer right after the click.
        obeyed_last: of all clicks, in the last answer.
        masks: the answers, when kept.
        clicks: that were made.
    """

    name: str
    ious: list[float]
    clicks: list[Click] = field(default_factory=list)
    obeyed: int = 0
    obeyed_last: int = 0
    masks: list[np.ndarray] = field(default_factory=list)

    @property
    def needed(self) -> int:
        """Clicks to the goal; ``MOST_CLICKS`` where it was not reached."""
        return next((count for count, iou in enumerate(self.ious) if iou >= GOAL_IOU), MOST_CLICKS)

    @property
    def reached(self) -> bool:
        return max(self.ious) >= GOAL_IOU

    def iou_after(self, clicks: int) -> float:
        """IoU after some clicks; clicking ended where the goal was reached."""
        return self.ious[min(clicks, len(self.ious) - 1)]


def clicks_to_goal(
    name: str,
    truth: np.ndarray,
    answerer: Answerer,
    initial: np.ndarray | None = None,
    *,
    most: int = MOST_CLICKS,
    keep: bool = False,
) -> Clicked:
    """Click until the goal is reached.

    Args:
        name: of the image.
        truth: uint8 [H, W] of 0 and 1.
        answerer: of the image.
        initial: mask to begin with, uint8 [H, W]; None without one.
        most: clicks at most.
        keep: keep the answers.
    """
    answer = np.zeros_like(truth) if initial is None else initial
    result = Clicked(name, [iou(answer, truth)])
    while result.ious[-1] < GOAL_IOU and len(result.clicks) < most:
        found = next_click(truth, answer)
        if found is None:
            break
        result.clicks.append(found)
        answer = answerer(result.clicks, answer if answer.any() else None)
        result.ious.append(iou(answer, truth))
        result.obeyed += _obeyed(answer, found)
        if keep:
            result.masks.append(answer)
    result.obeyed_last = sum(_obeyed(answer, click) for click in result.clicks)
    return result


def answerer_of(segmenter: InteractiveSegmenter, image: np.ndarray) -> Answerer:
    """Answers of the interactive model on an image, uint8 [H, W]."""
    encoded = segmenter.encode(image)

    def answer(clicks: Sequence[Click], previous: np.ndarray | None) -> np.ndarray:
        foreground = tuple(place for kind, place in clicks if kind == "foreground")
        background = tuple(place for kind, place in clicks if kind == "background")
        if not foreground and previous is None:
            return np.zeros(image.shape, np.uint8)
        return segmenter.segment(encoded, Prompts(foreground, background, mask=previous)).mask

    return answer


def region_growing(image: np.ndarray, multiplier: float) -> Answerer:
    """Region growing from the clicks alone: ITK's confidence connected filter on a smoothed image.

    Where the regions of foreground and background clicks overlap, the nearest click decides. Holes are filled.

    Args:
        image: uint8 [H, W].
        multiplier: of the standard deviation of grey, the range that a region may have.
    """
    import SimpleITK as sitk

    smooth = sitk.CurvatureFlow(sitk.Cast(sitk.GetImageFromArray(image), sitk.sitkFloat32), 0.125, 10)

    def grown(seeds: list[tuple[int, int]]) -> np.ndarray:
        if not seeds:
            return np.zeros(image.shape, np.uint8)
        region = sitk.ConfidenceConnected(smooth, seeds, 2, multiplier, 3, 1)
        closed = sitk.BinaryMorphologicalClosing(region, [3, 3])
        return sitk.GetArrayFromImage(sitk.BinaryFillhole(closed))

    def distances(seeds: list[tuple[int, int]]) -> np.ndarray:
        free = np.ones(image.shape, np.uint8)
        for column, row in seeds:
            free[row, column] = 0
        return cv2.distanceTransform(free, cv2.DIST_L2, 5)

    def answer(clicks: Sequence[Click], previous: np.ndarray | None) -> np.ndarray:
        seeds = {"foreground": [], "background": []}  # type: dict[str, list[tuple[int, int]]]
        for kind, (column, row) in clicks:
            seeds[kind].append((round(column), round(row)))
        inside = grown(seeds["foreground"])
        if seeds["background"]:
            contested = (grown(seeds["background"]) > 0) & (
                distances(seeds["background"]) < distances(seeds["foreground"])
            )
            inside[contested] = 0
        for kind, (column, row) in clicks:
            inside[round(row), round(column)] = kind == "foreground"
        return inside

    return answer


def summary(results: Sequence[Clicked]) -> dict[str, float | int]:
    """Figures of a set of images."""
    clicks = sum(len(one.clicks) for one in results)
    return {
        "images": len(results),
        "clicks_to_90": round(float(np.mean([one.needed for one in results])), 2),
        "clicks_to_90_median": float(np.median([one.needed for one in results])),
        "not_reached": sum(not one.reached for one in results),
        "iou_start": round(float(np.mean([one.ious[0] for one in results])), 4),
        **{
            f"iou_after_{n}": round(float(np.mean([one.iou_after(n) for one in results])), 4) for n in (1, 2, 3, 5)
        },
        "clicks": clicks,
        "obeyed": round(sum(one.obeyed for one in results) / max(1, clicks), 4),
        "obeyed_in_the_end": round(sum(one.obeyed_last for one in results) / max(1, clicks), 4),
    }


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Intersection over union of two masks; 1 for two empty ones."""
    union = int(((one | other) != 0).sum())
    return 1.0 if union == 0 else int(((one & other) != 0).sum()) / union


def _obeyed(answer: np.ndarray, click: Click) -> bool:
    kind, (column, row) = click
    return bool(answer[round(row), round(column)]) == (kind == "foreground")
