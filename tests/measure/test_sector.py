from __future__ import annotations

import cv2
import numpy as np
import pytest
import SimpleITK as sitk

from fetaliqa.measure.field_of_view import field_of_view


def fan(height: int = 281, width: int = 372) -> np.ndarray:
    """A curvilinear fan: between two arcs around a point above the image."""
    y, x = np.mgrid[:height, :width]
    apex = -0.25 * height
    radius = np.hypot(x - width / 2, y - apex)
    angle = np.degrees(np.arctan2(x - width / 2, y - apex))
    return ((radius > 0.3 * height) & (radius < 1.2 * height) & (np.abs(angle) < 30)).astype(np.uint8)


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    return ((a > 0) & (b > 0)).sum() / ((a > 0) | (b > 0)).sum()


@pytest.fixture
def speckled_frames() -> np.ndarray:
    generator = np.random.default_rng(0)
    frames = generator.rayleigh(25, (12, 281, 372)).clip(0, 255).astype(np.uint8)
    return frames * fan()


def test_fan_is_found_from_speckle(speckled_frames):
    sector = field_of_view(speckled_frames)
    assert sector.dtype == np.uint8
    assert set(np.unique(sector)) == {0, 1}
    assert agreement(sector, fan()) > 0.99


def test_probe_face_stays_outside(speckled_frames):
    sector = field_of_view(speckled_frames)
    top = int(np.flatnonzero(fan().any(axis=1))[0])
    assert fan()[top : top + 3, 186].sum() == 0
    assert sector[top : top + 3, 186].sum() == 0


def test_black_padding_changes_nothing(speckled_frames):
    padded = np.concatenate([speckled_frames, np.zeros((500, 281, 372), np.uint8)])
    assert agreement(field_of_view(padded, max_frames=12), field_of_view(speckled_frames)) > 0.999


def test_shadow_inside_the_fan_belongs_to_it(speckled_frames):
    speckled_frames[:, 120:, 180:200] = 0
    assert agreement(field_of_view(speckled_frames), fan()) > 0.99


def test_text_and_noise_beside_the_fan_do_not_belong_to_it(speckled_frames):
    marked = speckled_frames.copy()
    cv2.putText(marked[0], "AC 231", (5, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.5, 255)
    marked[1, ::9, ::11] |= 40
    assert agreement(field_of_view(marked), fan()) > 0.99


@pytest.mark.parametrize("frames", [np.full((3, 60, 80), 90, np.uint8), np.zeros((3, 60, 80), np.uint8)])
def test_plain_rectangle_and_empty_image_are_all_inside(frames):
    assert field_of_view(frames).all()


def test_something_else_than_a_stack_is_refused():
    with pytest.raises(ValueError, match="expected"):
        field_of_view(np.zeros((60, 80), np.uint8))


def test_real_frames_give_the_official_field_of_view(shared_data):
    folder = shared_data / "acouslic"
    official = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "fov_mask.mha")))
    frame = cv2.imread(str(folder / "native_frame_A.png"), cv2.IMREAD_GRAYSCALE)
    sector = field_of_view(frame[None])
    assert agreement(sector, official) > 0.99
    # the three pixels that the fit leaves out along the border must lie at the true border
    distance = cv2.distanceTransform((official > 0).astype(np.uint8), cv2.DIST_L2, 5)
    assert np.percentile(distance[(sector == 0) & (official > 0)], 95) < 4
