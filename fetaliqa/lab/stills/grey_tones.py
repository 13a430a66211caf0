"""Random grey-level augmentation (speckle, noise, blur, gain, shadows); float32 images [S, S] of 0 to 1.

Each function takes the image and a generator, and returns a new image unless it says otherwise.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

LOW_RESOLUTION = (0.3, 0.75)  # of the grid: a probe at depth resolves 2-4 mm, 3 pixels of 0.8 mm
BLUR_PX = (0.4, 1.3)  # standard deviation
SPECKLE = (0.05, 0.3)  # standard deviation of the factor
SPECKLE_ACROSS_PX = (0.4, 1.6)  # speckle is wider across the beams
SPECKLE_ALONG_PX = (0.3, 0.7)
BAND_KNOTS = 5  # sliders of a time-gain control
BAND_GAIN = 0.35  # log2 of the largest change of one slider, times two
SHADOW_WIDTH_DEG = (4.0, 22.0)
SHADOW_DEPTH = (0.25, 0.9)  # share of the light that is lost
MIDDLE_GREY = 0.25  # around which contrast changes: mean of the tissue in these images
NOISE = (0.005, 0.03)  # standard deviation of additive noise


def speckle_noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Multiplicative noise, correlated over a pixel or so, more across the beams than along them."""
    noise = _correlated(image.shape[0], rng, rng.uniform(*SPECKLE_ACROSS_PX), rng.uniform(*SPECKLE_ALONG_PX))
    return image * np.maximum(1 + rng.uniform(*SPECKLE) * noise, 0)


def additive_noise(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Electronic noise, stronger with depth."""
    size = image.shape[0]
    depth = np.linspace(0.2, 1.0, size, dtype=np.float32)[:, None]
    return image + rng.uniform(*NOISE) * depth * rng.standard_normal((size, size), dtype=np.float32)


def low_resolution(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Down and up again: what a deep setting, a small probe or a resampled file leaves."""
    size = image.shape[0]
    small = max(8, round(size * rng.uniform(*LOW_RESOLUTION)))
    low = cv2.resize(image, (small, small), interpolation=cv2.INTER_AREA)
    return cv2.resize(low, (size, size), interpolation=cv2.INTER_LINEAR)


def blur(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gaussian blur, not the same along rows and columns."""
    across, along = rng.uniform(*BLUR_PX, 2)
    return cv2.GaussianBlur(image, (0, 0), across, sigmaY=along)


def time_gain_bands(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Gain that varies smoothly with depth, as the sliders of a time-gain control make it."""
    knots = rng.normal(0, BAND_GAIN, BAND_KNOTS).astype(np.float32)[:, None]
    gain = np.exp2(cv2.resize(knots, (1, image.shape[0]), interpolation=cv2.INTER_CUBIC))
    return image * gain


def shadow(image: np.ndarray, apex: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """A dark wedge behind a bone or bowel gas: along the beams from some depth on, with soft sides.

    Args:
        image: to be darkened.
        apex: (x, y) where the beams meet.
        rng: draws where, how wide, how dark.
    """
    size = image.shape[0]
    target = rng.uniform(0.1, 0.9) * size, rng.uniform(0.3, 1.0) * size  # somewhere inside of the shadow
    direction = math.atan2(target[0] - apex[0], target[1] - apex[1])
    start = math.hypot(target[0] - apex[0], target[1] - apex[1]) * rng.uniform(0.5, 1.0)
    half = math.radians(rng.uniform(*SHADOW_WIDTH_DEG)) / 2
    if apex[1] < -size:  # parallel beams: the same width in pixels as at the bottom of a fan
        half *= size / abs(apex[1])
    far = abs(apex[1]) + 3 * size
    turns = np.linspace(direction - half, direction + half, 9)
    arc = np.stack([np.sin(turns), np.cos(turns)], axis=1)
    outline = np.concatenate([arc * start, arc[::-1] * far]) + apex
    scale = 4  # drawn and blurred small: its sides are soft
    wedge = np.zeros((size // scale, size // scale), np.float32)
    cv2.fillPoly(wedge, [np.round(outline / scale * 16).astype(np.int32)], [1.0], shift=4)
    soft = cv2.GaussianBlur(wedge, (0, 0), rng.uniform(0.5, 2.0))
    soft = cv2.resize(soft, (size, size), interpolation=cv2.INTER_LINEAR)
    return image * (1 - rng.uniform(*SHADOW_DEPTH) * soft)


def tissue(size: int, level: float, rng: np.random.Generator) -> np.ndarray:
    """A background of layers and speckle without any organ, float32 [size, size].

    Args:
        size: side in pixels.
        level: mean grey, 0 to 1.
        rng: draws it.
    """
    cells = int(rng.integers(3, 9)), int(rng.integers(3, 12))  # across, down: layers lie across the beams
    coarse = rng.normal(0, 0.7, (cells[1], cells[0])).astype(np.float32)
    smooth = cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    fade = np.linspace(rng.uniform(-0.5, 0.5), rng.uniform(-1.2, 0.3), size, dtype=np.float32)[:, None]
    grain = _correlated(size, rng, rng.uniform(0.7, 2.0), rng.uniform(0.4, 0.9))
    return level * np.exp2(smooth + fade) * np.maximum(1 + rng.uniform(0.05, 0.3) * grain, 0)


def levels(image: np.ndarray, gamma: float, gain: float, contrast: float) -> np.ndarray:
    """``gain * image ** gamma``, then contrast around the middle grey, from 0 to 1 (the image is changed)."""
    np.clip(image, 0, 1, out=image)
    if gamma != 1:
        cv2.pow(image, gamma, dst=image)
    image *= gain
    if contrast != 1:
        # black stays black, without a step between it and the darkest tissue
        image += (contrast - 1) * (image - MIDDLE_GREY) * np.minimum(image * (1 / MIDDLE_GREY), 1)
    return np.clip(image, 0, 1, out=image)


def _correlated(size: int, rng: np.random.Generator, across: float, along: float) -> np.ndarray:
    """Noise of zero mean and unit deviation, smoothed by ``across`` and ``along`` pixels."""
    noise = cv2.GaussianBlur(rng.standard_normal((size, size), dtype=np.float32), (0, 0), across, sigmaY=along)
    return noise / max(float(cv2.meanStdDev(noise)[1][0, 0]), 1e-6)
