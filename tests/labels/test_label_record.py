"""Frame records: what they accept, and which frames of theirs are truth."""

import json

import pytest

from fetaliqa.errors import LabelError
from fetaliqa.labels import FrameLabel, FrameRecord, parse_record

WHOLE = {
    "state": "annotated",
    "plane": "optimal",
    "rater": "anna",
    "time": "2026-11-25T10:00:00+00:00",
    "model": "demo",
    "model_version": "1.0",
    "seconds": 12.5,
}


def test_a_record_survives_json():
    record = FrameRecord({57: FrameLabel(**WHOLE), 3: FrameLabel("empty", rater="anna")})
    parsed = json.loads(json.dumps(record.to_json()))
    assert list(parsed["frames"]) == ["3", "57"]
    assert parsed["frames"]["57"] == WHOLE
    assert parse_record(parsed, "case").frames == record.frames


def test_a_comment_is_kept_and_confirms_nothing():
    record = FrameRecord({3: FrameLabel("proposed", comment="shadow"), 5: FrameLabel(**WHOLE, comment="x" * 500)})
    parsed = json.loads(json.dumps(record.to_json()))
    assert parsed["frames"]["3"]["comment"] == "shadow"
    again = parse_record(parsed, "case")
    assert (again.frames, again.known()) == (record.frames, [5])
    for wrong in ("x" * 501, 3):
        with pytest.raises(LabelError, match=r"comment .*at most 500"):
            parse_record({"schema": 1, "frames": {"7": {"state": "empty", "comment": wrong}}}, "case-1")


def test_a_record_says_how_a_mask_came_about():
    clicked = FrameLabel("annotated", origin="interactive", clicks=3)
    carried = FrameLabel("proposed", origin="propagated", source_frame=57)
    record = parse_record(json.loads(json.dumps(FrameRecord({57: clicked, 58: carried}).to_json())), "case", 60)
    assert record.frames == {57: clicked, 58: carried}
    assert record.known() == [57]


def test_an_origin_of_a_later_version_is_left_out():
    record = parse_record({"schema": 1, "frames": {"1": {**WHOLE, "origin": "tracked"}}}, "case")
    assert record.frames[1] == FrameLabel(**WHOLE)
    with pytest.raises(ValueError, match="origin 'tracked'; it must be interactive or propagated"):
        FrameLabel("annotated", origin="tracked")


def test_a_frame_carried_from_beyond_the_case_is_refused():
    carried = {"state": "annotated", "origin": "propagated", "source_frame": 60}
    with pytest.raises(LabelError, match="frame 5 in its record: source_frame 60; its frames are 0 to 59"):
        parse_record({"schema": 1, "frames": {"5": carried}}, "case", 60)


def test_a_proposal_is_never_known():
    states = {0: FrameLabel("proposed", "optimal"), 4: FrameLabel("empty"), 2: FrameLabel("annotated")}
    assert FrameRecord(states).known() == [2, 4]


def test_fields_of_later_versions_are_left_out():
    record = parse_record({"schema": 1, "frames": {"1": {**WHOLE, "mood": "good"}}}, "case")
    assert record.frames[1] == FrameLabel(**WHOLE)


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"state": "seen"}, "frame 7 in its record: state 'seen'; it must be one of annotated, empty, proposed"),
        ({}, "state None"),
        ({"state": "empty", "plane": "good"}, "plane 'good'"),
        ({"state": "empty", "rater": ""}, "rater ''; text of 1 to 200"),
        ({"state": "empty", "model": 3}, "model 3"),
        ({"state": "empty", "time": "noon"}, "time 'noon'; ISO 8601"),
        ({"state": "empty", "time": [5]}, "time [5]; ISO 8601"),
        ({"state": "empty", "seconds": -1}, "seconds -1; a number from 0 on"),
        ({"state": "empty", "seconds": True}, "seconds True"),
        ({"state": "empty", "seconds": float("nan")}, "seconds nan"),
        ({"state": "annotated", "origin": ["interactive"]}, "origin ['interactive']"),
        ({"state": "annotated", "clicks": 2.5}, "clicks 2.5; a whole number"),
        ({"state": "annotated", "clicks": True}, "clicks True"),
        ({"state": "annotated", "source_frame": -1}, "source_frame -1"),
    ],
)
def test_a_wrong_field_is_named(entry, sentence):
    with pytest.raises(LabelError) as caught:
        parse_record({"schema": 1, "frames": {"7": entry}}, "case-1")
    assert "case-1" in str(caught.value)
    assert sentence in str(caught.value)


@pytest.mark.parametrize("record", [None, [], {}, {"schema": 2, "frames": {}}, {"schema": 1, "frames": []}])
def test_what_is_no_record_is_refused(record):
    with pytest.raises(LabelError, match="case-1: a frame record is"):
        parse_record(record, "case-1")


@pytest.mark.parametrize("frame", ["-1", "1.5", "x", "²"])
def test_what_is_no_frame_number_is_refused(frame):
    with pytest.raises(LabelError, match="a frame number with an object is expected"):
        parse_record({"schema": 1, "frames": {frame: {"state": "empty"}}}, "case-1")


def test_a_frame_beyond_the_case_is_refused():
    record = {"schema": 1, "frames": {"840": {"state": "empty"}}}
    parse_record(record, "case-1")
    with pytest.raises(LabelError, match="names frame 840; its frames are 0 to 839"):
        parse_record(record, "case-1", frame_count=840)
