from __future__ import annotations

import time

import pytest
from app_harness import Server

BATCH_SECONDS = 90  # a worker process imports everything anew before it begins


@pytest.mark.slow
def test_all_images_are_assessed_ahead_with_progress_and_no_label(server: Server) -> None:
    labels = {image: set(entry["labels"]) for image, entry in server.index()["objects"].items()}
    started = server.call("POST", "/batch/infer/fetalclip_seg?images=all", json={"frames": [0, 3]})
    assert started.status == 200, started.body
    assert server.call("POST", "/batch/infer/fetalclip_seg?images=all", json={}).status == 429
    deadline = time.monotonic() + BATCH_SECONDS
    task = server.raw("GET", "/batch/infer").json()
    while task["status"] not in ("DONE", "ERROR", "STOPPED") and time.monotonic() < deadline:
        time.sleep(0.2)
        task = server.raw("GET", "/batch/infer").json()
    assert task["status"] == "DONE", task
    log = "\n".join(task["details"])
    assert "case_a assessed in" in log
    assert "broken failed: " in log  # one unreadable file is reported and does not stop the others
    assert "1 failed" in log
    answer = server.infer("image=case_b&output=json", {"frames": [0, 3]}).json()
    assert answer["cached"] is True
    assert {image: set(entry["labels"]) for image, entry in server.index()["objects"].items()} == labels


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("query", "body", "status"),
    [
        ("images=some", {}, 400),
        ("images=all", {"threshold": 7}, 400),
        ("images=all", {"screen": True}, 400),  # this model has no student
        ("images=all", {"model": "fetalclip_cls"}, 400),
        ("images=all", {"image": "case_a"}, 400),
        ("images=all", {"images": ["nope"]}, 404),
        ("images=all", {"images": {"a": 1}}, 400),
        ("images=all", {"max_batch_size": -1}, 400),
    ],
)
def test_a_batch_that_cannot_work_is_refused_before_it_starts(
    server: Server, query: str, body: dict, status: int
) -> None:
    answer = server.call("POST", f"/batch/infer/fetalclip_seg?{query}", json=body)
    assert answer.status == status
    assert answer.detail
