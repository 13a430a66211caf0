"""Measurement of frames from pixel probabilities: masks, ellipses, sizes and quality scores."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fetaliqa.inference.chunk_prediction import TORCH, FramePredictor
from fetaliqa.measure import FrameEvidence, ShapeFit, fit_mask, is_unlike, main_component, quality_score
from fetaliqa.measure.anatomy import Anatomy, anatomy_named
from fetaliqa.measure.array_resampling import foreground_arrays, mask_array
from fetaliqa.measure.border_band import border_band
from fetaliqa.measure.field_of_view import field_of_view
from fetaliqa.measure.frame_size import fit_fields
from fetaliqa.measure.head_axes import head_axes
from fetaliqa.measure.line import LineFit
from fetaliqa.measure.square_grid import SquareGrid
from fetaliqa.sweep import Sweep

if TYPE_CHECKING:
    import torch

MOST_WAITING = 128  # limit of frames queued for measurement: their maps take 0.6 MB each

Measured = tuple[dict[str, Any], "np.ndarray | None"]  # fields of a frame; its native mask when it is positive


@dataclass(frozen=True)
class FrameOutline:
    """Model output of one frame on both grids.

    Attributes:
        on_grid: float [224, 224], probabilities.
        native: uint8 [H, W], 1 above the threshold; None for a negative frame.
    """

    on_grid: np.ndarray
    native: np.ndarray | None


class FrameAssessor:
    """Computes a frame's record of the assessment from its probabilities."""

    def __init__(self, sweep: Sweep, predictor: FramePredictor, threshold: float, frame_threshold: float) -> None:
        self.sweep = sweep
        self.threshold = threshold
        self.frame_threshold = frame_threshold
        self.min_fraction = predictor.card.threshold.min_foreground_fraction
        self.anatomy = anatomy_named(predictor.card.anatomy)
        self.grid = SquareGrid(sweep.frames.shape[1], sweep.frames.shape[2], predictor.image_size)
        self.field_of_view = field_of_view(sweep.frames)
        if predictor.runtime == TORCH:
            self.sector_on_grid = self.grid.mask_to_square(self.field_of_view[None])[0]
        else:
            self.sector_on_grid = mask_array(self.grid, self.field_of_view)
        self.grid_pixel_mm = None
        if sweep.spacing is not None:
            self.grid_pixel_mm = float(np.sqrt(sweep.spacing[0] * sweep.spacing[1])) * self.grid.pixel_scale

    def on_both_grids(self, probabilities: torch.Tensor | np.ndarray) -> list[FrameOutline]:
        """Copy the outputs of a batch to host memory, on both grids.

        Args:
            probabilities: [N, 224, 224], an array, or a tensor on the device that resamples it to the native grid.
        """
        if isinstance(probabilities, np.ndarray):
            numbers = self._positive(probabilities)
            return _outlines(
                probabilities, numbers, foreground_arrays(self.grid, probabilities[numbers], self.threshold)
            )
        import torch

        from fetaliqa.inference.cuda_transfers import on_host

        on_grid = on_host(probabilities).numpy()
        numbers = self._positive(on_grid)
        if not len(numbers):
            return _outlines(on_grid, numbers, ())
        masks = self.grid.foreground_on_native(probabilities[torch.from_numpy(numbers)], self.threshold)
        return _outlines(on_grid, numbers, on_host(masks).numpy())

    def _positive(self, on_grid: np.ndarray) -> np.ndarray:
        """Positions of the frames that show the anatomy, int [P]."""
        return np.flatnonzero([float((one > self.frame_threshold).mean()) > self.min_fraction for one in on_grid])

    def measured(
        self, outline: FrameOutline, cls: float | None, signals: tuple[float, float] | None = None
    ) -> Measured:
        """Fields and native mask (None on a negative frame) of one frame; runs in any thread, without tensors.

        Args:
            outline: model output of the frame.
            cls: probability of a classification model, when one was run.
            signals: expected Dice and distance to the training data (NaN when unknown); None if the model has
                none.
        """
        on_grid, native = outline.on_grid, outline.native
        fraction = float((on_grid > self.threshold).mean())
        mask: np.ndarray | None = None
        fit: ShapeFit | None = None
        expected_dice, distance = _rounded(signals, native is not None)
        if native is not None:
            native[self.field_of_view == 0] = 0  # no outline outside of the field of view
            mask = main_component(native)
            if mask is not None:
                fit = fit_mask(mask, self.sweep.spacing, self.field_of_view, self.anatomy)
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
            fields |= outline_sizes(mask, fit, self.sweep.spacing, self.anatomy)
            fields["border_band"] = round(border_band(on_grid, self.threshold), 5)
        return fields, mask


def _outlines(on_grid: np.ndarray, numbers: np.ndarray, masks: Iterable[np.ndarray]) -> list[FrameOutline]:
    native = dict(zip(numbers.tolist(), masks))
    return [FrameOutline(one, native.get(position)) for position, one in enumerate(on_grid)]


def outline_sizes(
    mask: np.ndarray, fit: ShapeFit, spacing: tuple[float, float] | None, anatomy: Anatomy
) -> dict[str, Any]:
    """Area, ellipse and circumference (or line and length) of a frame's mask, as JSON values.

    Args:
        mask: uint8 [H, W] of 0 and 1.
        fit: of its outline.
        spacing: (row, column) in mm, or None.
        anatomy: whose plausible sizes are warned about.
    """
    pixels = int(mask.sum())
    row, column = spacing or (None, None)
    return {
        "area_px": pixels,
        "area_mm2": None if row is None or column is None else round(pixels * row * column, 2),
        **fit_fields(fit),
        "circumference_interval_mm": None,
        **({} if isinstance(fit, LineFit) else head_axes(fit.ellipse, spacing, anatomy)),
        "warning": fit.warning(anatomy),
        "fitted_share": None if fit.fitted_share is None else round(float(fit.fitted_share), 4),
    }


def _rounded(signals: tuple[float, float] | None, positive: bool) -> tuple[float | None, float | None]:
    """Expected Dice and distance, rounded for the record; a frame without an outline has no Dice."""
    if signals is None:
        return None, None
    expected_dice, distance = signals
    return (
        round(expected_dice, 4) if positive else None,
        None if math.isnan(distance) else round(distance, 4),
    )


class Findings:
    """Results of the frames of a case, measured in threads or immediately. Use it as a context manager.

    Args:
        shape: (T, H, W) of the case.
        threads: see ``Predictor.threads``.

    Attributes:
        masks: uint8 [T, H, W]; complete after :meth:`fields` was called.
    """

    def __init__(self, shape: tuple[int, ...], threads: int) -> None:
        self.masks = np.zeros(shape, np.uint8)
        self._fields: dict[int, dict[str, Any]] = {}
        self._pool = ThreadPoolExecutor(threads) if threads else None
        self._waiting: deque[tuple[int, Future[Measured]]] = deque()

    def __enter__(self) -> Findings:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def add(self, frame: int, measure: Callable[[], Measured]) -> None:
        """Measure a frame, in a thread if there are any."""
        if self._pool is None:
            self._keep(frame, measure())
            return
        self._waiting.append((frame, self._pool.submit(measure)))
        self._settle(MOST_WAITING)

    def meanwhile(self, work: Callable[[], object]) -> None:
        """Run other work in a thread beside the frames; ignored without threads."""
        if self._pool is not None:
            self._pool.submit(work)

    def put(self, frame: int, fields: dict[str, Any]) -> None:
        """Set the fields of a frame that needs no measurement."""
        self._fields[frame] = fields

    def fields(self) -> dict[int, dict[str, Any]]:
        """Fields by frame number, after waiting for all added frames."""
        self._settle(0)
        return self._fields

    def _settle(self, most: int) -> None:
        while len(self._waiting) > most:
            frame, measured = self._waiting.popleft()
            self._keep(frame, measured.result())

    def _keep(self, frame: int, measured: Measured) -> None:
        self._fields[frame], mask = measured
        if mask is not None:
            self.masks[frame] = mask
