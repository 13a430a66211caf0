"""ACOUSLIC-AI folders: what is read of a case, what is refused, and what a check finds."""

from __future__ import annotations

import json

import pytest
import SimpleITK as sitk
from acouslic_files import AC_MM, SPACING, ellipse_mask, stacks, write_set

from fetaliqa.datasets.acouslic import Acouslic, verify
from fetaliqa.datasets.acouslic_layout import (
    CIRCUMFERENCES,
    IMAGES,
    MANIFEST,
    MASKS,
    Circumferences,
    read_circumferences,
    write_circumferences,
    write_stack,
)
from fetaliqa.errors import NotFoundError, OptionError, SweepError
from fetaliqa.labels.dataset_kinds import open_labelled

NONE = (None,) * 6


@pytest.fixture
def folder(tmp_path):
    return write_set(tmp_path / "set")


def _kinds(folder):
    report = verify(folder)
    return {(problem.case_id, problem.kind) for problem in report.problems}


def test_entries_follow_the_order_of_the_table(folder):
    assert [(e.case_id, e.subject_id) for e in Acouslic(folder).entries()] == [("b", "000"), ("a", "001")]


def test_a_case_has_equal_sixths_its_circumferences_and_known_frames_without_padding(folder):
    case = Acouslic(folder).read("a")
    assert case.ranges == tuple((k, k + 4) for k in range(0, 24, 4))
    assert case.circumferences_mm[0] == pytest.approx(AC_MM, abs=1e-3)
    assert case.circumferences_mm[1] is None
    assert case.spacing == SPACING
    assert case.known.tolist() == [True, True, True, False] * 6
    assert case.grades().tolist() == [0, 1, 2, 0, 0, 0, 0, 0, 0, 2] + [0] * 14
    assert case.measured().nonzero()[0].tolist() == [0, 1, 2, 3, 8, 9, 10, 11]


def test_masks_drawn_as_lines_are_filled(folder):
    _, masks = stacks({1: 1})
    line = ellipse_mask(1) - ellipse_mask(1, (32, 25))
    masks[1] = line
    write_stack(folder / MASKS / "a.mha", masks, SPACING)
    assert Acouslic(folder).read("a").masks[1].sum() == ellipse_mask(1).sum()
    assert line.sum() < ellipse_mask(1).sum() / 4


def test_frames_that_do_not_divide_leave_the_rest_to_the_last_sweep(folder):
    frames, masks = stacks({1: 1})
    for part, stack in ((IMAGES, frames), (MASKS, masks)):
        write_stack(folder / part / "b.mha", stack[:22], SPACING)
    assert Acouslic(folder).read("b").ranges[-2:] == ((12, 15), (15, 22))
    assert ("b", "frame-count") in _kinds(folder)


def test_ranges_in_the_image_file_come_before_equal_ones(folder):
    frames, _ = stacks({})
    image = sitk.GetImageFromArray(frames)
    image.SetMetaData("SweepRanges", "0:10,10:24")
    sitk.WriteImage(image, str(folder / IMAGES / "b.mha"))
    write_stack(folder / MASKS / "b.mha", stacks({5: 2})[1], SPACING)
    assert Acouslic(folder).read("b").ranges == ((0, 10), (10, 24))


def test_phantoms_say_that_they_are_synthetic_and_bring_their_ranges(sample_data):
    data = Acouslic(sample_data)
    assert (data.name, data.synthetic) == ("phantom", True)
    case = data.read(data.entries()[0].case_id)
    assert case.ranges == ((0, 48), (48, 96))
    assert len(case.circumferences_mm) == 2


def test_the_real_table_opens_and_the_doubled_one_is_refused(shared_data, tmp_path):
    text = (shared_data / "acouslic" / CIRCUMFERENCES.name).read_text()
    target = tmp_path / CIRCUMFERENCES
    target.parent.mkdir(parents=True)
    target.write_text(text)
    assert len(Acouslic(tmp_path).table_entries()) == 300
    values = [value for row in read_circumferences(tmp_path) for value in row.ac_mm if value is not None]
    assert len(values) == 553
    assert 140 < min(values) < max(values) < 351
    head, *rows = text.splitlines()
    doubled = [
        ",".join(c if k < 2 or not c else str(2 * float(c)) for k, c in enumerate(row.split(","))) for row in rows
    ]
    target.write_text("\n".join([head, *doubled]))
    with pytest.raises(SweepError, match=r"AC 701 mm.*version 1\.0 of this table is doubled, use version 1\.1"):
        Acouslic(tmp_path)


def test_a_doubled_table_of_small_fetuses_is_refused_by_its_median(folder):
    rows = [Circumferences("a", "0", (410.0, 440.0, *NONE[2:])), Circumferences("b", "1", (420.0, *NONE[1:]))]
    write_circumferences(folder, rows)
    with pytest.raises(SweepError, match=r"median AC is 420 mm.*12697994"):
        Acouslic(folder)


@pytest.mark.parametrize("case_id", ["c", "../set/images/stacked_fetal_ultrasound/a"])
def test_unknown_cases_are_not_found(folder, case_id):
    with pytest.raises(NotFoundError, match="no such case"):
        Acouslic(folder).read(case_id)


def test_a_case_name_that_leads_elsewhere_is_refused(folder):
    write_circumferences(folder, [Circumferences("../a", "0", NONE)])
    with pytest.raises(SweepError, match="not a case name"):
        Acouslic(folder)


def test_masks_on_another_grid_or_with_other_values_are_refused(folder):
    _, masks = stacks({1: 1})
    write_stack(folder / MASKS / "a.mha", masks, (0.5, 0.5))
    with pytest.raises(SweepError, match=r"spacing.*export the mask"):
        Acouslic(folder).read("a")
    write_stack(folder / MASKS / "b.mha", masks * 3, SPACING)
    with pytest.raises(SweepError, match="hold the value 3"):
        Acouslic(folder).read("b")


def test_an_ac_for_a_sweep_that_the_case_lacks_is_refused(folder):
    (folder / MANIFEST).write_text(json.dumps({"sweep_ranges": [[0, 12], [12, 24]]}))
    with pytest.raises(SweepError, match="AC for sweep 3, but the case has 2 sweeps"):
        Acouslic(folder).read("a")


def test_ranges_of_a_manifest_that_do_not_fit_are_refused(folder):
    (folder / MANIFEST).write_text(json.dumps({"sweep_ranges": [[0, 12], [12, 25]]}))
    with pytest.raises(SweepError, match=r"ranges in manifest\.json do not match"):
        Acouslic(folder).read("a")


def test_the_fingerprint_changes_with_a_label_an_image_or_the_table_and_not_with_time(folder):
    seen = {Acouslic(folder).fingerprint()}
    (folder / IMAGES / "a.mha").touch()
    assert Acouslic(folder).fingerprint() in seen
    frames, masks = stacks({1: 1, 2: 2, 9: 2})
    masks[1, 56, 64] = 0
    write_stack(folder / MASKS / "a.mha", masks, SPACING)
    seen.add(Acouslic(folder).fingerprint())
    frames[0, 0, 0] ^= 1
    write_stack(folder / IMAGES / "a.mha", frames, SPACING)
    seen.add(Acouslic(folder).fingerprint())
    table = folder / CIRCUMFERENCES
    table.write_text(table.read_text().replace("001", "002"))
    seen.add(Acouslic(folder).fingerprint())
    assert len(seen) == 4


def test_a_sound_folder_verifies_and_its_table_agrees_with_its_masks(folder):
    calls = []
    report = verify(folder, lambda done, total: calls.append((done, total)))
    assert report.sound
    assert calls == [(1, 2), (2, 2)]
    assert report.frames == {"slots": 48, "padding": 12, "optimal": 1, "suboptimal": 3}
    assert report.ac_mm["count"] == 3
    assert report.table_over_masks["median"] == pytest.approx(1.0, abs=0.01)
    json.dumps(report.to_json(), allow_nan=False)


def test_a_doubled_table_is_found_by_the_masks_where_no_value_is_impossible(folder):
    twice = 2 * AC_MM
    rows = [
        Circumferences("a", "0", (twice, None, twice, *NONE[3:])),
        Circumferences("b", "1", (None, twice, *NONE[2:])),
    ]
    write_circumferences(folder, rows)
    with pytest.raises(SweepError, match=r"its AC is [\d.]+ times that of the masks; version 1.0 .* is doubled"):
        Acouslic(folder)  # so nothing trains on it
    report = verify(folder)
    assert report.table_over_masks["median"] > 1.7
    assert [p.kind for p in report.problems] == ["doubled"]
    assert "version 1.1" in report.problems[0].sentence


def test_a_few_large_fetuses_are_not_taken_for_doubled_ones(folder, monkeypatch):
    monkeypatch.setattr("fetaliqa.datasets.acouslic_verify.LOWEST_DOUBLED_AC_MM", AC_MM - 1)
    write_circumferences(folder, [Circumferences("a", "0", (AC_MM, None, AC_MM, *NONE[3:]))])
    Acouslic(folder)  # its masks were asked, and say the same


@pytest.mark.parametrize("cell", ["inf", "-Infinity", "large"])
def test_an_ac_that_is_no_number_is_named(folder, cell):
    write_circumferences(folder, [Circumferences("a", "0", (AC_MM, *NONE[1:]))])
    table = folder / CIRCUMFERENCES
    table.write_text(table.read_text().replace(f"{AC_MM:.4f}", cell))
    with pytest.raises(SweepError, match=rf"case a: sweep_1_ac_mm is '{cell}'; a number is needed"):
        Acouslic(folder)


def test_a_table_in_another_encoding_is_refused(folder):
    table = folder / CIRCUMFERENCES
    table.write_bytes(table.read_bytes() + "é".encode("latin-1"))
    with pytest.raises(SweepError, match=r"per_sweep\.csv: byte \d+ is not UTF-8; save the table"):
        Acouslic(folder)


def test_a_table_without_rows_is_a_problem(folder):
    table = folder / CIRCUMFERENCES
    table.write_text(table.read_text().splitlines()[0] + "\n")
    report = verify(folder)
    assert "empty" in [problem.kind for problem in report.problems]
    assert not report.sound


def test_a_wrong_pixel_size_is_found_by_the_masks(folder):
    write_circumferences(folder, [Circumferences("a", "0", (AC_MM * 0.7, None, AC_MM * 0.7, *NONE[3:]))])
    (folder / IMAGES / "b.mha").unlink()
    (folder / MASKS / "b.mha").unlink()
    assert (None, "scale") in _kinds(folder)


def test_missing_and_unlisted_files_are_named(folder):
    (folder / IMAGES / "a.mha").unlink()
    (folder / MASKS / "b.mha").rename(folder / MASKS / "z.mha")
    assert _kinds(folder) == {("a", "no-image"), ("b", "no-mask"), ("z", "not-in-table")}
    assert Acouslic(folder).entries() == []


def test_contradictions_between_table_and_masks_are_named(folder):
    rows = [
        Circumferences("a", "0", (AC_MM, AC_MM, None, 40.0, None, None)),
        Circumferences("b", "1", (None, AC_MM, *NONE[2:])),
        Circumferences("b", "2", NONE),
    ]
    write_circumferences(folder, rows)
    _, masks = stacks({3: 1, 5: 2})
    masks[5] += 1
    masks[5][masks[5] == 1] = 0
    write_stack(folder / MASKS / "b.mha", masks, SPACING)
    assert _kinds(folder) == {
        ("a", "ac-without-annotation"),
        ("a", "annotation-without-ac"),
        ("a", "implausible-ac"),
        ("b", "duplicate"),
        ("b", "mask-values"),
        ("b", "annotated-padding"),
        ("b", "annotation-without-ac"),
    }
    with pytest.raises(SweepError, match="2 rows"):
        Acouslic(folder).read("b")


def test_sizes_that_differ_and_files_that_are_cut_are_named(folder):
    write_stack(folder / MASKS / "a.mha", stacks({1: 1})[1][:12], SPACING)
    cut = folder / IMAGES / "b.mha"
    cut.write_bytes(cut.read_bytes()[:2000])
    assert _kinds(folder) == {("a", "size"), ("b", "unreadable")}


def test_what_is_amiss_in_the_published_set_is_a_remark(folder):
    known = "f1fcabfc-f998-44c7-8420-c7a5ae5aaab7"
    for part in (IMAGES, MASKS):
        (folder / part / "b.mha").rename(folder / part / f"{known}.mha")
    write_stack(folder / MASKS / f"{known}.mha", stacks({})[1], SPACING)
    write_circumferences(
        folder,
        [
            Circumferences(known, "009", (173.93, *NONE[1:])),
            Circumferences("a", "1", (AC_MM, None, AC_MM, *NONE[3:])),
        ],
    )
    report = verify(folder)
    assert report.sound
    assert [(remark.case_id, remark.kind) for remark in report.remarks] == [(known, "ac-without-annotation")]


def test_open_labelled_knows_the_layout_and_refuses_what_does_not_fit(folder, tmp_path):
    assert open_labelled(folder).name == "acouslic"
    with pytest.raises(OptionError, match="shows the abdomen, not the head"):
        open_labelled(folder, anatomy="head")
    with pytest.raises(OptionError, match="kind 'dicom'"):
        open_labelled(folder, "dicom")
    with pytest.raises(NotFoundError, match="one folder deeper"):
        open_labelled(folder.parent)
    with pytest.raises(NotFoundError, match="no labelled data set"):
        open_labelled(folder / "images")
    with pytest.raises(NotFoundError, match="no such folder"):
        open_labelled(tmp_path / "none")
    with pytest.raises(NotFoundError, match="a file; "):
        open_labelled(folder / CIRCUMFERENCES)
