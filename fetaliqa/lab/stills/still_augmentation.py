"""Augmentation of still images: from the native image to the model's square in one warp.

The square is that of ``fetaliqa.measure.square_grid.SquareGrid``: the image centred on zeros, its longer side
224 pixels.
All randomness comes from the generator: the same state gives the same sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from fetaliqa.lab.stills import grey_tones
from fetaliqa.lab.stills.random_marks import add_marks
from fetaliqa.lab.stills.random_views import View, random_view
from fetaliqa.measure.field_of_view import field_of_view

SIZE = 224  # pixels; fetaliqa.measure.square_grid.GRID, repeated because that module needs torch
TYPICAL_DIAMETER = 0.62  # of a still's longer side, for images without outline: median of the African abdomens
IN_VIEW = 0.8  # of the way from a view's middle to a random pixel of it is where the plane's centre goes
VIEW_STEP = 8  # pixels between those that are drawn from
MIN_KEPT = 0.7  # least visible share of an outline; otherwise it is moved less
TRIES = 3
BACKDROP_SHARE = 0.6  # of surroundings that are another image's, where one is given
LEAST_MEAN = 0.04  # grey of the whole square, 0 to 1, below which it is made brighter: ACOUSLIC-AI's have 0.05 up
MOST_GAIN = 3.0  # by which it is made brighter
MOST_MEAN = 0.5  # above which it is made darker


@dataclass(frozen=True)
class Settings:
    """Settings of the augmentation; ``p_`` are probabilities, 0 switches a change off.

    Attributes:
        rotation_deg: largest rotation either way.
        scale: smallest and largest factor of size.
        shift: largest shift, share of the square's side.
        p_mirror, p_flip: left to right; upside down.
        gamma: largest change of the exponent of grey levels, log2.
        gain: smallest and largest factor of brightness.
        contrast: smallest and largest factor of contrast.
        p_levels: gamma, gain and contrast.
        p_blur, p_speckle, p_noise, p_low_resolution, p_bands, p_shadow: see ``grey_tones``.
        p_marks: burned-in marks, see ``random_marks``.
        p_view: another field of view, see ``random_views``; the plane is then small.
        diameter_px: smallest and largest diameter of the plane in such a view, pixels of the square; ACOUSLIC-AI's
            experts' masks have 70 to 110.
        p_surround: share of these in which tissue fills what the still does not.
        surround_level: smallest and largest grey of that tissue, in units of the still's own mean.
        p_cut: a side of the picture is black.
    """

    rotation_deg: float = 30.0
    scale: tuple[float, float] = (0.7, 1.3)
    shift: float = 0.1
    p_mirror: float = 0.5
    p_flip: float = 0.2
    gamma: float = 0.6
    gain: tuple[float, float] = (0.6, 1.5)
    contrast: tuple[float, float] = (0.7, 1.3)
    p_levels: float = 0.8
    p_blur: float = 0.15
    p_speckle: float = 0.3
    p_noise: float = 0.15
    p_low_resolution: float = 0.2
    p_bands: float = 0.3
    p_shadow: float = 0.25
    p_marks: float = 0.3
    p_view: float = 0.35
    diameter_px: tuple[float, float] = (55.0, 135.0)
    p_surround: float = 0.7
    surround_level: tuple[float, float] = (0.5, 1.3)
    p_cut: float = 0.1


NONE = Settings(
    rotation_deg=0.0,
    scale=(1.0, 1.0),
    shift=0.0,
    p_mirror=0.0,
    p_flip=0.0,
    p_levels=0.0,
    p_blur=0.0,
    p_speckle=0.0,
    p_noise=0.0,
    p_low_resolution=0.0,
    p_bands=0.0,
    p_shadow=0.0,
    p_marks=0.0,
    p_view=0.0,
    p_cut=0.0,
)
"""No augmentation: the image on the square."""


def augmented(
    image: np.ndarray,
    mask: np.ndarray | None,
    rng: np.random.Generator,
    settings: Settings | None = None,
    lit: np.ndarray | None = None,
    backdrop: np.ndarray | None = None,
    soft: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """A random sample of a still.

    Args:
        image: uint8 [H, W].
        mask: uint8 [H, W], non-zero inside of the outline; None for an image without one.
        rng: source of randomness.
        settings: None: the defaults.
        lit: uint8 [H, W], the image's own field of view as ``field_of_view`` computes it; None: computed here when
            it is needed (a few ms).
        backdrop: uint8 [h, w], an image without the anatomy, from which the surroundings may be taken.
        soft: float32 [H, W], probability of the outline, to be returned in place of the mask.

    Returns:
        The square, uint8 [224, 224], and its mask of 0 and 1 (or ``soft``), cut where the field of view ends.
    """
    settings = settings or Settings()
    view = random_view(SIZE, rng) if rng.random() < settings.p_view else None
    matrix = _placed(image.shape, mask, view, rng, settings)
    square = _warped(image, matrix)
    outline = np.zeros((SIZE, SIZE), np.uint8) if mask is None else _warped_mask(mask, matrix)
    if soft is not None:
        outline = cv2.warpAffine(soft, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderValue=[0.0])
    pixels = square.astype(np.float32) * np.float32(1 / 255)
    if view is not None and rng.random() < settings.p_surround:
        lit = field_of_view(image[None]) if lit is None else lit
        pixels = _surrounded(pixels, _warped_mask(lit, matrix), backdrop, rng, settings.surround_level)
    pixels = _toned(pixels, view, rng, settings)
    window = _window(view, rng, settings)
    if window is not None:
        pixels *= window
        outline *= window
    if rng.random() < settings.p_marks:
        add_marks(pixels, rng)
    return np.clip(pixels * 255 + 0.5, 0, 255).astype(np.uint8), outline


def base_matrix(shape: tuple[int, ...], size: int = SIZE) -> np.ndarray:
    """Native pixel -> square pixel of an image [H, W], float [2, 3], on ``SquareGrid``'s convention."""
    side = max(shape[:2])
    scale = size / side
    offsets = [((side - length) // 2 + 0.5) * scale - 0.5 for length in (shape[1], shape[0])]
    return np.array([[scale, 0, offsets[0]], [0, scale, offsets[1]]], float)


def _placed(
    shape: tuple[int, ...],
    mask: np.ndarray | None,
    view: View | None,
    rng: np.random.Generator,
    settings: Settings,
) -> np.ndarray:
    """Native -> square with random rotation, size and place, most of the outline inside of the view."""
    base = base_matrix(shape)
    centre, diameter, area = _plane(shape, mask, base)
    for attempt in range(TRIES):
        tame = 1 - attempt / TRIES  # smaller changes at each attempt
        if view is None:
            moved = _moved(base, rng, settings, tame)
        else:
            moved = _moved_into(view, base, centre, diameter, rng, settings, tame)
        if mask is None or area == 0:
            return moved
        visible = _warped_mask(mask, moved) if view is None else _warped_mask(mask, moved) * view.mask
        if cv2.countNonZero(visible) >= MIN_KEPT * area * abs(np.linalg.det(moved[:, :2])):
            return moved
    return base if view is None else moved


def _moved(base: np.ndarray, rng: np.random.Generator, settings: Settings, tame: float) -> np.ndarray:
    """Turned, scaled and shifted about the square's centre."""
    low, high = settings.scale
    scale = math.exp(rng.uniform(math.log(low), math.log(high)) * tame)
    middle = np.full(2, SIZE / 2 - 0.5)
    goal = middle + rng.uniform(-1, 1, 2) * settings.shift * SIZE * tame
    return _about(base, middle, goal, _turn(rng, settings, tame), scale)


def _moved_into(
    view: View,
    base: np.ndarray,
    centre: np.ndarray,
    diameter: float,
    rng: np.random.Generator,
    settings: Settings,
    tame: float,
) -> np.ndarray:
    """The plane, small, somewhere inside of a field of view; nearer to its middle when tamed."""
    rows, columns = np.nonzero(view.mask[::VIEW_STEP, ::VIEW_STEP])
    middle = np.array([columns.mean(), rows.mean()]) * VIEW_STEP
    drawn = int(rng.integers(len(rows)))
    spot = np.array([columns[drawn], rows[drawn]], float) * VIEW_STEP
    goal = middle + (spot - middle) * (IN_VIEW * tame)
    scale = rng.uniform(*settings.diameter_px) / diameter
    return _about(base, centre, goal, _turn(rng, settings, tame), scale)


def _turn(rng: np.random.Generator, settings: Settings, tame: float) -> np.ndarray:
    """Rotation with or without mirroring, [2, 2]."""
    angle = math.radians(rng.uniform(-1, 1) * settings.rotation_deg) * tame
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    mirrored, flipped = rng.random(2) < (settings.p_mirror, settings.p_flip)
    return turn * (1 - 2 * np.array([mirrored, flipped]))


def _about(base: np.ndarray, pivot: np.ndarray, goal: np.ndarray, turn: np.ndarray, scale: float) -> np.ndarray:
    """``base``, then turned and scaled about ``pivot``, which comes to lie on ``goal``; float [2, 3]."""
    linear = turn * scale
    return np.column_stack([linear @ base[:, :2], linear @ (base[:, 2] - pivot) + goal])


def _plane(shape: tuple[int, ...], mask: np.ndarray | None, base: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Centre and diameter of the outlined plane on the square, and its area in native pixels."""
    scale = base[0, 0]
    moments = None if mask is None else cv2.moments(mask, binaryImage=True)
    if moments is None or moments["m00"] == 0:
        middle = np.array([shape[1] - 1, shape[0] - 1]) / 2
        return base[:, :2] @ middle + base[:, 2], TYPICAL_DIAMETER * SIZE, 0.0
    middle = np.array([moments["m10"], moments["m01"]]) / moments["m00"]
    diameter = 2 * math.sqrt(moments["m00"] / math.pi) * scale
    return base[:, :2] @ middle + base[:, 2], diameter, moments["m00"]


def _warped(image: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The image on the square, uint8 [224, 224]; area averages first where it becomes smaller."""
    scale = math.sqrt(abs(np.linalg.det(matrix[:, :2])))
    if scale < 1:
        small = [max(1, round(length * scale)) for length in (image.shape[1], image.shape[0])]
        factors = np.array(small) / (image.shape[1], image.shape[0])
        image = cv2.resize(image, small, interpolation=cv2.INTER_AREA)
        # small pixel s is centred on native pixel (s + 1/2) / factor - 1/2
        matrix = np.column_stack([matrix[:, :2] / factors, matrix[:, :2] @ (0.5 / factors - 0.5) + matrix[:, 2]])
    return cv2.warpAffine(image, matrix, (SIZE, SIZE), flags=cv2.INTER_CUBIC, borderValue=[0.0])


def _warped_mask(mask: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """A mask on the square, uint8 [224, 224] of 0 and 1."""
    warped = cv2.warpAffine(mask, matrix, (SIZE, SIZE), flags=cv2.INTER_NEAREST, borderValue=[0.0])
    return (warped != 0).astype(np.uint8)


def _surrounded(
    pixels: np.ndarray,
    lit: np.ndarray,
    backdrop: np.ndarray | None,
    rng: np.random.Generator,
    levels: tuple[float, float],
) -> np.ndarray:
    """Tissue, or another image, where the still itself shows nothing, blended softly into it."""
    level = (cv2.mean(pixels, lit)[0] if cv2.countNonZero(lit) else 0.2) * rng.uniform(*levels)
    around = grey_tones.tissue(SIZE, level, rng)
    if backdrop is not None and rng.random() < BACKDROP_SHARE:
        behind = _behind(backdrop, rng)
        behind *= level / max(float(behind.mean()), 0.02)
        around = behind + rng.uniform(0.0, 0.5) * (around - behind)
    width = int(rng.integers(2, 16))
    inner = cv2.erode(lit, np.ones((width, width), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=[0.0])
    share = cv2.blur(inner.astype(np.float32), (width, width))
    return pixels * share + around * (1 - share)


def _behind(backdrop: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """An image turned, enlarged and mirrored at its borders so that it covers the square: float32 of 0 to 1."""
    middle = np.full(2, SIZE / 2 - 0.5)
    turn = _turn(rng, Settings(), 1.0)
    goal, scale = rng.uniform(0.2, 0.8, 2) * SIZE, rng.uniform(0.9, 1.8)
    matrix = _about(base_matrix(backdrop.shape), middle, goal, turn, scale)
    warped = cv2.warpAffine(backdrop, matrix, (SIZE, SIZE), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    return warped.astype(np.float32) * np.float32(1 / 255)


def _toned(pixels: np.ndarray, view: View | None, rng: np.random.Generator, settings: Settings) -> np.ndarray:
    """Grey levels changed in the order in which body, probe and screen change them."""
    if rng.random() < settings.p_shadow:
        apex = view.apex if view else (SIZE * rng.uniform(0.4, 0.6), -SIZE * rng.uniform(0.05, 0.6))
        pixels = grey_tones.shadow(pixels, apex, rng)
    for chance, change in (
        (settings.p_bands, grey_tones.time_gain_bands),
        (settings.p_speckle, grey_tones.speckle_noise),
        (settings.p_low_resolution, grey_tones.low_resolution),
        (settings.p_blur, grey_tones.blur),
        (settings.p_noise, grey_tones.additive_noise),
    ):
        if rng.random() < chance:
            pixels = change(pixels, rng)
    if rng.random() < settings.p_levels:
        gamma = 2 ** (rng.uniform(-1, 1) * settings.gamma)
        pixels = grey_tones.levels(pixels, gamma, rng.uniform(*settings.gain), rng.uniform(*settings.contrast))
        mean = max(float(pixels.mean()), LEAST_MEAN / MOST_GAIN)
        pixels *= min(max(mean, LEAST_MEAN), MOST_MEAN) / mean
    return pixels


def _window(view: View | None, rng: np.random.Generator, settings: Settings) -> np.ndarray | None:
    """What of the square is shown, uint8 [224, 224]; None for all of it."""
    if view is not None:
        return view.mask
    if rng.random() >= settings.p_cut:
        return None
    shown = np.ones((SIZE, SIZE), np.uint8)
    width = int(rng.uniform(0.05, 0.3) * SIZE)
    side = shown if rng.random() < 0.5 else shown.T
    side[:width] = 0
    return shown if rng.random() < 0.5 else np.ascontiguousarray(shown[::-1, ::-1])
