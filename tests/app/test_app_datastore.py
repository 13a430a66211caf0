from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path

import numpy as np
import pytest
from app_harness import Server, write_case, write_mask


def put_label(server: Server, path: Path, image: str = "case_a", tag: str = "final", params: str = "{}"):
    with open(path, "rb") as stream:
        return server.call(
            "PUT",
            f"/datastore/label?image={image}&tag={tag}",
            files={"label": (path.name, stream)},
            data={"params": params},
        )


def test_a_mask_on_the_grid_is_saved_listed_and_sent_back(server: Server, tmp_path: Path) -> None:
    path = write_mask(tmp_path / "mask.nii.gz", server.images / "case_a.mha")
    answer = put_label(server, path, params='{"frames": {"3": "annotated"}}')
    saved = answer.json()
    assert {key: saved[key] for key in ("image", "label", "version")} == {
        "image": "case_a",
        "label": "case_a",
        "version": 1,
    }
    assert server.raw("GET", "/datastore/label?label=case_a&tag=final").body == path.read_bytes()
    info = server.raw("GET", "/datastore/label/info?label=case_a&tag=final").json()
    assert info["frames"] == {"3": "annotated"}
    assert server.raw("GET", "/datastore/").json()["completed"] == 1
    assert server.index()["objects"]["case_a"]["labels"]["final"]["ext"] == ".nii.gz"
    archive = server.raw("GET", "/datastore/dataset")
    assert archive.body[:2] == b"PK"
    assert server.leftovers() == []

    other = write_mask(tmp_path / "mask.mha", server.images / "case_a.mha")
    assert put_label(server, other).status == 200
    assert [file.name for file in (server.studies / "labels" / "final").iterdir()] == ["case_a.mha"]
    assert server.raw("DELETE", "/datastore/label?id=case_a&tag=final").status == 200
    assert server.raw("GET", "/datastore/").json()["completed"] == 0


def test_two_annotators_do_not_overwrite_each_other(server: Server, tmp_path: Path) -> None:
    image = server.images / "case_b.mha"
    paths = [write_mask(tmp_path / f"{name}.nii.gz", image) for name in ("one", "two")]
    paths[1].write_bytes(write_mask(tmp_path / "other.nii.gz", image, dtype=np.uint16).read_bytes())

    def put(path: Path, **params):
        return put_label(server, path, image="case_b", tag="shared", params=json.dumps(params))

    record = {
        "schema": 1,
        "frames": {"0": {"state": "annotated", "plane": "optimal", "rater": "anna", "seconds": 9}},
    }
    assert put(paths[0], based_on=0, frame_record=record).json()["version"] == 1
    unsaid = put(paths[1], based_on=1)
    assert (unsaid.status, "version 1" in unsaid.detail) == (409, True)
    assert put(paths[1], based_on=1, frame_record=record).json()["version"] == 2
    late = put(paths[0], based_on=1)
    assert late.status == 409
    assert "version 2 was saved meanwhile" in late.detail
    assert put(paths[0], based_on=0.5).status == 400
    for bad, reason in (
        ('{"a": 1e999}', "1e999"),
        ('{"a": "\\ud800"}', "Unicode"),
        ('{"a":' * 250 + "1" + "}" * 250, "nested deeper"),
    ):
        answer = put_label(server, paths[0], image="case_b", tag="shared", params=bad)
        assert answer.status == 400, bad[:20]
        assert reason in answer.detail
        assert server.call("PUT", "/datastore/image/info?image=case_b", data={"info": bad}).status == 400
    for record in ({"9" * 5000: {"state": "empty"}}, {"01": {"state": "empty"}}, {"1": {"state": []}}):
        told = {"schema": 1, "frames": record}
        assert put(paths[0], frame_record=told).status == 400
    label = "label=case_b&tag=shared"
    sent = server.raw("GET", f"/datastore/label?{label}")
    assert (sent.body, sent.headers["label-version"]) == (paths[1].read_bytes(), "2")
    assert server.raw("GET", f"/datastore/label/version?{label}&version=1").body == paths[0].read_bytes()
    assert server.raw("GET", f"/datastore/label/version?{label}&version=7").status == 404
    history = server.raw("GET", f"/datastore/label/history?{label}").json()
    assert [one["version"] for one in history] == [1, 2]
    assert history[0]["frames"] == {"annotated": 1}

    review = f"/datastore/label/review?{label}&version=1"
    assert server.call("POST", review, data={"state": "returned"}).status == 400
    told = server.call("POST", review, data={"state": "returned", "comment": "too small"}).json()
    assert [one["comment"] for one in told["reviews"]] == ["too small"]
    assert server.raw("POST", f"/datastore/label/restore?{label}&version=1").json()["restored_from"] == 1
    assert server.raw("GET", f"/datastore/label?{label}").body == paths[0].read_bytes()
    assert server.raw("GET", f"/datastore/label/info?{label}").json()["version"] == 3
    picked = server.raw("POST", f"/datastore/label/pick?{label}&version=2&final=agreed").json()
    assert picked["picked_from"] == {"tag": "shared", "version": 2, "reviewer": "admin"}
    assert server.raw("GET", "/datastore/label?label=case_b&tag=agreed").body == paths[1].read_bytes()
    assert server.raw("DELETE", "/datastore/label?id=case_b&tag=agreed").status == 200
    info = server.raw("GET", f"/datastore/label/info?{label}").json()
    assert info["frame_record"]["frames"]["0"]["rater"] == "anna"
    assert "frame_record" not in server.index()["objects"]["case_b"]["labels"]["shared"]["info"]
    assert server.raw("GET", "/datastore/label/history?label=nope&tag=shared").status == 404
    assert server.raw("GET", "/datastore/label/history?label=case_b&tag=..%2Fx").status == 400
    assert server.raw("DELETE", "/datastore/label?id=case_b&tag=shared").status == 200
    assert server.leftovers() == []


@pytest.mark.usefixtures("untouched")
def test_labels_that_are_no_mask_on_the_grid_are_refused(server: Server, tmp_path: Path) -> None:
    image = server.images / "case_a.mha"
    script = tmp_path / "script.nii.gz"
    script.write_text("#!/bin/sh\necho stored as a label\n")
    text = tmp_path / "text.mha"
    text.write_text("hello")
    fractional = write_mask(tmp_path / "fractional.mha", image, dtype=np.float32)
    stack = write_case(tmp_path / "short.mha", 5)
    assert len(stack) == 5
    half = tmp_path / "half.mha"
    import SimpleITK as sitk

    values = sitk.ReadImage(str(fractional)) * 0.5
    sitk.WriteImage(values, str(half))
    flipped, colour, classes = (tmp_path / f"{name}.mha" for name in ("flipped", "colour", "classes"))
    mask = sitk.ReadImage(str(fractional), sitk.sitkUInt8)
    sitk.WriteImage(sitk.Compose(mask, mask, mask), str(colour))
    several = mask * 3
    several[0, 0, 0] = 4
    sitk.WriteImage(several, str(classes))
    mask.SetDirection((0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0))
    sitk.WriteImage(mask, str(flipped))
    for path in (
        script,
        text,
        flipped,
        colour,
        classes,
        write_mask(tmp_path / "other.mha", server.images / "case_b.mha"),
        tmp_path / "short.mha",
        half,
    ):
        answer = put_label(server, path)
        assert answer.status == 400, (path.name, answer.body)
        assert len(answer.detail.split()) > 4
    assert put_label(server, fractional, image="nope").status == 404
    assert put_label(server, fractional, params="[1]").status == 400


def test_an_uploaded_sweep_becomes_an_image_once(server: Server, tmp_path: Path) -> None:
    write_case(tmp_path / "new.mha", 4, seed=20)
    content = (tmp_path / "new.mha").read_bytes()
    upload = {"files": {"file": ("new.mha", content)}}
    assert server.call("PUT", "/datastore/image?image=uploaded.1", **upload).json() == {"image": "uploaded.1"}
    assert (server.images / "uploaded.1.mha").read_bytes() == content
    assert server.raw("GET", "/datastore/image?image=uploaded.1").body == content
    digest = hashlib.sha256(content).hexdigest()
    assert server.raw("HEAD", f"/datastore/image?image=uploaded.1&check_sum=SHA256:{digest}").status == 200
    assert server.raw("HEAD", "/datastore/image?image=uploaded.1&check_sum=SHA256:00").status == 404
    assert server.raw("HEAD", "/datastore/image?image=uploaded.1&check_sum=CRC:00").status == 400
    assert server.call("PUT", "/datastore/image?image=uploaded.1", **upload).status == 409
    assert server.infer("image=uploaded.1&output=json").status == 200
    assert server.call("PUT", "/datastore/image/info?image=uploaded.1", data={"info": '{"site": 4}'}).status == 200
    assert server.raw("GET", "/datastore/image/info?image=uploaded.1").json()["site"] == 4
    assert server.raw("DELETE", "/datastore/image?id=uploaded.1").status == 200
    assert not (server.images / "uploaded.1.mha").exists()
    assert server.raw("GET", "/datastore/image?image=uploaded.1").status == 404


@pytest.mark.usefixtures("untouched")
def test_an_upload_that_is_no_sweep_is_refused_and_leaves_nothing(server: Server) -> None:
    answer = server.call("PUT", "/datastore/image?image=junk", files={"file": ("junk.mha", b"not an image")})
    assert answer.status == 400
    assert answer.detail
    assert server.call("PUT", "/datastore/image/info?image=case_a", data={"info": "{"}).status == 400


def test_a_file_put_into_the_folder_is_found_without_a_restart(server: Server, tmp_path: Path) -> None:
    write_case(tmp_path / "dropped.mha", 3, seed=30)
    target = server.images / "dropped.mha"
    (tmp_path / "dropped.mha").replace(target)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and "dropped" not in server.index()["objects"]:
        time.sleep(0.05)
    assert server.infer("image=dropped&output=json", {"top_n": 1}).status == 200
    target.unlink()
    while time.monotonic() < deadline and "dropped" in server.index()["objects"]:
        time.sleep(0.05)
    assert server.infer("image=dropped&output=json").status == 404
