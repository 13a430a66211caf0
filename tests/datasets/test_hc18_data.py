"""HC18: heads with the expert's line turned into an area, and true millimetres."""

from __future__ import annotations

import cv2
import pytest
from hc18_files import HEADER, line, write_hc18

from fetaliqa.datasets.hc18 import HC18
from fetaliqa.errors import NotFoundError, SweepError
from fetaliqa.labels.dataset_kinds import open_labelled
from fetaliqa.measure import fit_outline


@pytest.mark.parametrize("nested", [True, False])
def test_both_arrangements_give_one_frame_per_image_and_one_subject_per_number(tmp_path, nested):
    data = open_labelled(write_hc18(tmp_path, ["001_HC", "001_2HC", "007_HC"], nested=nested))
    assert data.name == "hc18"
    assert [entry.subject_id for entry in data.entries()] == ["001", "001", "007"]
    case = data.read("001_2HC")
    assert (case.subject_id, case.ranges, case.known.tolist()) == ("001", ((0, 1),), [True])
    assert case.frames.shape == (1, 300, 400)
    assert case.measured().all()


def test_the_area_inside_of_the_line_has_the_circumference_of_the_table(tmp_path):
    case = HC18(write_hc18(tmp_path, ["001_HC"])).read("001_HC")
    measured = fit_outline(case.masks[0], case.spacing).circumference_mm
    assert measured == pytest.approx(case.circumferences_mm[0], rel=0.005)
    assert case.masks[0, 150, 200] == 1


def test_missing_files_are_named_and_their_cases_left_out(tmp_path):
    data = HC18(write_hc18(tmp_path, ["001_HC", "002_HC"]))
    (tmp_path / "annotations" / "002_HC_Annotation.png").unlink()
    assert [entry.case_id for entry in data.entries()] == ["001_HC"]
    assert data.problems() == ["002_HC_Annotation.png is missing"]
    with pytest.raises(NotFoundError, match="no such file"):
        data.read("002_HC")


def test_annotations_that_cannot_be_used_are_one_sentence(tmp_path):
    data = HC18(write_hc18(tmp_path, ["001_HC", "002_HC"]))
    cv2.imwrite(str(tmp_path / "annotations" / "001_HC_Annotation.png"), line()[:200])
    with pytest.raises(SweepError, match="differ in size"):
        data.read("001_HC")
    (tmp_path / "annotations" / "002_HC_Annotation.png").write_bytes(b"not a picture")
    with pytest.raises(SweepError, match="not a readable image"):
        data.read("002_HC")
    with pytest.raises(NotFoundError, match="no such image"):
        data.read("003_HC")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a,b,c\n", "columns"),
        (f"{HEADER}\n001_HC.png,x,200\n", "line 2"),
        (f"{HEADER}\n1.png,0,200\n", "positive"),
    ],
)
def test_tables_of_another_form_are_refused(tmp_path, text, sentence):
    write_hc18(tmp_path, ["001_HC"])
    (tmp_path / "pixel_size_and_HC.csv").write_text(text)
    with pytest.raises(SweepError, match=sentence):
        HC18(tmp_path)


def test_a_folder_without_a_table_is_not_found(tmp_path):
    with pytest.raises(NotFoundError, match="HC18 folder"):
        HC18(tmp_path)


def test_the_fingerprint_changes_with_an_annotation(tmp_path):
    data = HC18(write_hc18(tmp_path, ["001_HC"]))
    before = data.fingerprint()
    assert HC18(tmp_path).fingerprint() == before
    cv2.imwrite(str(tmp_path / "annotations" / "001_HC_Annotation.png"), line(1))
    assert HC18(tmp_path).fingerprint() != before


def test_real_heads_have_the_circumference_of_their_table(shared_data):
    folder = shared_data / "hc18"
    if not folder.is_dir():
        pytest.skip(f"no HC18 images in {shared_data}")
    data = HC18(folder)
    entries = data.entries()
    assert entries
    chosen = [entry for entry in entries if (folder / "images" / f"{entry.case_id}.png").is_file()][::40]
    for entry in chosen:
        case = data.read(entry.case_id)
        assert case.subject_id == entry.case_id.split("_")[0]
        fit = fit_outline(case.masks[0], case.spacing, border_px=0)
        assert fit.circumference_mm == pytest.approx(case.circumferences_mm[0], rel=0.02)
