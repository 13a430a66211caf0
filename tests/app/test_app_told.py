"""No answer tells clients where files lie on the server."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from app_harness import REPOSITORY, Server, write_mask

from monailabel_app.lib.http.path_redaction import without_folders

CASE = "case_a"
# what the address or the query of a call names, by the parameter's name
VALUES: dict[str, Any] = {
    "image": CASE,
    "label": CASE,
    "tag": "final",
    "version": 1,
    "model": "fetalclip_seg",
    "method": "frames",
    "strategy": "random",
    "frame": 0,
    "number": 0,
    "side": "candidate",
    "measurement": "AC",
    "mm": 200,
    "first": "final",
    "second": "final",
}


@pytest.fixture(scope="module")
def labelled(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    mask = write_mask(tmp_path_factory.mktemp("mask") / "mask.nii.gz", server.images / f"{CASE}.mha").read_bytes()
    target = f"/datastore/label?image={CASE}"
    assert server.call("PUT", target, files={"label": ("mask.nii.gz", mask)}).status == 200
    yield server
    server.raw("DELETE", "/activelearning/lease")
    assert server.raw("DELETE", f"/datastore/label?id={CASE}&tag=final").status == 200


def secrets(server: Server) -> list[str]:
    return [str(server.root), str(REPOSITORY), sys.prefix]


def check(server: Server, call: str, body: bytes, headers: dict[str, str]) -> None:
    text = body.decode("latin-1") + "".join(headers.values())
    for secret in secrets(server):
        assert secret not in text, (call, secret, text[max(0, text.index(secret) - 200) :][:500])


def test_no_reply_to_a_question_names_a_folder_of_the_server(labelled: Server) -> None:
    session = {"files": {"files": ("x.mha", (labelled.images / "case_b.mha").read_bytes())}}
    started = labelled.call("PUT", "/session/", **session)
    assert started.json()["session_info"]["image"] == "x.mha"
    values = {**VALUES, "session_id": started.json()["session_id"], "job_id": "nope"}
    answers = {"PUT /session/": started}
    for target in (
        "/batch/infer/fetalclip_seg?images=labeled",
        "/scoring/frames",
        "/activelearning/fetaliqa",
        "/infer/fetalclip_seg?image=case_a",
    ):
        answers[f"POST {target}"] = labelled.raw("POST", target)
    for path, calls in labelled.raw("GET", "/openapi.json").json()["paths"].items():
        if "get" not in calls:
            continue
        query = []
        for parameter in calls["get"].get("parameters", []):
            name = parameter["name"]
            if parameter["in"] == "path":
                path = path.replace(f"{{{name}}}", str(values[name]))
            elif parameter.get("required"):
                query.append(f"{name}={values[name]}")
        target = f"{path}?{'&'.join(query)}"
        answers[f"GET {target}"] = labelled.raw("GET", target)
    for target in (
        "/datastore/?output=all",
        "/datastore/?output=train",
        "/logs/?text=true&lines=0",
        "/train/?all=true",
    ):
        answers[f"GET {target}"] = labelled.raw("GET", target)
    answers["DELETE /batch/infer"] = labelled.raw("DELETE", "/batch/infer")
    answers["DELETE /scoring/"] = labelled.raw("DELETE", "/scoring/")
    assert sum(answer.status == 200 for answer in answers.values()) > 20
    for call, answer in answers.items():
        check(labelled, call, answer.body, answer.headers)
    assert answers["POST /activelearning/fetaliqa"].json()["path"] in (
        "case_a.mha",
        "case_b.mha",
        "long.mha",
        "broken.mha",
    )
    assert answers["GET /datastore/?output=train"].json()[0]["image"].endswith("case_a.mha")


def test_no_error_names_a_folder_of_the_server(server: Server) -> None:
    broken = {"files": {"file": ("x.mha", b"ObjectType = Image\nElementDataFile = LOCAL\n")}}
    for method, target, parts in (
        ("POST", "/infer/fetalclip_seg?image=broken", {}),
        ("POST", "/infer/fetalclip_seg?output=json", broken),
        ("PUT", "/datastore/image?image=fresh", broken),
        ("PUT", f"/datastore/label?image={CASE}", {"files": {"label": ("x.nii.gz", b"no image")}}),
        ("POST", "/export/", {"json": {"format": "no-such-format"}}),
        ("POST", "/models/publish", {"json": {"version": 7}}),
        ("POST", "/train/fetalclip_seg", {}),
    ):
        answer = server.call(method, target, **parts)  # type: ignore[arg-type]
        assert 400 <= answer.status < 500, (target, answer.body)
        check(server, f"{method} {target}", answer.body, answer.headers)


def test_a_path_begins_below_the_innermost_folder() -> None:
    folders = [Path("/data/my studies/images"), Path("/data/my studies"), Path("/tmp")]
    for text, shown in (
        ("/data/my studies/images/a.mha: broken", "a.mha: broken"),
        ("cannot read '/data/my studies/labels/final/a.nii.gz'", "cannot read 'labels/final/a.nii.gz'"),
        ("/data/my studies does not take it", "my studies does not take it"),
        ("/tmp/fetaliqa-ab12cd_9/x.mha: 2 dimensions", "x.mha: 2 dimensions"),
        ("/data/my studies-2/a.mha and /home/tmp/b", "/data/my studies-2/a.mha and /home/tmp/b"),
        ("GET /datastore/image, a/b, http://h/tmp/x", "GET /datastore/image, a/b, http://h/tmp/x"),
    ):
        assert without_folders(text, folders) == shown
    assert without_folders({"a": ["/tmp/b", 3, None]}, folders) == {"a": ["b", 3, None]}
