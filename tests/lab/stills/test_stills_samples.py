"""Images in memory: plain squares, samples, and what is a negative."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from stills_files import OUTLINE, scan, write_african, write_picture

from fetaliqa.errors import OptionError
from fetaliqa.lab.stills import read_catalogue
from fetaliqa.lab.stills.burned_in_marks import marks_mask
from fetaliqa.lab.stills.still_image import read_grey
from fetaliqa.lab.stills.still_samples import LONGEST_SIDE, StillSet, native_mask, usable
from fetaliqa.measure import draw_ellipse
from fetaliqa.measure.square_grid import SquareGrid


@pytest.fixture
def folder(tmp_path):
    write_african(tmp_path, {"patient001_EGY": scan(1), "patient002_EGY": scan(2, (500, 700))})
    write_african(tmp_path, {"patient003_EGY": scan(3)}, plane=2)
    write_picture(tmp_path / "fp_abdomen" / "Patient00305_Plane2_1_of_1.png", scan(4))
    return tmp_path


def test_plain_is_the_model_s_own_square_of_the_native_image(folder):
    stills = usable(read_catalogue(folder), "abdomen")
    still_set = StillSet(stills)
    for number, still in enumerate(stills):
        native, grid = read_grey(still.file), SquareGrid(*still.shape)
        square, outline = still_set.plain(number)
        assert np.array_equal(square, grid.to_square(native[None])[0].numpy())
        assert np.array_equal(outline, grid.mask_to_square(native_mask(still, "abdomen")[None])[0])


def test_arrays_say_who_what_and_whether_it_is_outlined(folder):
    still_set = StillSet(usable(read_catalogue(folder), "abdomen"))
    assert len(still_set) == 3
    assert still_set.planes.tolist() == ["abdomen", "abdomen", "femur"]
    assert still_set.positive.tolist() == [True, True, False]
    assert still_set.patients.tolist() == [f"african/patient00{number}_EGY" for number in (1, 2, 3)]
    assert max(still_set._held[1].image.shape) == LONGEST_SIDE


def test_an_abdomen_that_nobody_outlined_is_no_negative(folder):
    stills = read_catalogue(folder)
    assert len(stills) == 4
    assert len(usable(stills, "abdomen")) == 3
    with pytest.raises(OptionError, match="1 images may show the abdomen"):
        StillSet(stills)
    assert len(usable(stills, "head")) == 4  # none of them shows a head


def test_samples_depend_on_the_generator_only_and_negatives_have_no_mask(folder):
    still_set = StillSet(usable(read_catalogue(folder), "abdomen"))
    one, again = (still_set.sample(0, np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(one[0], again[0])
    assert one[1].any()
    assert not any(still_set.sample(2, np.random.default_rng(seed))[1].any() for seed in range(10))


def test_marks_are_taken_out_before_the_image_is_kept(tmp_path):
    marked = scan(1)
    for x, y in np.round(OUTLINE.points(60)).astype(int):
        marked[y, x] = 255
    write_african(tmp_path, {"patient001_GHA": marked})
    still = replace(read_catalogue(tmp_path)[0], burned_in=True)
    assert marks_mask(marked).any()
    clean, dirty = StillSet([still]), StillSet([still], clean=False)
    assert not marks_mask(clean._held[0].image).any()
    assert marks_mask(dirty._held[0].image).any()


def test_an_expert_s_mask_serves_where_there_is_no_ellipse(tmp_path):
    drawn = draw_ellipse(OUTLINE, (240, 300))
    write_picture(tmp_path / "acouslic" / "native_frame_A.png", scan(1))
    write_picture(tmp_path / "acouslic" / "native_frame_A_mask_gt.png", drawn * 255)
    (still,) = read_catalogue(tmp_path)
    assert np.array_equal(native_mask(still, "abdomen"), drawn)
    assert StillSet([still]).positive.tolist() == [True]
