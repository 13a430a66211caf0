"""The information fidelity criterion (IFC) of a frame against a reference frame.

Sheikh, Bovik & de Veciana, "An information fidelity criterion for image quality assessment using natural scene
statistics", IEEE Trans. Image Processing 14(12), 2005. The subbands of a steerable pyramid are modelled as
Gaussian scale mixtures; in each neighbourhood the distorted band D is the reference band C, attenuated and with
noise: D = g C + V. The criterion is the mutual information of C and D given the local variance, summed over
coefficients.
"""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

LEVELS, ORIENTATIONS = 4, 6  # of the pyramid, as in the paper
WINDOW = 5  # coefficients; side of the neighbourhood that attenuation and noise are estimated in (our choice)
# Grey levels squared. The criterion of equal frames is infinite; with this floor of the noise it is large.
NOISE_FLOOR = 1e-4
MIN_SIDE = 64  # pixels; four octaves leave coefficients to estimate from


def information_fidelity(frame: np.ndarray, reference: np.ndarray) -> float:
    """IFC of a frame, bits per pixel (at least 0; the paper gives the sum over the image).

    Args:
        frame: the distorted frame, uint8 [h, w].
        reference: what its content is compared with, uint8 [h, w].
    """
    bits = sum(
        float(band_information(wanted, found).sum())
        for wanted, found in zip(_subbands(reference), _subbands(frame))
    )
    return bits / frame.size


def band_information(reference: np.ndarray, distorted: np.ndarray) -> np.ndarray:
    """Mutual information of two bands at each coefficient, bits: log2(1 + g² s² / σ²) / 2.

    Attenuation g and noise variance σ² are those of the linear regression of the distorted on the reference
    coefficients around each, s² is the reference's variance there. An inverted band (g < 0) carries nothing.

    Args:
        reference, distorted: float [h, w].

    Returns:
        float64 [h, w], at least 0.
    """
    reference, distorted = reference.astype(np.float64), distorted.astype(np.float64)
    mean_c, mean_d = _local_mean(reference), _local_mean(distorted)
    power = np.maximum(_local_mean(reference * reference) - mean_c**2, 0.0)
    found = np.maximum(_local_mean(distorted * distorted) - mean_d**2, 0.0)
    shared = _local_mean(reference * distorted) - mean_c * mean_d
    gain = np.maximum(shared, 0.0) / np.maximum(power, NOISE_FLOOR)
    noise = np.maximum(found - gain * shared, 0.0) + NOISE_FLOOR
    information: np.ndarray = 0.5 * np.log2(1.0 + gain**2 * power / noise)
    return information


def _local_mean(values: np.ndarray) -> np.ndarray:
    blurred: np.ndarray = cv2.blur(values, (WINDOW, WINDOW), borderType=cv2.BORDER_REFLECT)
    return blurred


def _subbands(frame: np.ndarray) -> list[np.ndarray]:
    return _subbands_of(np.ascontiguousarray(frame).tobytes(), frame.shape)


@lru_cache(maxsize=3)  # a frame is compared with the one before and the one after
def _subbands_of(pixels: bytes, shape: tuple[int, int]) -> list[np.ndarray]:
    from pyrtools.pyramids import SteerablePyramidFreq

    image = np.frombuffer(pixels, np.uint8).reshape(shape).astype(np.float64)
    # even at each octave, and of sides whose Fourier transform is fast
    rows, columns = (-side % 2**LEVELS for side in shape)
    image = np.pad(image, ((0, rows), (0, columns)), mode="reflect")
    pyramid = SteerablePyramidFreq(image, height=LEVELS, order=ORIENTATIONS - 1)
    return [pyramid.pyr_coeffs[level, angle] for level in range(LEVELS) for angle in range(ORIENTATIONS)]
