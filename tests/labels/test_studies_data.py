"""One's own studies: which frames count as looked at, and in which layouts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from acouslic_files import SPACING, ellipse_mask, stacks

from fetaliqa.datasets.acouslic_layout import write_stack
from fetaliqa.errors import FetalIQAError, NotFoundError, OptionError, SweepError
from fetaliqa.labels import LabelStore, parse_record
from fetaliqa.labels.dataset_kinds import open_labelled
from fetaliqa.labels.label_store import FOLDER
from fetaliqa.labels.studies import Studies


def record(**frames) -> dict:
    """A frame record; ``f1="annotated/optimal"``."""
    entries = {}
    for key, text in frames.items():
        state, _, plane = text.partition("/")
        entries[key[1:]] = {"state": state, "plane": plane or None, "rater": "r", "time": 1, "model": None}
    return {"schema": 1, "frames": entries}


def plain(root: Path, annotated: dict[int, int], frame_record: dict | None = None, name: str = "p") -> Path:
    frames, masks = stacks(annotated)
    write_stack(root / "images" / f"{name}.mha", frames, SPACING)
    write_stack(root / "labels" / f"{name}.mha", masks, SPACING)
    if frame_record is not None:
        (root / "labels" / f"{name}.frames.json").write_text(json.dumps(frame_record))
    return root


def indexed(root: Path, info: dict, tag: str = "final") -> Path:
    frames, masks = stacks({1: 1, 5: 1})
    write_stack(root / "p.mha", frames, SPACING)
    write_stack(root / "labels" / tag / "p.mha", masks, SPACING)
    index = {
        "name": "n",
        "description": "d",
        "images_dir": ".",
        "labels_dir": "labels",
        "objects": {
            "p": {"image": {"ext": ".mha", "info": {}}, "labels": {tag: {"ext": ".mha", "info": info}}},
            "unlabelled": {"image": {"ext": ".mha", "info": {}}, "labels": {}},
        },
    }
    (root / "datastore_v2.json").write_text(json.dumps(index))
    return root


def _known(case):
    return np.flatnonzero(case.known).tolist()


def test_without_a_record_only_frames_with_a_mask_are_known(tmp_path):
    case = Studies(plain(tmp_path, {1: 1, 5: 2})).read("p")
    assert _known(case) == [1, 5]
    assert case.grades()[[1, 5]].tolist() == [1, 2]


def test_with_a_record_only_what_a_person_confirmed_is_known(tmp_path):
    frame_record = record(f1="annotated/suboptimal", f2="empty", f5="proposed/optimal")
    data = Studies(plain(tmp_path, {1: 1, 5: 1, 9: 1}, frame_record))
    case = data.read("p")
    assert _known(case) == [1, 2]
    assert case.grades().tolist() == [0, 2] + [0] * 22  # neither the proposal nor the unrecorded mask is left
    assert data.problems() == []


def test_the_plane_of_the_record_sets_the_label_whatever_the_mask_s_value(tmp_path):
    case = Studies(plain(tmp_path, {1: 255, 2: 255}, record(f1="annotated/optimal", f2="annotated/suboptimal")))
    assert case.read("p").grades()[[1, 2]].tolist() == [1, 2]


def test_without_a_plane_the_mask_keeps_its_value_which_must_be_a_known_one(tmp_path):
    assert Studies(plain(tmp_path, {1: 2}, record(f1="annotated"))).read("p").grades()[1] == 2
    with pytest.raises(SweepError, match="frame 1 holds the value 255; use 1"):
        Studies(plain(tmp_path, {1: 255}, record(f1="annotated"))).read("p")


def test_frames_whose_record_and_mask_contradict_each_other_are_unknown_and_reported(tmp_path):
    frame_record = record(f1="empty", f2="annotated/optimal", f3="empty", f5="annotated/optimal")
    data = Studies(plain(tmp_path, {1: 1, 5: 1}, frame_record))
    case = data.read("p")
    assert _known(case) == [5]
    assert not case.masks[1].any()
    assert data.problems() == [
        "p: frame 1 was called empty, but has a mask",
        "p: frame 2 was called annotated, but its mask is empty",
        "p: frame 3 is black, but was called empty",
    ]


def test_there_is_no_reference_circumference(tmp_path):
    case = Studies(plain(tmp_path, {1: 1})).read("p")
    assert set(case.circumferences_mm) == {None}
    assert not case.measured().any()
    assert case.spacing == SPACING


@pytest.mark.parametrize("under", ["frame_record", "params"])
def test_the_final_labels_of_a_server_s_studies_folder_are_read_with_their_record(tmp_path, under):
    frame_record = record(f1="annotated/optimal", f2="empty")
    info = {"frame_record": frame_record}
    info = info if under == "frame_record" else {"params": info}
    data = open_labelled(indexed(tmp_path, info))
    assert [entry.case_id for entry in data.entries()] == ["p"]
    assert _known(data.read("p")) == [1, 2]


def test_a_server_s_label_without_a_record_tells_of_no_frame(tmp_path):
    data = Studies(indexed(tmp_path, {"user": "anna"}))
    assert data.entries() == []
    (why,) = data.left_out()
    assert why.startswith("p: its label has no frame record")
    assert not data.read("p").known.any()
    assert data.problems() == [why]


def test_a_label_that_was_sent_back_trains_again_once_it_is_saved_anew(tmp_path):
    indexed(tmp_path, {})
    store = LabelStore(tmp_path / FOLDER)
    frame_record = parse_record(record(f1="annotated", f2="empty"), "test")
    mask = tmp_path / "labels/final/p.mha"
    store.save("p", "final", mask, frame_record)
    assert Studies(tmp_path).confirmed("p") == (1, 1)
    store.review("p", "final", 1, "returned", "dr_b", "the liver is cut off")
    data = Studies(tmp_path)
    assert data.entries() == []
    (reason,) = data.left_out()
    assert reason.startswith("p: version 1 ")
    assert "dr_b (the liver is cut off)" in reason
    assert not data.read("p").known.any()
    store.review("p", "final", 1, "accepted", "dr_b")
    assert [entry.case_id for entry in Studies(tmp_path).entries()] == ["p"]
    store.review("p", "final", 1, "returned", "dr_b", "no")
    store.save("p", "final", mask, frame_record)
    assert Studies(tmp_path).confirmed("p") == (1, 1)


def test_what_keeps_a_label_from_being_a_case_is_said(tmp_path):
    plain(tmp_path, {1: 1}, record(f1="annotated"), name="gone")
    (tmp_path / "labels/gone.mha").unlink()
    plain(tmp_path, {1: 1}, {"schema": 1, "frames": {"x": {}}}, name="torn")
    plain(tmp_path, {1: 1}, record(f1="proposed"), name="waiting")  # nothing to put right
    data = Studies(tmp_path)
    assert data.entries() == []
    gone, torn = data.left_out()
    assert gone == "gone: its record has annotated frames, but there is no mask file"
    assert torn.startswith("torn")


def test_labels_that_only_a_model_made_are_no_cases(tmp_path):
    data = Studies(indexed(tmp_path, {}, tag="original"))
    assert data.entries() == []
    with pytest.raises(NotFoundError, match="no labelled case"):
        data.read("p")


def test_a_case_of_proposals_only_is_not_offered(tmp_path):
    assert Studies(plain(tmp_path, {1: 1}, record(f1="proposed/optimal"))).entries() == []


def test_frames_called_empty_need_no_mask_file_but_annotated_ones_do(tmp_path):
    plain(tmp_path, {}, record(f1="empty", f2="empty"))
    (tmp_path / "labels" / "p.mha").unlink()
    data = Studies(tmp_path)
    assert [entry.case_id for entry in data.entries()] == ["p"]
    assert _known(data.read("p")) == [1, 2]
    (tmp_path / "labels" / "p.frames.json").write_text(json.dumps(record(f1="annotated/optimal")))
    data = Studies(tmp_path)
    assert data.entries() == []
    assert data.problems() == ["p: its record has annotated frames, but there is no mask file"]


def test_single_pictures_and_their_masks_are_cases_of_one_frame(tmp_path):
    import cv2

    for part, picture in (("images", stacks({})[0][0]), ("masks", ellipse_mask())):
        (tmp_path / part).mkdir()
        cv2.imwrite(str(tmp_path / part / "x.png"), picture)
    case = open_labelled(tmp_path, anatomy="head").read("x")
    assert case.grades().tolist() == [1]
    assert case.spacing is None


def test_subjects_come_from_their_table_and_default_to_the_case(tmp_path):
    plain(tmp_path, {1: 1})
    plain(tmp_path, {1: 1}, name="q")
    (tmp_path / "subjects.csv").write_text("case_id,subject_id\np,anna\n")
    assert [(e.case_id, e.subject_id) for e in Studies(tmp_path).entries()] == [("p", "anna"), ("q", "q")]
    (tmp_path / "subjects.csv").write_text("case_id,subject_id\np,anna\np,berta\n")
    with pytest.raises(SweepError, match="two subjects"):
        Studies(tmp_path)


def test_studies_of_phantoms_say_that_they_are_synthetic(tmp_path):
    plain(tmp_path, {1: 1})
    (tmp_path / "manifest.json").write_text('{"synthetic": true}')
    assert Studies(tmp_path).synthetic


def test_a_manifest_that_lists_its_phantoms_does_not_make_others_synthetic(tmp_path):
    plain(tmp_path, {1: 1})
    (tmp_path / "manifest.json").write_text('{"synthetic": true, "cases": [{"case_id": "p"}]}')
    assert Studies(tmp_path).synthetic
    plain(tmp_path, {1: 1}, name="a-patient")
    assert not Studies(tmp_path).synthetic


def test_the_fingerprint_changes_with_a_state_and_not_with_who_gave_it(tmp_path):
    frame_record = record(f1="annotated/optimal", f2="empty")
    first = Studies(plain(tmp_path, {1: 1}, frame_record)).fingerprint()
    frame_record["frames"]["1"]["rater"] = "somebody else"
    assert Studies(plain(tmp_path, {1: 1}, frame_record)).fingerprint() == first
    frame_record["frames"]["2"]["state"] = "proposed"
    assert Studies(plain(tmp_path, {1: 1}, frame_record)).fingerprint() != first


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"schema": 2, "frames": {}}, "a frame record is"),
        ({"schema": 1, "frames": {"x": {}}}, "frame 'x'"),
        ({"schema": 1, "frames": {"1": {"state": "done"}}}, "frame 1 in its record: state 'done'"),
        ({"schema": 1, "frames": {"1": {"state": "empty", "plane": "good"}}}, "plane 'good'"),
        ({"schema": 1, "frames": {"24": {"state": "annotated"}}}, "names frame 24; its frames are 0 to 23"),
    ],
)
def test_records_of_another_form_are_one_sentence(tmp_path, told, sentence):
    data = Studies(plain(tmp_path, {1: 1}, told))
    with pytest.raises(FetalIQAError, match=sentence):
        data.read("p")
    assert len(data.problems()) == 1


@pytest.mark.parametrize(
    "index",
    [
        "{",
        "[]",
        '{"objects": {"../p": {"image": {"ext": ".mha"}, "labels": {"final": {"ext": ".mha"}}}}}',
        '{"objects": {}, "images_dir": "../.."}',
        '{"objects": {"p": 1}}',
    ],
)
def test_indexes_that_are_damaged_or_lead_elsewhere_are_refused(tmp_path, index):
    (tmp_path / "datastore_v2.json").write_text(index)
    with pytest.raises(SweepError, match=r"datastore_v2\.json"):
        Studies(tmp_path)


def test_folders_and_anatomies_that_are_unknown_are_refused(tmp_path):
    with pytest.raises(NotFoundError, match="neither"):
        Studies(tmp_path)
    with pytest.raises(OptionError, match="anatomy 'kidney'"):
        Studies(plain(tmp_path, {1: 1}), "kidney")


def test_two_images_of_one_name_are_refused(tmp_path):
    plain(tmp_path, {1: 1})
    (tmp_path / "images" / "p.nrrd").write_bytes(b"x")
    with pytest.raises(SweepError, match="same name"):
        Studies(tmp_path)


def test_masks_and_subjects_belong_to_images_whatever_form_their_names_are_written_in(tmp_path):
    on_a_mac, typed = "gro\u0308ße", "größe"
    plain(tmp_path, {1: 1}, name=on_a_mac)
    (tmp_path / "labels" / f"{on_a_mac}.mha").rename(tmp_path / "labels" / f"{typed}.MHA")
    (tmp_path / "labels" / f"{typed}.frames.json").write_text("\ufeff" + json.dumps(record(f1="annotated")))
    (tmp_path / "subjects.csv").write_text(f"\ufeffcase_id,subject_id\n{typed},s1\n", encoding="utf-8")
    data = Studies(tmp_path)
    assert [(entry.case_id, entry.subject_id) for entry in data.entries()] == [(on_a_mac, "s1")]
    assert _known(data.read(on_a_mac)) == [1]


def test_two_masks_of_one_image_are_named(tmp_path):
    plain(tmp_path, {1: 1})
    plain(tmp_path, {1: 1}, name="q")
    write_stack(tmp_path / "labels" / "p.MHA.mha", stacks({2: 1})[1], SPACING)
    (tmp_path / "labels" / "p.MHA.mha").rename(tmp_path / "labels" / "p.MHA")
    data = Studies(tmp_path)
    assert [entry.case_id for entry in data.entries()] == ["q"]
    assert any("p.MHA and p.mha are both its label" in problem for problem in data.problems())
