"""Splits by patient and by image."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fetaliqa.errors import OptionError
from fetaliqa.lab.stills import Still
from fetaliqa.lab.stills.still_split import leave_out, patient_split


def still(number: int, patient: str, centre: str = "Egypt", sha256: str = "") -> Still:
    return Still(
        file=Path(f"{number}.png"),
        sha256=sha256 or f"sha{number}",
        shape=(10, 10),
        patient=patient,
        source="african",
        centre=centre,
        plane="abdomen",
        licence="CC BY 4.0",
        trainable=True,
    )


def many(count: int) -> list[Still]:
    return [still(number, f"p{number // 2}") for number in range(count)]


def test_no_patient_is_on_both_sides_and_nothing_is_lost():
    stills = many(200)
    train, test = patient_split(stills, 0.3)
    assert sorted(one.file for one in train + test) == sorted(one.file for one in stills)
    assert not {one.patient for one in train} & {one.patient for one in test}
    assert 30 <= len(test) <= 90


def test_two_patients_with_one_image_are_on_one_side_with_all_of_theirs():
    stills = many(100)
    shared = [replace(stills[number], sha256="shared") for number in range(0, 100, 10)]
    stills = [next((one for one in shared if one.file == each.file), each) for each in stills]
    train, test = patient_split(stills, 0.5)
    assert {"shared"} & {one.sha256 for one in train} != {"shared"} & {one.sha256 for one in test}
    assert not {one.patient for one in train} & {one.patient for one in test}


def test_nobody_moves_when_images_are_added_and_another_seed_is_another_split():
    few, more = many(60), many(120)
    before = {one.file for one in patient_split(few, 0.3)[1]}
    after = {one.file for one in patient_split(more, 0.3)[1]}
    assert before == after & {one.file for one in few}
    assert before != {one.file for one in patient_split(few, 0.3, seed=1)[1]}


@pytest.mark.parametrize(("share", "sizes"), [(0.0, (20, 0)), (1.0, (0, 20))])
def test_the_ends_of_the_share_are_all_or_none(share, sizes):
    train, test = patient_split(many(20), share)
    assert (len(train), len(test)) == sizes


def test_images_for_evaluation_only_are_never_trained_on():
    stills = many(20)
    stills[4] = replace(stills[4], trainable=False)
    train, test = patient_split(stills, 0.0)
    assert [one.file.stem for one in test] == ["4", "5"]  # both are of the same patient
    assert len(train) == 18


def test_a_share_beyond_its_range_is_one_sentence():
    with pytest.raises(OptionError, match=r"test share 1\.5"):
        patient_split(many(4), 1.5)


def test_countries_left_out_take_what_they_share_with_others_along():
    stills = [
        still(0, "a", "Egypt"),
        still(1, "b", "Ghana", "same"),
        still(2, "c", "Egypt", "same"),
        still(3, "c", "Egypt"),
    ]
    rest, out = leave_out(stills, ["Ghana"])
    assert [one.file.stem for one in rest] == ["0"]
    assert [one.file.stem for one in out] == ["1", "2", "3"]
    with pytest.raises(OptionError, match="no image of Peru"):
        leave_out(stills, ["Peru"])


def test_real_splits_keep_patients_and_pixels_apart(real_stills):
    train, test = patient_split(real_stills, 0.3)
    assert not {one.patient for one in train} & {one.patient for one in test}
    assert not {one.sha256 for one in train} & {one.sha256 for one in test}
    abdomens = [one for one in test if one.plane == "abdomen" and one.source == "african"]
    assert 10 <= len(abdomens) <= 28
