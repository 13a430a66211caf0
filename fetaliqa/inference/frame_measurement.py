"""From a batch's probabilities to what is known of its frames: masks, ellipses, sizes, quality."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from fetaliqa.inference.cuda_transfers import on_host
from fetaliqa.inference.predictor import Predictor
from fetaliqa.measure import FrameEvidence, OutlineFit, fit_outline, is_unlike, main_component, quality_score
from fetaliqa.measure.anatomy import anatomy_named
from fetaliqa.measure.field_of_view import field_of_view
from fetaliqa.measure.square_grid import SquareGrid
from fetaliqa.sweep import Sweep

MOST_WAITING = 128  # frames that threads have still to measure: their maps are held meanwhile, 0.6 MB each

Found = tuple[dict[str, Any], "np.ndarray | None"]  # of a frame: its fields; its native mask when it is positive


@dataclass(frozen=True)
class FrameOutline:
    """What one frame is measured from.

    Attributes:
        on_grid: float [224, 224], probabilities.
        native: uint8 [H, W], 1 above the threshold, of a positive frame; else None.
    """

    on_grid: np.ndarray
    native: np.ndarray | None


class FrameAssessor:
    """Turns a frame's probabilities into its part of the assessment."""

    def __init__(self, sweep: Sweep, predictor: Predictor, threshold: float, frame_threshold: float) -> None:
        self.sweep = sweep
        self.threshold = threshold
        self.frame_threshold = frame_threshold
        self.min_fraction = predictor.card.threshold.min_foreground_fraction
        self.anatomy = anatomy_named(predictor.card.anatomy)
        self.grid = SquareGrid(sweep.frames.shape[1], sweep.frames.shape[2], predictor.image_size)
        self.field_of_view = field_of_view(sweep.frames)
        self.sector_on_grid = self.grid.mask_to_square(self.field_of_view[None])[0]
        self.grid_pixel_mm = None
        if sweep.spacing is not None:
            self.grid_pixel_mm = float(np.sqrt(sweep.spacing[0] * sweep.spacing[1])) * self.grid.pixel_scale

    def on_both_grids(self, probabilities: torch.Tensor) -> list[FrameOutline]:
        """What the frames of a batch are measured from, in memory.

        Args:
            probabilities: [N, 224, 224], on the device that takes them back to the native grid.
        """
        on_grid = on_host(probabilities).numpy()
        positive = [float((one > self.frame_threshold).mean()) > self.min_fraction for one in on_grid]
        chosen = np.flatnonzero(positive)
        native: dict[int, np.ndarray] = {}
        if len(chosen):
            found = self.grid.foreground_on_native(probabilities[torch.from_numpy(chosen)], self.threshold)
            native = dict(zip(chosen.tolist(), on_host(found).numpy()))
        return [FrameOutline(one, native.get(position)) for position, one in enumerate(on_grid)]

    def measured(
        self, outline: FrameOutline, cls: float | None, signals: tuple[float, float] | None = None
    ) -> Found:
        """Frame fields and the native mask (None on a negative frame) of one frame; no tensors, for any thread.

        Args:
            outline: what it is measured from.
            cls: probability of a classification model, when one was run.
            signals: expected Dice and distance to the training data (NaN when not known), of a model that gives
                them.
        """
        on_grid, native = outline.on_grid, outline.native
        fraction = float((on_grid > self.threshold).mean())
        mask, fit = None, None
        expected_dice, distance = _told(signals, native is not None)
        if native is not None:
            native[self.field_of_view == 0] = 0  # nothing is outlined where nothing is seen
            mask = main_component(native)
            fit = None if mask is None else fit_outline(mask, self.sweep.spacing, self.field_of_view)
        quality = quality_score(
            FrameEvidence(
                probabilities=on_grid,
                threshold=self.threshold,
                min_foreground_fraction=self.min_fraction,
                grid_pixel_mm=self.grid_pixel_mm,
                sector=self.sector_on_grid,
                fit=fit,
                cls_probability=cls,
                anatomy=self.anatomy,
                expected_dice=expected_dice,
                distance=distance,
            )
        )
        fields: dict[str, Any] = {
            "quality": round(quality.value, 5),
            "quality_parts": {name: round(value, 4) for name, value in quality.components.items()},
            "positive": native is not None,
            "foreground_fraction": round(fraction, 6),
        }
        if cls is not None:
            fields["cls_probability"] = round(cls, 5)
        if expected_dice is not None:
            fields["expected_dice"] = expected_dice
        if distance is not None:
            fields |= {"distance": distance, "unlike_training_data": is_unlike(distance)}
        if mask is not None and fit is not None:
            fields |= self._sizes(mask, fit)
        return fields, mask

    def _sizes(self, mask: np.ndarray, fit: OutlineFit) -> dict[str, Any]:
        pixels = int(mask.sum())
        row, column = self.sweep.spacing or (None, None)
        return {
            "area_px": pixels,
            "area_mm2": None if row is None or column is None else round(pixels * row * column, 2),
            "ellipse": None if fit.ellipse is None else {k: round(v, 3) for k, v in asdict(fit.ellipse).items()},
            "circumference_mm": None if fit.circumference_mm is None else round(fit.circumference_mm, 2),
            "circumference_absent": fit.absent_reason,
            "fit_residual": None if fit.residual is None else round(float(fit.residual), 5),
            "warning": fit.warning(self.anatomy),
            "fitted_share": None if fit.fitted_share is None else round(float(fit.fitted_share), 4),
        }


def _told(signals: tuple[float, float] | None, positive: bool) -> tuple[float | None, float | None]:
    """Expected Dice and distance as they are told, to four decimals: of no outline there is no Dice."""
    if signals is None:
        return None, None
    expected_dice, distance = signals
    return (
        round(expected_dice, 4) if positive else None,
        None if math.isnan(distance) else round(distance, 4),
    )


class Findings:
    """What is found of the frames of a case, measured by threads or at once; a context, in which threads run.

    Args:
        shape: (T, H, W) of the case.
        threads: see ``Predictor.threads``.

    Attributes:
        masks: uint8 [T, H, W]; whole once :meth:`fields` was asked for.
    """

    def __init__(self, shape: tuple[int, ...], threads: int) -> None:
        self.masks = np.zeros(shape, np.uint8)
        self._fields: dict[int, dict[str, Any]] = {}
        self._pool = ThreadPoolExecutor(threads) if threads else None
        self._waiting: deque[tuple[int, Future[Found]]] = deque()

    def __enter__(self) -> Findings:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def add(self, frame: int, measure: Callable[[], Found]) -> None:
        """Have a frame measured."""
        if self._pool is None:
            self._keep(frame, measure())
            return
        self._waiting.append((frame, self._pool.submit(measure)))
        self._settle(MOST_WAITING)

    def meanwhile(self, work: Callable[[], object]) -> None:
        """Have something made beside the frames that is asked for at the end; without threads it is made then."""
        if self._pool is not None:
            self._pool.submit(work)

    def put(self, frame: int, fields: dict[str, Any]) -> None:
        """Fields of a frame of which nothing is to be measured."""
        self._fields[frame] = fields

    def fields(self) -> dict[int, dict[str, Any]]:
        """Fields by frame number, when all frames that were added are measured."""
        self._settle(0)
        return self._fields

    def _settle(self, most: int) -> None:
        while len(self._waiting) > most:
            frame, measured = self._waiting.popleft()
            self._keep(frame, measured.result())

    def _keep(self, frame: int, found: Found) -> None:
        self._fields[frame], mask = found
        if mask is not None:
            self.masks[frame] = mask
