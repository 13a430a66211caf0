"""Which class of a segmentation is the anatomy, by what people call it."""

import pytest

from fetaliqa.measure.anatomy import ABDOMEN, HEAD
from fetaliqa.measure.anatomy_names import grade_of, is_background, is_ignored, matches


@pytest.mark.parametrize(
    "name",
    ["abdomen", "Abdomen", " fetal abdomen ", "Fetal-Abdomen", "FOETAL_ABDOMEN", "FetalAbdomen", "AC", "a.c.",
     "Abd", "abdominal circumference", "abdomen_suboptimal", "Abdomen (sub-optimal)", "optimal abdomen",
     "suboptimal plane", "abdomen_suboptimal_proposed", "abdomen mask", "ａｂｄｏｍｅｎ"],
)  # fmt: skip
def test_a_name_of_the_abdomen_is_the_abdomen(name):
    assert matches(name, ABDOMEN)
    assert matches(name, "abdomen")
    assert not matches(name, HEAD)


@pytest.mark.parametrize(
    "name",
    ["head", "placenta", "abdominal wall", "not abdomen", "abdomen_other", "maternal abdomen", "acromion",
     "ignore", "background", "Segment_1", "1", "", "_", "abdomen 2", "non-optimal abdomen"],
)  # fmt: skip
def test_other_names_are_not(name):
    assert not matches(name, ABDOMEN)


def test_heads_have_names_too():
    assert all(matches(name, HEAD) for name in ("head", "Fetal Head", "HC", "head_circumference"))
    assert not any(matches(name, HEAD) for name in ("forehead", "skull", "abdomen", "optimal"))


def test_grades_are_read_from_names():
    assert [grade_of(n) for n in ("abdomen", "Optimal", "sub-optimal AC", "AC_suboptimal", "non-optimal")] == [
        None, "optimal", "suboptimal", "suboptimal", None,
    ]  # fmt: skip


def test_what_is_no_structure_is_known():
    assert is_ignored("Ignore")
    assert is_ignored("don't care")
    assert is_background("Background")
    assert not is_ignored("abdomen")
