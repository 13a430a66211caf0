"""The phantom's pictures: sector, speckle, padding, repeatability, and labels that can be seen."""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
import SimpleITK as sitk

from fetaliqa.errors import OptionError
from fetaliqa.lab.phantom import PhantomCase, PhantomSettings, draw_plan, generate_case
from fetaliqa.lab.phantom.phantom_case import CaseRenderer
from fetaliqa.lab.phantom.probe_sector import sector_for
from fetaliqa.lab.phantom.speckle import Imager, Machine

SMALL = PhantomSettings(scale="half", sweeps=2, slots=28)


@pytest.fixture(scope="module")
def a_case() -> PhantomCase:
    return generate_case(2, SMALL)


def test_the_sector_equals_the_official_field_of_view_but_for_border_pixels(shared_data):
    path = shared_data / "acouslic" / "fov_mask.mha"
    official = sitk.GetArrayFromImage(sitk.ReadImage(str(path))) > 0
    ours = sector_for("full").mask
    assert ours.shape == official.shape
    differing = ours != official
    assert differing.sum() < 0.002 * official.sum()
    inner = cv2.erode(official.astype(np.uint8), np.ones((5, 5))) > 0
    outer = cv2.dilate(official.astype(np.uint8), np.ones((5, 5))) > 0
    assert not differing[inner | ~outer].any()


@pytest.mark.parametrize(("scale", "shape", "spacing"), [("full", (562, 744), 0.28), ("half", (281, 372), 0.56)])
def test_frames_have_the_size_and_spacing_of_their_scale(scale, shape, spacing):
    case = generate_case(1, PhantomSettings(scale=scale, sweeps=1, slots=20))
    assert case.frames.shape == case.masks.shape == (20, *shape)
    assert case.frames.dtype == case.masks.dtype == np.uint8
    assert case.spacing_mm == pytest.approx((spacing, spacing))


def test_nothing_lies_outside_of_the_sector_and_padding_is_black(a_case):
    outside = ~sector_for("half").mask
    assert not a_case.frames[:, outside].any()
    assert not a_case.masks[:, outside].any()
    for sweep, length in enumerate(a_case.sweep_lengths):
        slots = a_case.frames[sweep * SMALL.slots : (sweep + 1) * SMALL.slots]
        assert slots[:length].any(axis=(1, 2)).all()
        assert not slots[length:].any()


def test_true_sweeps_fill_100_to_125_of_140_slots():
    for seed in range(10):
        assert all(100 <= sweep.length <= 125 for sweep in draw_plan(seed).sweeps)


def test_the_same_seed_gives_the_same_bits_with_any_number_of_threads(a_case):
    again = generate_case(2, SMALL, threads=2)
    assert np.array_equal(a_case.frames, again.frames)
    assert np.array_equal(a_case.masks, again.masks)
    assert (a_case.case_id, a_case.ac_mm) == (again.case_id, again.ac_mm)


def test_another_seed_gives_another_case(a_case):
    other = generate_case(3, SMALL)
    assert other.case_id != a_case.case_id
    assert not np.array_equal(other.frames, a_case.frames)


def test_the_grey_of_the_picture_is_that_of_a_native_frame(a_case):
    inside = a_case.frames[: a_case.sweep_lengths[0], sector_for("half").mask]
    low, middle, high = np.percentile(inside, [5, 50, 95])  # three real frames: 4-24, 39-61, 91-130
    assert low < 30
    assert 35 <= middle <= 75
    assert 85 <= high <= 140


def _imager(sector) -> Imager:
    plan = draw_plan(0).sweeps[0]
    flat = np.zeros(64**3, np.float32)
    machine = Machine(gain_db=0.0, fade_db_per_mm=0.0, fade_from_mm=50.0)
    imager = Imager(np.random.default_rng(0), plan, machine, (flat, flat), sector)
    imager.beam_gain[:] = 0
    imager.shade[:] = 0
    return imager


def _uniform_frame(imager: Imager, frame: int) -> np.ndarray:
    shape = (imager.sector.depth_count, imager.sector.beam_count)
    nothing = np.zeros(shape, np.float32)
    return imager.form(frame, nothing.copy(), nothing.copy(), (nothing, nothing)).astype(float)


def _lateral_correlation(patch: np.ndarray, lag: int) -> float:
    patch = patch - patch.mean()
    return float((patch[:, lag:] * patch[:, :-lag]).mean() / patch.var())


def test_lateral_blur_grows_with_depth():
    frame = _uniform_frame(_imager(sector_for("full")), 0)
    near, deep = frame[80:180, 290:450], frame[430:530, 290:450]
    assert _lateral_correlation(deep, 8) > _lateral_correlation(near, 8) + 0.2


def test_speckle_lives_on_between_neighbouring_frames_and_dies_out():
    imager = _imager(sector_for("half"))
    inside = sector_for("half").mask
    first, second, *_, last = (_uniform_frame(imager, frame)[inside] for frame in range(20))
    assert np.corrcoef(first, second)[0, 1] > 0.35
    assert abs(np.corrcoef(first, last)[0, 1]) < 0.15


def test_bone_throws_a_shadow():
    imager = _imager(sector_for("half"))
    shape = (imager.sector.depth_count, imager.sector.beam_count)
    level, loss = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    loss[100:106, 70:90] = 2.5
    texture = (np.zeros(shape, np.float32), np.zeros(shape, np.float32))
    frame = imager.form(0, level, loss, texture).astype(float)
    assert frame[180:220, 180:192].mean() < 0.6 * frame[60:80, 180:192].mean()


def test_a_labelled_plane_shows_a_dark_organ():
    """At least one of stomach and vein is clearly darker than the liver around it in every labelled frame."""
    settings = PhantomSettings(slots=70)
    x, y = settings.sector.plane_mm
    checked = 0
    for seed in range(40, 46):
        renderer = CaseRenderer(seed, settings)
        fetus = renderer.plan.fetus
        for sweep, (plan, truth) in enumerate(zip(renderer.plan.sweeps, renderer.plan.truths)):
            frames = np.flatnonzero(truth.grade)
            pictures, masks = renderer.render(sweep, frames)
            for frame, picture, mask in zip(frames, pictures, masks):
                contrasts = []
                for organ, cut in ((fetus.stomach, truth.stomach), (fetus.vein, truth.vein)):
                    if cut[frame]:
                        axis = plan.rotation[:, 2]
                        normal = np.cross(plan.lateral[frame], plan.depth[frame])
                        centre = plan.centre + plan.size * plan.rotation @ organ.centre
                        rise = normal @ (plan.origin[frame] - centre) / (normal @ axis)
                        point = centre + rise * axis - plan.origin[frame]
                        distance = np.hypot(
                            x[None] - point @ plan.lateral[frame], y[:, None] - point @ plan.depth[frame]
                        )
                        small, large = sorted(organ.semi[:2] * plan.size)
                        around = (distance > 1.3 * large) & (distance < 1.9 * large) & (mask > 0)
                        contrasts.append(picture[around].mean() - picture[distance < 0.7 * small].mean())
                assert max(contrasts) > 20
                checked += 1
    assert checked > 20


def test_a_frame_at_half_scale_costs_less_than_20_ms_of_processor_time():
    """100 frames per second on two cores; process time, so that other load does not matter much."""
    generate_case(5, PhantomSettings(sweeps=1, slots=20))
    start = time.process_time()
    case = generate_case(5, PhantomSettings(sweeps=2, slots=100))
    assert (time.process_time() - start) / sum(case.sweep_lengths) < 0.020


@pytest.mark.parametrize("wrong", [{"scale": "quarter"}, {"sweeps": 0}, {"sweeps": 7}, {"slots": 3}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(OptionError):
        PhantomSettings(**wrong)
