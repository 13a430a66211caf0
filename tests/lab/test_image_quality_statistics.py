"""IFC, the features of BLIINDS-II and PIQE against values that are known beforehand."""

import numpy as np
import pytest
from scipy.stats import laplace, norm

from fetaliqa.lab.image_quality.dct_statistics import (
    bliinds_features,
    block_statistics,
    energy_ratio,
    frequency_variation,
    gaussian_shape,
)
from fetaliqa.lab.image_quality.information_fidelity import band_information, information_fidelity
from fetaliqa.lab.image_quality.piqe_measure import piqe

RANDOM = np.random.default_rng(4)
TEXTURE = RANDOM.normal(128, 30, (128, 160)).clip(0, 255).astype(np.uint8)
WHOLE = np.ones(TEXTURE.shape, bool)


def noisy(frame, sigma):
    return (frame + np.random.default_rng(1).normal(0, sigma, frame.shape)).clip(0, 255).astype(np.uint8)


def test_information_of_a_known_channel_is_the_formula_s():
    gain, spread, noise = 0.5, 10.0, 5.0
    reference = RANDOM.normal(0, spread, (400, 400))
    distorted = gain * reference + RANDOM.normal(0, noise, reference.shape)
    expected = 0.5 * np.log2(1 + (gain * spread / noise) ** 2)  # half a bit
    # a regression on 25 coefficients, whose slope also fits some of the noise, finds a little more
    assert expected == pytest.approx(0.5)
    assert 0.5 < band_information(reference, distorted).mean() < 0.6


def test_a_flat_an_unrelated_and_an_inverted_band_carry_little_or_nothing():
    band = RANDOM.normal(0, 10, (200, 200))
    assert band_information(band, np.zeros_like(band)).max() == 0
    assert band_information(np.zeros_like(band), band).max() == 0
    assert band_information(band, -band).max() == 0
    assert band_information(band, RANDOM.normal(0, 10, band.shape)).mean() < 0.05


def test_ifc_is_largest_for_equal_frames_and_falls_with_noise_and_blur():
    pytest.importorskip("pyrtools")
    import cv2

    equal = information_fidelity(TEXTURE, TEXTURE)
    falling = [information_fidelity(noisy(TEXTURE, sigma), TEXTURE) for sigma in (1, 4, 16, 64)]
    assert [equal, *falling] == sorted([equal, *falling], reverse=True)
    assert equal > 3 * falling[1]  # of equal frames it is infinite, but for the floor of the noise
    blurred = [information_fidelity(cv2.GaussianBlur(TEXTURE, (0, 0), sigma), TEXTURE) for sigma in (0.5, 1, 2)]
    assert blurred == sorted(blurred, reverse=True)


def test_ifc_may_exceed_that_of_less_contrast_and_is_of_one_direction():
    pytest.importorskip("pyrtools")
    half = (TEXTURE // 2).astype(np.uint8)
    assert information_fidelity(noisy(half, 3), half) < information_fidelity(noisy(TEXTURE, 3), TEXTURE)


@pytest.mark.parametrize(("family", "shape"), [(norm, 2.0), (laplace, 1.0)])
def test_the_shape_of_a_gaussian_is_two_and_of_a_laplacian_one(family, shape):
    samples = family.rvs(size=(4, 100_000), random_state=3, scale=7)
    assert gaussian_shape(samples) == pytest.approx(shape, abs=0.05)


def test_variation_by_hand():
    assert frequency_variation(np.array([[1.0, -1, 1, -1], [0, 0, 0, 0], [0, 0, 0, 4]])) == pytest.approx(
        [0, 0, np.sqrt(3)]
    )


def test_energy_ratio_is_zero_for_flat_and_white_blocks_and_one_for_low_frequencies():
    flat, white, low = np.zeros(25), np.ones(25), np.zeros(25)
    low[1] = 9.0  # the lowest horizontal frequency
    assert energy_ratio(np.stack([flat, white, low])) == pytest.approx([0, 0, 1])


def test_flat_and_outside_blocks_are_not_counted():
    image = np.full((40, 40), 90.0)
    assert len(block_statistics(image, np.ones(image.shape, bool))["shape"]) == 0
    inside = np.zeros(TEXTURE.shape, bool)
    inside[10:15, 12:17] = True  # a block of five: rows start at 0, 3, ..., so none fits at row 10
    assert len(block_statistics(TEXTURE.astype(float), inside)["shape"]) == 0
    inside[9:14, 12:17] = True
    assert len(block_statistics(TEXTURE.astype(float), inside)["shape"]) == 1


def test_stripes_are_oriented_and_noise_is_not():
    stripes = np.tile(np.array([0.0, 100, 0, 200, 50]), (60, 12)) + RANDOM.normal(0, 0.1, (60, 60))
    inside = np.ones(stripes.shape, bool)
    of_stripes = block_statistics(stripes, inside)["orientation"].mean()
    assert of_stripes > 3 * block_statistics(RANDOM.normal(0, 30, (60, 60)), inside)["orientation"].mean()


def test_bliinds_has_eight_features_at_each_of_three_scales_and_none_of_a_blank_frame():
    features = bliinds_features(TEXTURE, WHOLE)
    assert features.shape == (24,)
    assert np.isfinite(features).all()
    shape = features.reshape(3, 4, 2)[:, 0]
    assert (shape[:, 0] < shape[:, 1]).all()  # the worst tenth of the shapes is the lowest
    assert np.isnan(bliinds_features(np.zeros_like(TEXTURE), WHOLE)).all()


def test_piqe_of_a_frame_without_an_active_block_is_the_worst():
    assert piqe(np.full((64, 64), 100, np.uint8), WHOLE[:64, :64]) == 100.0
    assert np.isnan(piqe(np.zeros((64, 64), np.uint8), WHOLE[:64, :64]))


def test_piqe_grades_noise_on_a_photograph_as_worse():
    data = pytest.importorskip("skimage.data")
    photograph = data.camera()
    values = [piqe(noisy(photograph, sigma), photograph > -1) for sigma in (0, 10, 25)]
    assert values == sorted(values)
    assert values[2] - values[0] > 20
