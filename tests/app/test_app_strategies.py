"""Scoring in the background, and the next sample with its frames, over HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from app_harness import Answer, Server

pytestmark = pytest.mark.slow


SCORING_SECONDS = 300  # a worker process imports everything anew before it begins, on cores that others use


@pytest.fixture(scope="module")
def scored_once(server: Server) -> Server:
    """The server once its images are scored."""
    answer = server.call("POST", "/scoring/frames", json={})
    assert answer.status == 200
    deadline = time.monotonic() + SCORING_SECONDS
    while (task := server.raw("GET", "/scoring/").json())["status"] in ("SUBMITTED", "RUNNING"):
        assert time.monotonic() < deadline, task
        time.sleep(0.3)
    assert task["status"] == "DONE", task
    log = "\n".join(task["details"])
    assert "broken failed: " in log
    assert "3 failed" not in log
    return server


@pytest.fixture
def scored(scored_once: Server) -> Iterator[Server]:
    """The server once its images are scored, and with no case in anybody's hands."""
    yield scored_once
    for rater in ("anna", "ben", "carla", "unknown"):
        scored_once.raw("DELETE", f"/activelearning/lease?user_name={rater}")
    scored_once.raw("DELETE", "/activelearning/lease")


def ask(server: Server, strategy: str = "fetaliqa", **body: Any) -> Answer:
    return server.call("POST", f"/activelearning/{strategy}", json=body)


def test_the_next_sample_says_which_frames_and_why(scored: Server) -> None:
    labels = scored.index()["objects"]
    counts = scored.raw("GET", "/activelearning/").json()
    assert counts["scored"] == 3
    for strategy in ("fetaliqa", "random", "strided", "foreground", "uncertainty", "diversity"):
        answer = ask(scored, strategy, user="anna", frames=3, gap=2)
        assert answer.status == 200, answer.body
        told = answer.json()
        assert told["id"] in labels
        assert 1 <= len(told["frames"]) <= 3
        for frame in told["frames"]:
            assert set(frame) == {"frame", "sweep", "reason", "score", "quality"}
            assert frame["reason"]
        assert told["lease"]["rater"] == "anna"
        assert told["lease"]["until"] > time.time() + 25 * 60
    assert set(scored.raw("GET", "/info/").json()["strategies"]) >= {"fetaliqa", "random", "diversity"}


def test_two_raters_get_two_cases(scored: Server) -> None:
    first, second = ask(scored, user="anna").json(), ask(scored, user="ben").json()
    assert first["id"] != second["id"]
    assert ask(scored, user="anna").json()["id"] == first["id"]
    third = ask(scored, user="carla", skip=["broken"])
    assert third.json()["id"] not in (first["id"], second["id"])
    fourth = ask(scored, user="dora", skip=["broken"]).json()
    assert fourth["exhausted"] is True
    assert "nothing is left" in fourth["message"]
    assert scored.raw("DELETE", "/activelearning/lease?user_name=anna").json() == {"released": "anna"}
    freed = ask(scored, user="dora", skip=["broken"]).json()
    assert freed["id"] == first["id"]
    scored.raw("DELETE", "/activelearning/lease?user_name=dora")


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"frames": 0}, "frames is 0"),
        ({"frames": "many"}, "frames is 'many'"),
        ({"gap": -1}, "gap is -1"),
        ({"seed": 1.5}, "seed is 1.5"),
        ({"per_sweep": True}, "per_sweep is True"),
        ({"user": "../../x"}, "user '../../x'"),
        ({"client_id": "a b"}, "user 'a b'"),
        ({"skip": "case_a"}, "skip is 'case_a'"),
        ({"skip": ["../x"]}, "image '../x'"),
        ({"lease_minutes": 0}, "lease_minutes is 0"),
        ({"lease_minutes": "long"}, "lease_minutes is 'long'"),
    ],
)
@pytest.mark.usefixtures("untouched")
def test_what_cannot_be_asked_for(server: Server, body: dict[str, Any], told: str) -> None:
    answer = ask(server, **body)
    assert answer.status == 400
    assert told in answer.detail


@pytest.mark.usefixtures("untouched")
def test_a_body_that_is_no_object(server: Server) -> None:
    answer = server.call("POST", "/activelearning/random", json=["a"])
    assert answer.status == 400
    assert "JSON object" in answer.detail


@pytest.mark.usefixtures("untouched")
def test_a_lease_of_a_bad_name(server: Server) -> None:
    answer = server.raw("DELETE", "/activelearning/lease?user_name=../x")
    assert answer.status == 400
    assert "user '../x'" in answer.detail


def test_what_clients_told_of_an_image_does_not_stand_in_for_the_offer(scored: Server) -> None:
    told = {"id": "elsewhere", "frames": [{"frame": 10**9}], "lease": None, "note": "mine", "kept": 1}
    for image in scored.index()["objects"]:
        put = scored.call("PUT", f"/datastore/image/info?image={image}", data={"info": json.dumps(told)})
        assert put.status == 200
    answer = ask(scored, user="anna").json()
    assert answer["id"] in scored.index()["objects"]
    assert answer["lease"]["rater"] == "anna"
    assert all(frame["frame"] < 1000 for frame in answer["frames"])
    assert answer["kept"] == 1
    noted = scored.index()["objects"][answer["id"]]["image"]["info"]["strategy"]
    assert noted["fetaliqa"]["client_id"] == "anna"


def test_somebody_without_a_name_is_known_by_the_address(scored: Server) -> None:
    answer = ask(scored).json()
    assert answer["lease"]["rater"] == "unknown-127.0.0.1"
    assert ask(scored, client_id="viewer-7").json()["lease"]["rater"] == "viewer-7"
    assert scored.raw("DELETE", "/activelearning/lease").json() == {"released": "unknown-127.0.0.1"}
    scored.raw("DELETE", "/activelearning/lease?user_name=viewer-7")


@pytest.mark.usefixtures("untouched")
def test_options_of_all_trainings_that_are_no_objects(server: Server) -> None:
    answer = server.call("POST", "/train/", json={"fetalclip_seg": "x"})
    assert (answer.status, answer.detail) == (
        400,
        "fetalclip_seg is 'x'; a JSON object of its options is needed",
    )


@pytest.mark.usefixtures("untouched")
def test_a_label_with_times_in_milliseconds_is_refused(server: Server, tmp_path: Path) -> None:
    mask = np.zeros((12, 48, 64), np.uint8)
    image = sitk.GetImageFromArray(mask)
    image.CopyInformation(sitk.ReadImage(str(server.images / "case_a.mha")))
    sitk.WriteImage(image, str(tmp_path / "mask.mha"))
    record = {"schema": 1, "frames": {"0": {"state": "empty", "rater": "anna", "time": 1764190800000}}}
    with open(tmp_path / "mask.mha", "rb") as file:
        answer = server.call(
            "PUT",
            "/datastore/label?image=case_a&tag=anna",
            files={"label": ("mask.mha", file)},
            data={"params": json.dumps({"frame_record": record})},
        )
    assert answer.status == 400
    assert "not milliseconds" in answer.detail
