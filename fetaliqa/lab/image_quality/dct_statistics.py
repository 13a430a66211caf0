"""Features of BLIINDS-II: statistics of block cosine transforms.

Saad, Bovik & Charrier, "Blind image quality assessment: a natural scene statistics approach in the DCT domain",
IEEE Trans. Image Processing 21(8), 2012. Of every 5 x 5 block (neighbours share two rows or columns) come four
figures, pooled over the image twice: over the tenth of the blocks that distortion affects most, and over all.
Three scales, a factor of two apart, give 24 features. The regressor that the authors trained is not published with
the paper: see ``bliinds_regressor``.
"""

from __future__ import annotations

import cv2
import numpy as np
from scipy.fft import dct
from scipy.special import gamma

BLOCK, STRIDE = 5, 3  # pixels
SCALES = 3
WORST = 0.10  # share of blocks of the first pooling
FIGURES = ("shape", "variation", "energy", "orientation")  # of a block
MIN_SIDE = 4 * (BLOCK + STRIDE)  # pixels; leaves two blocks a side at the coarsest scale
FLAT = 1e-6  # grey levels; a block whose coefficients are all smaller has no statistics

_SHAPES = np.arange(0.05, 10.0, 0.005)
# E[x²] / E[|x|]² of a generalised Gaussian, falling with its shape
_MOMENT_RATIOS = gamma(1 / _SHAPES) * gamma(3 / _SHAPES) / gamma(2 / _SHAPES) ** 2

_ROW, _COLUMN = np.mgrid[:BLOCK, :BLOCK]
_TRANSFORM = np.einsum("ui,vj->uvij", *[dct(np.eye(BLOCK), axis=0, norm="ortho")] * 2).reshape(BLOCK**2, BLOCK**2)
_AC = (_ROW + _COLUMN).ravel() > 0
# Three bands along the frequency axis, from low to high, and three about the directions 0, 45 and 90 degrees.
_RADIAL = np.digitize((_ROW + _COLUMN).ravel(), [1, 3, 5])
_RADIAL_BANDS = tuple(np.flatnonzero(band == _RADIAL) for band in (1, 2, 3))
_ANGLE = np.degrees(np.arctan2(_ROW, _COLUMN)).ravel()
_ORIENTED_BANDS = tuple(
    np.flatnonzero(_AC & (low <= _ANGLE) & (high >= _ANGLE)) for low, high in ((0, 29), (30, 60), (61, 90))
)


def bliinds_features(frame: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The 24 features of a frame.

    Args:
        frame: uint8 [h, w].
        inside: bool [h, w]; only blocks that lie inside as a whole are counted.

    Returns:
        float64 [24], by scale, figure and pooling (worst tenth, all); NaN where a scale has no block that counts.
    """
    features: list[float] = []
    image: np.ndarray = frame.astype(np.float64)
    mask: np.ndarray = inside.astype(np.uint8)
    for scale in range(SCALES):
        if scale:
            image = cv2.GaussianBlur(image, (3, 3), 0)[::2, ::2]
            mask = cv2.erode(mask, np.ones((3, 3), np.uint8))[::2, ::2]
        features += _pooled(block_statistics(image, mask > 0))
    return np.array(features)


def block_statistics(image: np.ndarray, inside: np.ndarray) -> dict[str, np.ndarray]:
    """Figures of the blocks of an image that lie inside and are not flat, by name, each float64 [N].

    ``shape`` is the shape parameter of the generalised Gaussian of the 24 coefficients (2: Gaussian, 1:
    Laplacian), ``variation`` the standard deviation over the mean of their magnitudes, ``energy`` how unevenly
    energy is spread over low, middle and high frequencies, ``orientation`` the variance of ``variation`` over
    three directions.
    """
    windows = np.lib.stride_tricks.sliding_window_view
    blocks = windows(image, (BLOCK, BLOCK))[::STRIDE, ::STRIDE].reshape(-1, BLOCK**2)
    whole = windows(inside, (BLOCK, BLOCK))[::STRIDE, ::STRIDE].reshape(-1, BLOCK**2).all(axis=1)
    spectra = blocks[whole] @ _TRANSFORM.T
    spectra = spectra[np.abs(spectra[:, _AC]).max(axis=1, initial=0) > FLAT]
    oriented = np.stack([frequency_variation(spectra[:, band]) for band in _ORIENTED_BANDS], axis=1)
    return {
        "shape": gaussian_shape(spectra[:, _AC]),
        "variation": frequency_variation(spectra[:, _AC]),
        "energy": energy_ratio(spectra),
        "orientation": oriented.var(axis=1),
    }


def gaussian_shape(samples: np.ndarray) -> np.ndarray:
    """Shape of the generalised Gaussian with the moments of each row of samples, 0.05 to 10.

    Args:
        samples: float [N, K] of zero mean; not all zero.
    """
    ratio = (samples**2).mean(axis=1) / np.maximum(np.abs(samples).mean(axis=1), 1e-300) ** 2
    # np.interp needs rising abscissae, and the ratio falls
    shapes: np.ndarray = np.interp(ratio, _MOMENT_RATIOS[::-1], _SHAPES[::-1])
    return shapes


def frequency_variation(samples: np.ndarray) -> np.ndarray:
    """Standard deviation over mean of the magnitudes of each row [N, K]; 0 where all are zero."""
    magnitudes = np.abs(samples)
    mean = magnitudes.mean(axis=1)
    return np.where(mean > 0, magnitudes.std(axis=1) / np.where(mean > 0, mean, 1.0), 0.0)


def energy_ratio(spectra: np.ndarray) -> np.ndarray:
    """Mean over the middle and the high band of |E - lower| / (E + lower), float [N], 0 to 1.

    E is the mean energy of a band, ``lower`` the mean of those of the bands below it. 0 for a flat block.

    Args:
        spectra: cosine transforms, float [N, 25].
    """
    energy = np.stack([(spectra[:, band] ** 2).mean(axis=1) for band in _RADIAL_BANDS], axis=1)
    ratios = []
    for band in (1, 2):
        lower = energy[:, :band].mean(axis=1)
        both = energy[:, band] + lower
        ratios.append(np.where(both > 0, np.abs(energy[:, band] - lower) / np.where(both > 0, both, 1.0), 0.0))
    return np.mean(ratios, axis=0)


def _pooled(figures: dict[str, np.ndarray]) -> list[float]:
    """Mean over the worst tenth (least shape, most of the others) and over all blocks."""
    pooled: list[float] = []
    for name in FIGURES:
        ranked = np.sort(figures[name])
        if not len(ranked):
            pooled += [float("nan")] * 2
            continue
        count = max(1, round(WORST * len(ranked)))
        worst = ranked[:count] if name == "shape" else ranked[-count:]
        pooled += [float(worst.mean()), float(ranked.mean())]
    return pooled
