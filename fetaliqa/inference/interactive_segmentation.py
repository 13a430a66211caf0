"""Masks of single frames from clicks, a box and a previous mask.

A frame is encoded once; each further prompt on it runs the decoder only. All coordinates are native: (column,
row) in pixels of the frame, (0, 0) is the centre of the top left pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as functional

from fetaliqa.errors import ArrayError, OptionError
from fetaliqa.measure.square_grid import SquareGrid
from fetaliqa.model.interactive_bundle import InteractiveBundle
from fetaliqa.model.interactive_model import FrameEncoding, prompt_maps
from fetaliqa.model.preprocess import normalise

Point = tuple[float, float]
Roi = tuple[float, float, float, float]

MAX_CLICKS = 200  # on one frame; each adds time
EDGE = 0.5  # pixels from a pixel's centre to its edge
HEED_SHARES = (0.02, 0.005, 0.0)  # of the frame's longer side: reach of a click that the network did not follow
LEAST_REACH = 0.3  # pixels: hardly more than the pixel itself
HEED_LOGIT = 0.5  # that the pixel of such a click gets
ISLAND_SHARE = 0.2  # of the largest part's area: smaller parts without a click are removed


@dataclass(frozen=True, eq=False)
class Prompts:
    """What a person said about a frame.

    Attributes:
        foreground: clicks inside of the object.
        background: clicks outside of it.
        roi: a box around it, (left, top, right, bottom), or None.
        mask: its previous mask, [H, W], non-zero inside; None without one. An empty mask counts as none.
    """

    foreground: tuple[Point, ...] = ()
    background: tuple[Point, ...] = ()
    roi: Roi | None = None
    mask: np.ndarray | None = None

    def check(self, shape: tuple[int, int]) -> None:
        """Check that there is something to go by, and that all of it lies in a frame of ``shape`` (rows, columns).

        Raises:
            OptionError: naming what does not.
        """
        rows, columns = shape
        for name, points in (("foreground", self.foreground), ("background", self.background)):
            if len(points) > MAX_CLICKS:
                raise OptionError(f"{name}: {len(points)} clicks; {MAX_CLICKS} at most are used on a frame")
            for column, row in points:
                if not (-EDGE <= column <= columns - EDGE and -EDGE <= row <= rows - EDGE):
                    raise OptionError(
                        f"{name}: the click at column {column:g}, row {row:g} is outside of the frame of "
                        f"{columns} x {rows} pixels (columns x rows)"
                    )
        if self.roi is not None:
            left, top, right, bottom = self.roi
            if not all(map(math.isfinite, self.roi)) or left >= right or top >= bottom:
                raise OptionError(f"roi {list(self.roi)}: left < right and top < bottom are needed")
            if right < 0 or bottom < 0 or left > columns - 1 or top > rows - 1:
                raise OptionError(f"roi {list(self.roi)}: outside of the frame of {columns} x {rows} pixels")
        if self.mask is not None and self.mask.shape != (rows, columns):
            raise OptionError(
                f"mask: {self.mask.shape[0]} rows x {self.mask.shape[1]} columns; the frame has {rows} x {columns}"
            )
        if not (self.foreground or self.roi or (self.mask is not None and self.mask.any())):
            raise OptionError("no prompt: give a foreground click, a roi or a mask that is not empty")


@dataclass(frozen=True, eq=False)
class EncodedFrame:
    """A frame as the decoder needs it.

    Attributes:
        grid: between the frame's pixels and the model's.
        encoding: of one frame.
    """

    grid: SquareGrid
    encoding: FrameEncoding

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns) of the frame."""
        return self.grid.height, self.grid.width

    @property
    def nbytes(self) -> int:
        """Memory of the encoding."""
        return sum(one.nbytes for one in self.encoding.levels)


@dataclass(frozen=True, eq=False)
class Outlined:
    """The answer to prompts.

    Attributes:
        mask: uint8 [H, W] of 0 and 1.
        expected_dice: Dice, 0 to 1, that the mask is expected to have; low where the object is not in the frame.
    """

    mask: np.ndarray
    expected_dice: float

    @property
    def area_px(self) -> int:
        """Number of foreground pixels."""
        return int(self.mask.sum())


class InteractiveSegmenter:
    """Segments frames with an interactive bundle; may be used from several threads.

    Args:
        bundle: as :meth:`InteractiveBundle.open` returns it.
        heed: whether the pixel of each click gets the asked value where the network does not give it.

    Raises:
        BundleError: when the bundle cannot be loaded.

    Examples:
        >>> from fetaliqa.model.user_folders import interactive_folder
        >>> segmenter = InteractiveSegmenter(InteractiveBundle.open(interactive_folder()))
        >>> frame = np.zeros((60, 80), np.uint8)
        >>> frame[15:45, 20:50] = 120
        >>> encoded = segmenter.encode(frame)
        >>> segmenter.segment(encoded, Prompts(foreground=((30, 30),))).mask.shape
        (60, 80)
    """

    def __init__(self, bundle: InteractiveBundle, *, heed: bool = True) -> None:
        self.bundle, self._heed = bundle, heed
        self._model = bundle.load_model()
        self._size = self._model.vision.image_size

    @torch.inference_mode()
    def encode(self, frame: np.ndarray) -> EncodedFrame:
        """Encode a frame, uint8 [H, W].

        Raises:
            ArrayError: for another type or shape.
        """
        if frame.dtype != np.uint8 or frame.ndim != 2 or 0 in frame.shape:
            raise ArrayError(f"frame is {frame.dtype} {frame.shape}; uint8 [rows, columns] is needed")
        grid = SquareGrid(frame.shape[0], frame.shape[1], self._size)
        square = grid.to_square(frame[None])
        maps = self._model.visual(normalise(square).contiguous(memory_format=torch.channels_last))
        return EncodedFrame(grid, self._model.decoder.encode(square, maps))

    @torch.inference_mode()
    def segment(self, encoded: EncodedFrame, prompts: Prompts) -> Outlined:
        """The mask that prompts on a frame ask for.

        Args:
            encoded: the frame.
            prompts: clicks, box and previous mask; checked by :meth:`Prompts.check`.

        Raises:
            OptionError: when the prompts cannot be used.
        """
        prompts.check(encoded.shape)
        grid = encoded.grid
        previous = None
        if prompts.mask is not None and prompts.mask.any():
            previous = grid.share_to_square(prompts.mask[None])[0]
        maps = prompt_maps(
            [_on_grid(point, grid) for point in prompts.foreground],
            [_on_grid(point, grid) for point in prompts.background],
            previous,
            None if prompts.roi is None else (*_on_grid(prompts.roi[:2], grid), *_on_grid(prompts.roi[2:], grid)),
            self._size,
        )
        answer = self._model.decoder(encoded.encoding, maps[None].contiguous(memory_format=torch.channels_last))
        # logits, not probabilities, are interpolated: the border lies between cells, not on them
        raised = functional.interpolate(
            answer.logits.float().contiguous(), size=(grid.side, grid.side), mode="bilinear", align_corners=False
        )[0, 0, grid.top : grid.top + grid.height, grid.left : grid.left + grid.width]
        logits = heeded(raised.numpy(), prompts) if self._heed else raised.numpy()
        mask = (logits > 0).astype(np.uint8)
        return Outlined(tidied(mask, prompts), round(float(torch.sigmoid(answer.dice[0])), 4))


def _on_grid(point: tuple[float, ...], grid: SquareGrid) -> Point:
    """A native (column, row) on the square grid; centres of pixels are whole numbers on both."""
    column, row = point
    scale = grid.pixel_scale
    return (column + grid.left + EDGE) / scale - EDGE, (row + grid.top + EDGE) / scale - EDGE


def heeded(logits: np.ndarray, prompts: Prompts) -> np.ndarray:
    """Logits in which the pixel of each click has the value that was asked for.

    Where the network did not follow a click, the logits around it are moved by a Gaussian bump, just high enough.
    A click near the border is what it follows least, and a person who clicks there wants the border to move.

    Args:
        logits: float [H, W], of the network.
        prompts: whose clicks count; of two on one pixel the background click.
    """
    logits = logits.astype(np.float32, copy=True)
    rows, columns = (np.arange(length, dtype=np.float32) for length in logits.shape)
    asked = [(place, 1.0) for place in prompts.foreground] + [(place, -1.0) for place in prompts.background]
    for share in HEED_SHARES:  # a bump may undo a click nearby, which then gets a narrower one
        reach = max(share * max(logits.shape), LEAST_REACH)
        for (column, row), sign in asked:
            y, x = _pixel(row, len(rows)), _pixel(column, len(columns))
            at = float(logits[y, x])
            if sign * at <= 0:
                down = np.exp((rows - y) ** 2 / (-2 * reach**2))
                across = np.exp((columns - x) ** 2 / (-2 * reach**2))
                logits += (sign * HEED_LOGIT - at) * down[:, None] * across[None]
    return logits


def _pixel(place: float, length: int) -> int:
    """The pixel of a coordinate, inside of ``length`` pixels."""
    return min(max(round(place), 0), length - 1)


def tidied(mask: np.ndarray, prompts: Prompts) -> np.ndarray:
    """A mask without specks, and without holes that nobody asked for.

    Args:
        mask: uint8 [H, W] of 0 and 1.
        prompts: parts with a foreground click, and holes with a background click, stay.
    """
    mask = _without_specks(mask, prompts.foreground, ISLAND_SHARE)
    holes = _without_specks(1 - mask, prompts.background, ISLAND_SHARE, border=True)
    return 1 - holes


def _without_specks(mask: np.ndarray, clicks: tuple[Point, ...], share: float, border: bool = False) -> np.ndarray:
    """The parts of a mask that carry a click, have a share of the largest one's area, or touch the border."""
    count, parts, statistics, _ = cv2.connectedComponentsWithStats(mask, connectivity=4)
    if count <= 2:
        return mask
    areas = statistics[:, cv2.CC_STAT_AREA].astype(np.float64)
    areas[0] = 0
    kept = np.zeros(count, bool)
    if border:
        for edge in (parts[0], parts[-1], parts[:, 0], parts[:, -1]):
            kept[edge] = True
    else:
        kept |= areas >= share * areas.max()
    rows, columns = mask.shape
    for column, row in clicks:
        kept[parts[_pixel(row, rows), _pixel(column, columns)]] = True
    kept[0] = False
    return kept[parts].astype(np.uint8)
