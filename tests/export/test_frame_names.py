"""A picture's name means one frame of one case, or nothing."""

import unicodedata

import pytest

from fetaliqa.errors import LabelError, OptionError
from fetaliqa.export.frame_names import FrameNames, Place

CASES = ("case_a", "käse 1", "50%", "0199616b-bdeb-4119-97a3-a5a3571bd641", "still_7")


@pytest.mark.parametrize(
    ("name", "case", "frame"),
    [
        ("case_a_0002.png", "case_a", 2),
        ("case_a_0002.PNG", "case_a", 2),
        ("images/default/case_a_0002.png", "case_a", 2),
        ("job_12/case_a_0002.png", "case_a", 2),
        ("task_3/images\\case_a_0002.png", "case_a", 2),
        ("..\\media\\upload\\4\\cb0618f6-case_a_0002.png", "case_a", 2),
        ("upload/1/a1b2c3d4-case_a_0002.png", "case_a", 2),
        ("/data/upload/1/a1b2c3d4-k%C3%A4se%201_0002.png", "käse 1", 2),
        ("/data/local-files/?d=sets%2Fcase_a_0002.png", "case_a", 2),
        ("s3://bucket/x/case_a_0002.png", "case_a", 2),
        ("https://host/case_a_0002.png?signature=1", "case_a", 2),
        (unicodedata.normalize("NFD", "käse 1_0002.png"), "käse 1", 2),
        ("50%_0002.png", "50%", 2),
        ("50%25_0002.png", "50%", 2),
        ("0199616b-bdeb-4119-97a3-a5a3571bd641_0002.png", "0199616b-bdeb-4119-97a3-a5a3571bd641", 2),
        ("case_a/frame_000002.PNG", "case_a", 2),
        ("case_a/0002.png", "case_a", 2),
        ("still_7.png", "still_7", None),
        ("case_a_0002_proposed.png", "case_a", 2),
    ],
)
def test_what_tools_make_of_a_name_is_understood(name, case, frame):
    place = FrameNames(CASES).place(name)
    assert (place.case_id, place.frame, place.proposed) == (case, frame, "proposed" in name)


def test_decomposed_cases_on_disk_are_found_too():
    case = unicodedata.normalize("NFD", "käse")
    assert FrameNames([case]).place("käse_0002.png") == Place(case, 2)


@pytest.mark.parametrize(
    ("cases", "name"),
    [
        (("a", "a1b2c3d4-a"), "a1b2c3d4-a_0002.png"),
        (("alpha", "alpha_0001"), "alpha_0001.png"),
        (("a b", "a%20b"), "a%20b_0002.png"),
        (("x", "job\\x"), "job\\x_0002.png"),
    ],
)
def test_a_name_that_fits_two_cases_is_refused(cases, name):
    with pytest.raises(LabelError, match="may mean"):
        FrameNames(cases).place(name)
    (one, _) = cases
    assert FrameNames([one]).place(name).case_id == one


def test_names_of_no_case_that_is_there_keep_their_own():
    names = FrameNames(CASES)
    assert names.place("other_0002.png") == Place("other", 2)
    assert names.place("photo.png") is None
    assert names.place("other.seg.nrrd", whole=True) == Place("other", None)
    assert names.place("x/case_a.nii.gz", whole=True) == Place("case_a", None)


def test_one_case_is_said_for_all_names():
    names = FrameNames(["alpha", "beta"], case="alpha")
    assert names.place("frame_000012.PNG") == Place("alpha", 12)
    assert names.place("12.png") == Place("alpha", 12)
    assert names.place("alpha_0003.png") == Place("alpha", 3)
    assert names.place("anything") == Place("alpha", None)
    assert names.place("beta_0003.png") is None, "it says that it is of another case"
    assert FrameNames(["alpha"], case="alpha", first_frame=1).place("frame_1.png") == Place("alpha", 0)
    with pytest.raises(LabelError, match="count from 1"):
        FrameNames(["alpha"], case="alpha", first_frame=1).place("frame_0.png")


@pytest.mark.parametrize(
    ("pattern", "case"),
    [
        ("{case}-f{frame}.png", None),
        ("{case}-f{frame}", None),
        ("*/{case}-f{frame}.png", None),
        ("*-f{frame}.png", "alpha"),
        (r"(?P<case>.+)-f(?P<frame>\d+)\.png", None),
        (r"set1/(?P<case>[^/]+)-f(?P<frame>\d+)\.png", None),
    ],
)
def test_a_pattern_says_where_case_and_frame_are(pattern, case):
    names = FrameNames(["alpha"], case=case, pattern=pattern)
    assert names.place("set1\\alpha-f007.PNG") == Place("alpha", 7)
    assert names.place("set1/alpha_007.png") is None


def test_stacks_are_of_a_whole_case():
    names = FrameNames(["alpha"], pattern="{case}_seg.nii.gz")
    assert names.place("alpha_seg.nii.gz", whole=True) == Place("alpha", None)
    assert FrameNames(["alpha"], case="alpha").place("Segmentation_1.seg.nrrd", whole=True) == Place("alpha", None)


def test_a_pattern_may_tell_the_class():
    names = FrameNames(["alpha"], case="alpha", pattern="task-{frame}-annotation-*-tag-{label}-*.png")
    assert names.place("task-5-annotation-9-by-1-tag-Abdomen-0.png") == Place("alpha", 5, label="Abdomen")


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("{label}.png", "must be case, frame"),
        ("{frame}.png", "{case}"),
        ("{case}_{number}.png", "{number} is not known"),
        (r"(?P<frame>\d+", "no regular expression"),
        (r"(?P<case>.+)(?P<frame>\d+)(?P<more>x)", "must be case, frame"),
    ],
)
def test_patterns_that_cannot_be_used_are_refused(pattern, words):
    with pytest.raises(OptionError, match=words):
        FrameNames(["alpha"], pattern=pattern)
