"""Augmentation: one warp onto the model's square, deterministic, mask and image together."""

from __future__ import annotations

from dataclasses import fields, replace

import cv2
import numpy as np
import pytest
from stills_files import OUTLINE, SHAPE, scan

from fetaliqa.lab.stills.random_marks import KINDS, add_marks
from fetaliqa.lab.stills.random_views import ACOUSLIC_FAN, fan, random_view
from fetaliqa.lab.stills.still_augmentation import NONE, SIZE, Settings, augmented
from fetaliqa.measure import draw_ellipse
from fetaliqa.measure.square_grid import GRID, SquareGrid


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return scan(1)


@pytest.fixture(scope="module")
def mask() -> np.ndarray:
    return draw_ellipse(OUTLINE, SHAPE)


def dice(one: np.ndarray, other: np.ndarray) -> float:
    return 2 * float((one & other).sum()) / float(one.sum() + other.sum())


@pytest.mark.parametrize("shape", [(240, 300), (401, 233), (100, 90)])
def test_without_changes_the_square_is_the_model_s_own(shape):
    native = scan(2, shape)
    filled = draw_ellipse(replace(OUTLINE, center_x=shape[1] / 2, semi_major=40, semi_minor=30), shape)
    square, outline = augmented(native, filled, np.random.default_rng(0), NONE)
    grid = SquareGrid(*shape)
    assert SIZE == GRID
    assert np.abs(square.astype(int) - grid.to_square(native[None])[0].numpy()).mean() < 1.5
    assert dice(outline, grid.mask_to_square(filled[None])[0]) > 0.98


def test_the_same_state_gives_the_same_sample_and_another_one_another(image, mask):
    one, again, other = (augmented(image, mask, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert np.array_equal(one[0], again[0])
    assert np.array_equal(one[1], again[1])
    assert not np.array_equal(one[0], other[0])


def test_samples_are_squares_with_masks_of_0_and_1_and_inputs_stay(image, mask):
    original = image.copy(), mask.copy()
    for seed in range(60):
        square, outline = augmented(image, mask if seed % 2 else None, np.random.default_rng(seed))
        assert (square.shape, square.dtype, outline.dtype) == ((SIZE, SIZE), np.uint8, np.uint8)
        assert set(np.unique(outline)) <= {0, 1}
        assert outline.any() == bool(seed % 2)
    assert np.array_equal(image, original[0])
    assert np.array_equal(mask, original[1])


def test_the_mask_follows_the_image_through_every_move(mask):
    inside = (mask * 200).astype(np.uint8)  # a picture of the mask itself
    moves = replace(NONE, rotation_deg=180.0, scale=(0.6, 1.4), shift=0.2, p_mirror=0.5, p_flip=0.5)
    worst = min(
        dice(outline, (square > 100).astype(np.uint8))
        for square, outline in (augmented(inside, mask, np.random.default_rng(seed), moves) for seed in range(80))
    )
    assert worst > 0.97


def test_most_of_an_outline_stays_in_the_picture(image, mask):
    moves = replace(NONE, rotation_deg=180.0, scale=(0.5, 2.5), shift=0.5)
    smallest = mask.sum() * (SIZE / 300 * 0.5) ** 2
    for seed in range(60):
        _, outline = augmented(image, mask, np.random.default_rng(seed), moves)
        assert outline.sum() >= 0.65 * smallest, seed


def test_outside_of_a_field_of_view_image_and_mask_are_black(image, mask):
    for seed in range(40):
        square, outline = augmented(image, mask, np.random.default_rng(seed), replace(NONE, p_view=1.0))
        rng = np.random.default_rng(seed)
        rng.random()  # whether there is a view at all
        outside = random_view(SIZE, rng).mask == 0
        assert outside.any()
        assert not square[outside].any()
        assert not outline[outside].any()
        assert outline.any()


def test_the_surroundings_fill_the_view_and_leave_the_plane(image, mask):
    lonely = replace(NONE, p_view=1.0, p_surround=0.0)
    filled = replace(NONE, p_view=1.0, p_surround=1.0)
    gains = []
    for seed in range(30):
        bare, _ = augmented(image, mask, np.random.default_rng(seed), lonely)
        full, _ = augmented(image, mask, np.random.default_rng(seed), filled, backdrop=scan(7))
        gains.append((full > 0).mean() - (bare > 0).mean())
    assert np.mean(gains) > 0.05


@pytest.mark.parametrize(
    "name",
    [field.name for field in fields(Settings) if field.name.startswith("p_") and field.name != "p_surround"],
)
def test_each_change_alters_the_picture(image, mask, name):
    plain, _ = augmented(image, mask, np.random.default_rng(0), NONE)
    changed = [
        augmented(image, mask, np.random.default_rng(seed), replace(NONE, **{name: 1.0}))[0] for seed in range(5)
    ]
    assert any(np.abs(one.astype(int) - plain).mean() > 0.2 for one in changed)


def test_grey_levels_change_no_mask(image, mask):
    tones = replace(Settings(), rotation_deg=0.0, scale=(1, 1), shift=0.0, p_mirror=0, p_flip=0, p_view=0, p_cut=0)
    _, plain = augmented(image, mask, np.random.default_rng(0), NONE)
    for seed in range(20):
        assert np.array_equal(augmented(image, mask, np.random.default_rng(seed), tones)[1], plain)


def test_marks_of_every_kind_are_seen():
    for kind in KINDS:
        layer = np.zeros((2 * SIZE, 2 * SIZE), np.uint8)
        for seed in range(5):
            kind(layer, np.random.default_rng(seed))
        assert layer.max() > 0, kind.__name__


def test_marks_lie_anywhere_and_not_where_the_plane_is():
    hit = np.zeros((SIZE, SIZE), float)
    for seed in range(400):
        blank = np.full((SIZE, SIZE), 0.3, np.float32)
        add_marks(blank, np.random.default_rng(seed))
        hit += np.abs(blank - 0.3) > 0.02
    quarters = hit.reshape(2, SIZE // 2, 2, SIZE // 2).sum(axis=(1, 3)) / hit.sum()
    assert quarters.min() > 0.12


def test_the_fan_of_acouslic_is_among_the_views(shared_data):
    sitk = pytest.importorskip("SimpleITK")
    theirs = sitk.GetArrayFromImage(sitk.ReadImage(str(shared_data / "acouslic" / "fov_mask.mha"))) > 0
    square = SquareGrid(*theirs.shape).mask_to_square(theirs[None].astype(np.uint8))[0]
    assert dice(square, fan(SIZE, *ACOUSLIC_FAN).mask) > 0.99


def test_random_views_differ_and_lie_inside_of_the_square():
    views = [random_view(SIZE, np.random.default_rng(seed)).mask for seed in range(50)]
    shares = np.array([view.mean() for view in views])
    assert shares.min() > 0.15
    assert shares.max() < 1
    assert shares.std() > 0.05
    assert len({view.tobytes() for view in views}) > 30
    assert all(cv2.connectedComponents(view)[0] == 2 for view in views)
