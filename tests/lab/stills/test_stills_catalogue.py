"""The catalogue: each image once, one name for each patient, outlines where somebody drew them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from stills_files import OUTLINE, SHAPE, filled_line, scan, write_african, write_picture

from fetaliqa.errors import NotFoundError, SweepError
from fetaliqa.lab.stills import read_catalogue
from fetaliqa.lab.stills.outline_tables import outline_table
from fetaliqa.measure import ellipse_circumference


def test_an_image_under_two_names_is_kept_once_and_its_patients_are_one(tmp_path):
    write_african(tmp_path, {"patient001_MWI": scan(1), "patient002_MWI": scan(1), "patient003_MWI": scan(3)})
    write_african(tmp_path, {"patient002_MWI": scan(9)}, plane=2)
    stills = read_catalogue(tmp_path)
    assert [(still.name, still.also) for still in stills] == [
        ("patient001_MWI_plane0", ("patient002_MWI_plane0",)),
        ("patient003_MWI_plane0", ()),
        ("patient002_MWI_plane2", ()),
    ]
    assert [still.patient for still in stills] == [
        "african/patient001_MWI",
        "african/patient003_MWI",
        "african/patient001_MWI",
    ]


def test_the_same_scan_in_another_crop_is_of_the_same_patient_but_both_images_stay(tmp_path):
    write_african(tmp_path, {"patient001_EGY": scan(1), "patient002_EGY": scan(1)[1:-1, 1:-1]})
    stills = read_catalogue(tmp_path)
    assert len(stills) == 2
    assert {still.patient for still in stills} == {"african/patient001_EGY"}


def test_abdomens_carry_their_outline_and_other_planes_none(tmp_path):
    write_african(tmp_path, {"patient001_GHA": scan(1)})
    write_african(tmp_path, {"patient001_GHA": scan(2)}, plane=3)
    abdomen, thorax = read_catalogue(tmp_path)
    assert (abdomen.plane, abdomen.ellipse, abdomen.confidence) == ("abdomen", OUTLINE, "sure")
    assert (abdomen.centre, abdomen.licence, abdomen.trainable, abdomen.burned_in) == (
        "Ghana",
        "CC BY 4.0",
        True,
        False,
    )
    assert (thorax.plane, thorax.ellipse) == ("thorax", None)
    assert thorax.burned_in  # no table says otherwise, and Ghana's scanner paints its calipers


def test_filled_masks_of_hc18_give_the_line_that_was_filled(tmp_path):
    write_picture(tmp_path / "hc18_rest" / "images" / "003_HC.png", scan(1))
    write_picture(tmp_path / "hc18_rest" / "masks" / "003_HC_Mask.png", filled_line(OUTLINE, SHAPE))
    table = "filename,pixel size(mm),head circumference (mm)\n003_HC.png,0.2,80.0\n"
    (tmp_path / "hc18_rest" / "pixel_size_and_HC.csv").write_text(table)
    (still,) = read_catalogue(tmp_path)
    assert still.ellipse is not None
    assert still.ellipse.semi_major == pytest.approx(OUTLINE.semi_major, abs=0.1)
    assert still.ellipse.semi_minor == pytest.approx(OUTLINE.semi_minor, abs=0.1)
    assert (still.patient, still.plane, still.pixel_mm, still.circumference_mm) == ("hc18/003", "head", 0.2, 80.0)


def test_frames_for_evaluation_only_are_not_trainable(tmp_path):
    write_picture(tmp_path / "acouslic" / "native_frame_A.png", scan(1))
    write_picture(tmp_path / "acouslic" / "native_frame_A_mask_gt.png", filled_line(OUTLINE, SHAPE))
    write_picture(tmp_path / "acouslic" / "native_frame_C_no_annotation.png", scan(2))
    abdomen, head = read_catalogue(tmp_path)
    assert (abdomen.plane, abdomen.trainable, abdomen.licence) == ("abdomen", False, "CC BY-NC-SA 4.0")
    assert abdomen.mask_file is not None
    assert (head.plane, head.mask_file, head.trainable) == ("head", None, False)


def test_an_outline_drawn_on_another_image_of_that_name_is_not_used(tmp_path):
    write_african(tmp_path, {"patient001_GHA": scan(1)})
    table = tmp_path / "african_abdomen" / "ellipses.csv"
    table.write_text(
        "file,sha256,cx,cy,semi_a,semi_b,angle_deg\n" + f"patient001_GHA_plane0.png,{'0' * 64},1,2,4,3,0\n"
    )
    assert read_catalogue(tmp_path)[0].ellipse is None


def test_folders_and_tables_that_cannot_be_used_are_one_sentence(tmp_path):
    with pytest.raises(NotFoundError, match="no such folder"):
        read_catalogue(tmp_path / "missing")
    with pytest.raises(NotFoundError, match="no still images"):
        read_catalogue(tmp_path)
    table = tmp_path / "ellipses.csv"
    table.write_text("file,cx\na.png,1\n")
    with pytest.raises(SweepError, match="no column cy, semi_a"):
        outline_table(table)
    table.write_text("file,cx,cy,semi_a,semi_b,angle_deg\na.png,1,2,x,4,5\n")
    with pytest.raises(SweepError, match=r"line 2: a\.png needs five numbers"):
        outline_table(table)
    table.write_text("file,cx,cy,semi_a,semi_b,angle_deg\na.png,1,2,0,4,5\n")
    with pytest.raises(SweepError, match="must be positive"):
        outline_table(table)


def test_the_longer_axis_of_a_table_comes_first_and_turns_with_it(tmp_path):
    table = tmp_path / "ellipses.csv"
    table.write_text("file,cx,cy,semi_a,semi_b,angle_deg\na.png,1,2,3,4,-30\n")
    ellipse = outline_table(tmp_path / "none.csv", table)["a.png"].ellipse
    assert (ellipse.semi_major, ellipse.semi_minor, ellipse.angle_deg) == (4, 3, 60)


def test_the_real_sets_hold_what_their_description_says(real_stills):
    planes = Counter((still.source, still.plane) for still in real_stills)
    assert planes["hc18", "head"] == 798  # 799 images, two of which are one
    assert planes["african", "abdomen"] == 60  # 63 files
    assert all(still.ellipse for still in real_stills if still.plane == "abdomen" and still.source == "african")
    assert all(not still.trainable for still in real_stills if still.source == "acouslic")
    assert len({still.sha256 for still in real_stills}) == len(real_stills)
    marked = [still for still in real_stills if still.burned_in_ellipse]
    assert {still.centre for still in marked} == {"Ghana", "Uganda"}
    assert len(marked) == 22


def test_the_circumference_of_every_real_head_is_that_of_its_table(real_stills):
    errors = [
        ellipse_circumference(still.ellipse.semi_major, still.ellipse.semi_minor) * still.pixel_mm
        - still.circumference_mm
        for still in real_stills
        if still.source == "hc18"
    ]
    assert abs(np.mean(errors)) < 0.02
    assert np.abs(errors).max() < 0.2
