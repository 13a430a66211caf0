"""Pictures of the comparison: the confirmed frames on which published model and candidate differ most."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from fetaliqa.atomic import atomic_path
from fetaliqa.datasets.labelled_data import LabelledData
from fetaliqa.evaluation.frame_table import FrameTable
from fetaliqa.inference.predictor import Predictor
from fetaliqa.measure.field_of_view import field_of_view
from fetaliqa.measure.square_grid import SquareGrid
from fetaliqa.pictures.frame_picture import frame_picture

FOLDER = "pictures"  # in a run's folder
SIDES = ("published", "candidate")
MOST = 6  # frames
MOST_OF_A_CASE = 2
LEAST_CHANGE = 0.005  # of the agreement; less is not visible
WIDTH = 400  # px
JPEG_QUALITY = 88


@dataclass(frozen=True)
class ComparedFrame:
    """How well both models agree with the rater on a frame.

    Attributes:
        case: its id.
        frame: number in the case.
        outlined: whether the rater outlined it; else it is confirmed to be empty.
        published, candidate: Dice of an outlined frame; of an empty one 1 when the model finds nothing, else 0.
    """

    case: str
    frame: int
    outlined: bool
    published: float
    candidate: float

    @property
    def change(self) -> float:
        """Positive: the candidate agrees better."""
        return self.candidate - self.published


def compared_frames(case: str, published: FrameTable, candidate: FrameTable) -> list[ComparedFrame]:
    """All known frames of a case, from the tables of both models over the same frames."""
    values = [
        np.where(table.target, np.nan_to_num(table.dice()), (~table.positive).astype(float))
        for table in (published, candidate)
    ]
    return [
        ComparedFrame(case, int(frame), bool(outlined), round(float(before), 4), round(float(after), 4))
        for frame, outlined, before, after in zip(published.frame, published.target, *values)
    ]


def most_different(frames: Sequence[ComparedFrame], most: int = MOST) -> list[ComparedFrame]:
    """The frames that changed most, half of them for the worse where there are so many; then those that the
    candidate outlines worst. At most two frames of a case, unless there are too few cases.

    Examples:
        >>> frames = [ComparedFrame("a", 1, True, 0.9, 0.5), ComparedFrame("b", 7, True, 0.2, 0.9)]
        >>> [(one.case, round(one.change, 2)) for one in most_different(frames)]
        [('a', -0.4), ('b', 0.7)]
    """
    chosen: list[ComparedFrame] = []
    of_case: Counter[str] = Counter()

    def take(candidates: Sequence[ComparedFrame], count: int, of_one: int = MOST_OF_A_CASE) -> None:
        for one in candidates:
            if count and one not in chosen and of_case[one.case] < of_one:
                chosen.append(one)
                of_case[one.case] += 1
                count -= 1

    by_change = sorted(frames, key=lambda one: (one.change, one.case, one.frame))
    take([one for one in by_change if one.change < -LEAST_CHANGE], most // 2)
    take([one for one in reversed(by_change) if one.change > LEAST_CHANGE], most - len(chosen))
    take([one for one in by_change if one.change < -LEAST_CHANGE], most - len(chosen))
    worst = sorted(frames, key=lambda one: one.candidate)
    take(worst, most - len(chosen))
    take(sorted(frames, key=lambda one: -abs(one.change)), most - len(chosen), most)
    return chosen


def write_pictures(
    folder: Path, frames: Sequence[ComparedFrame], data: LabelledData, models: Sequence[Predictor]
) -> list[dict[str, Any]]:
    """Write ``N-published.jpg`` and ``N-candidate.jpg`` of each frame: the model's outline (turquoise) and the
    rater's (amber).

    Args:
        folder: to write to.
        frames: to draw.
        data: that they are of.
        models: published one and candidate.

    Returns:
        The frames as JSON values, by the number N.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number, one in enumerate(frames):
        case = data.read(one.case)
        image, index = case.frames[one.frame], np.array([one.frame])
        seen = field_of_view(case.frames)
        for side, model in zip(SIDES, models):
            grid = SquareGrid(image.shape[0], image.shape[1], model.image_size)
            mask = np.zeros(image.shape, np.uint8)
            for chunk in model.predict(case.frames, index):
                if chunk.probabilities is not None:
                    found = grid.masks_to_native(chunk.probabilities, model.card.threshold.probability)[0]
                    mask = np.where(seen > 0, found, 0).astype(np.uint8)
            picture = frame_picture(image, mask, reference=case.masks[one.frame], width=WIDTH)
            with atomic_path(folder / f"{number}-{side}.jpg") as temporary:
                Image.fromarray(picture).save(temporary, "JPEG", quality=JPEG_QUALITY)
    return [asdict(one) for one in frames]
