"""JSON that is no plain JSON object, and numbers that nothing can count, are refused wherever they are sent."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest
from app_harness import Server

from monailabel_app.lib.api.file_responses import AnyJSONResponse
from monailabel_app.lib.http.json_input import MAX_JSON_BYTES, parsed
from monailabel_app.lib.http.refusal import Refused

JSON = {"Content-Type": "application/json"}
BODIES = [
    b'{"user": NaN}',
    b'{"user": -Infinity}',
    b'{"user": 1e999}',
    b'{"user": ' + b"9" * 400 + b"}",
    b'{"user": ' + b"9" * 5000 + b"}",
    b'{"user": "\\ud800"}',
    b'{"\\udfff": 1}',
    b'{"user": "\xff"}',
    b'{"user": 1, "user": 2}',
    b'{"user": ' + b"[" * 60 + b"]" * 60 + b"}",
    b"[" * 100_000,
    b'[{"user": 1}]',
    b'"user"',
    b"{user: 1}",
    b"\xef\xbb\xbf{}",
    b'{"user": 1}}',
]
CALLS = [
    "/scoring/frames",
    "/activelearning/random",
    "/batch/infer/fetalclip_seg",
    "/train/fetalclip_seg",
    "/export/",
    "/models/publish",
]


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("target", CALLS)
def test_a_body_that_is_no_plain_json_object_is_refused_and_starts_nothing(server: Server, target: str) -> None:
    for body in BODIES:
        answer = server.raw("POST", target, body, JSON)
        assert answer.status == 400, (body[:80], answer.status, answer.body[:300])
        assert answer.detail
    answer = server.raw("POST", target, b"{}", {"Content-Type": "text/plain"})
    assert answer.status == 415
    assert "Content-Type: application/json" in answer.detail


def test_a_body_too_large_for_json_is_413(server: Server) -> None:
    answer = server.raw("POST", "/scoring/frames", b" " * (MAX_JSON_BYTES + 1), JSON)
    assert answer.status == 413
    assert "limit for JSON" in answer.detail


def test_values_in_a_scoring_or_training_request_reach_no_worker_and_no_answer(server: Server) -> None:
    for target in ("/scoring/", "/train/", "/batch/infer"):
        assert server.raw("GET", target).status in (200, 404)
    sent = {"gpus": 5, "method": ["x"], "model": {"a": 1}, "bundle_path": 7, "note": None}
    answer = server.call("POST", "/scoring/frames", json=sent)
    assert answer.status == 200
    task = answer.json()
    assert set(task["request"]) <= {"method", "gpus"}
    assert server.raw("GET", "/scoring/").status == 200
    assert server.raw("GET", "/scoring/?all=true").status == 200
    stopped = server.raw("DELETE", "/scoring/")  # also when its process is only just being started
    assert (stopped.status, stopped.json()["status"]) == (200, "STOPPED")
    assert server.raw("GET", "/scoring/").json()["status"] == "STOPPED"
    assert server.raw("DELETE", "/scoring/").json() == {}


@pytest.mark.usefixtures("untouched")
def test_form_fields_of_json_are_read_as_strictly(server: Server) -> None:
    for body in BODIES:
        field = body.decode("latin-1") if b"\xff" in body else body.decode("utf-8", "replace")
        if b"\xff" in body or b"\xef" in body:
            continue  # text in a form is decoded before
        for answer in (
            server.call("POST", "/infer/fetalclip_seg?image=case_a", data={"params": field}),
            server.call("PUT", "/datastore/image/info?image=case_a", data={"info": field}),
        ):
            assert answer.status == 400, (field[:80], answer.status, answer.body[:300])
            assert answer.detail


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    "number", ["9" * 30, "9" * 5000, "-" + "9" * 30, "1e999", "NaN", "inf", "1.5", "٣٣", "1_0", "0x10", "", " "]
)
def test_a_number_in_a_query_that_counts_nothing_is_400(server: Server, number: str) -> None:
    given = quote(number)
    for target in (
        f"/datastore/label/version?label=case_a&tag=final&version={given}",
        f"/datastore/dataset?limit_cases={given}",
        f"/logs/?text=true&lines={given}",
    ):
        answer = server.raw("GET", target)
        refused = answer.status == 400 and answer.detail
        # digits of other scripts are digits: then there is no such version or label
        assert refused or (answer.status in (200, 404) and number in ("٣٣", "1_0")), (target, answer.status)


def test_an_infinite_option_is_refused_by_name(server: Server) -> None:
    for value in (10**400, -(10**400), 1e300, True, [], "1e999"):
        answer = server.infer("image=case_a&output=json", {"threshold": value})
        assert answer.status == 400, value
    assert (
        server.infer("image=case_a&output=json", {"note": "x" * 100_000, "threshold": "y" * 500_000}).status == 400
    )


def test_a_refusal_repeats_a_long_value_in_part_only(server: Server) -> None:
    answer = server.infer("image=case_a&output=json", {"threshold": "y" * 500_000})
    assert answer.status == 400
    assert len(answer.detail) < 1100
    assert "a probability between 0 and 1" in answer.detail


def test_what_is_plain_json_is_taken_as_it_is() -> None:
    value = {"a": [1, 2.5, None, True, "é", "\U0001f600"], "b": {"c": -(2**62)}}
    assert parsed("it", json.dumps(value)) == value
    assert parsed("it", json.dumps(value, ensure_ascii=False).encode()) == value
    with pytest.raises(Refused, match="the key 'a'"):
        parsed("it", '{"a": 1, "a": 1}')


def test_an_answer_can_be_sent_whatever_a_file_holds() -> None:
    sent = AnyJSONResponse({"a": [float("nan"), 1.5], "\ud800": "\udfff", "b": None}).body
    assert json.loads(sent) == {"a": [None, 1.5], "\\ud800": "\\udfff", "b": None}
