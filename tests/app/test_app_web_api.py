"""The page's own API: worklist, frames, assessments and labels, with good and bad input."""

from __future__ import annotations

import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from app_harness import Server, case_pixels, write_case
from PIL import Image

from fetaliqa.errors import NotFoundError
from fetaliqa.labels import LabelStore
from monailabel_app.lib.browser.decoded_sweeps import decoded_or_read, decoded_sweeps
from monailabel_app.lib.browser.mask_runs import mask_of_runs, runs_of

V1 = "/fetaliqa/v1"
CASE, ROWS, COLUMNS = "case_a", 48, 64


def get(server: Server, path: str) -> Any:
    answer = server.raw("GET", f"{V1}{path}")
    assert answer.status == 200, answer.body[:500]
    return answer.json()


def a_mask(row: int = 10) -> np.ndarray:
    mask = np.zeros((ROWS, COLUMNS), np.uint8)
    mask[row : row + 20, 15:40] = 1
    return mask


def a_label(masks: dict[int, np.ndarray], **more: Any) -> dict[str, Any]:
    entries = {str(frame): {"state": "annotated", "rater": "anna"} for frame in masks}
    return {
        "masks": {str(frame): runs_of(mask) for frame, mask in masks.items()},
        "frame_record": {"schema": 1, "frames": entries},
        "rater": "anna",
        **more,
    }


def test_masks_survive_their_run_lengths() -> None:
    random = np.random.default_rng(0)
    stack = [
        np.zeros((5, 7), np.uint8),
        np.ones((5, 7), np.uint8),
        random.integers(0, 2, (50, 70), dtype=np.uint8),
    ]
    for mask in stack:
        runs = runs_of(mask)
        assert sum(runs["runs"]) == mask.size
        assert (mask_of_runs(runs, (mask.shape[0], mask.shape[1]), "it") == mask).all()


def test_the_worklist_names_every_case_with_its_state(server: Server) -> None:
    worklist = get(server, "/worklist?tag=nobody")
    assert [row["id"] for row in worklist["cases"]] == ["broken", "case_a", "case_b", "long"]
    assert {row["state"] for row in worklist["cases"]} == {"not started"}
    assert worklist["counts"]["cases"] == 4
    assert "left" in json.dumps(worklist["not_offered"])


def test_frames_are_the_pictures_of_the_file(server: Server) -> None:
    info = get(server, f"/case?image={CASE}")
    assert (info["frames"], info["rows"], info["columns"]) == (12, ROWS, COLUMNS)
    assert info["spacing_mm"] == pytest.approx([0.31, 0.28])
    answer = server.raw("GET", f"{V1}/case/frames?image={CASE}&first=8&count=16&version={info['version']}")
    assert "immutable" in answer.headers["cache-control"]
    pixels, offset = case_pixels(12, seed=1), 0
    for number in range(8, 12):
        (size,) = struct.unpack_from("<I", answer.body, offset)
        picture = np.asarray(Image.open(io.BytesIO(answer.body[offset + 4 : offset + 4 + size])))
        assert np.abs(picture.astype(int) - pixels[number]).mean() < 4
        offset += 4 + size
    assert offset == len(answer.body)


def test_a_frame_that_the_browser_has_is_not_sent_again(server: Server) -> None:
    target = f"{V1}/case/frame?image={CASE}&frame=3"
    first = server.raw("GET", target)
    assert first.headers["content-type"] == "image/jpeg"
    assert "no-cache" in first.headers["cache-control"]
    again = server.raw("GET", target, headers={"If-None-Match": first.headers["etag"]})
    assert (again.status, again.body) == (304, b"")


def test_the_layout_has_sweeps_and_field_of_view(server: Server) -> None:
    layout = get(server, f"/case/layout?image={CASE}")
    assert layout["sweeps"] == [[0, 12]]
    assert sum(layout["field_of_view"]["runs"]) == ROWS * COLUMNS


def test_an_assessment_has_the_masks_that_infer_gives(server: Server) -> None:
    found = get(server, f"/case/assessment?image={CASE}")
    record = server.infer(f"image={CASE}&output=json").json()["fetaliqa"]
    assert found["best"]["frame"] == record["best"]
    outlined = [frame["index"] for frame in record["frames"] if frame["area_px"]]
    assert sorted(map(int, found["frames"])) == outlined
    rows = {row["id"]: row for row in get(server, "/worklist")["cases"]}
    assert rows[CASE]["best"]["frame"] == record["best"]
    number = str(outlined[0])
    assert sum(found["frames"][number]["mask"]["runs"][1::2]) == record["frames"][outlined[0]]["area_px"]
    picture = server.raw("GET", f"{V1}/thumbnail?image={CASE}")
    assert Image.open(io.BytesIO(picture.body)).size == (160, 120)


def test_a_saved_label_is_the_one_that_a_mask_file_makes(server: Server) -> None:
    masks = {2: a_mask(), 7: a_mask(5)}
    body = a_label(masks, based_on=0, submission="abc", client="test")
    answer = server.call("POST", f"{V1}/label?image={CASE}&tag=web", json=body)
    assert answer.json()["version"] == 1
    store = LabelStore(server.studies / "label-versions")
    version = store.version(CASE, "web", 1)
    assert version.record is not None
    assert version.record.known() == [2, 7]
    assert (version.info["rater"], version.info["submission"]) == ("anna", "abc")
    read = get(server, f"/label?image={CASE}&tag=web")
    assert {key: value["runs"] for key, value in read["masks"].items()} == {
        str(frame): runs_of(mask)["runs"] for frame, mask in masks.items()
    }
    conflict = server.call("POST", f"{V1}/label?image={CASE}&tag=web", json=body)
    assert conflict.status == 409
    assert "version 1 was saved meanwhile" in conflict.detail
    assert store.latest(CASE, "web") == 1
    assert [one["version"] for one in get(server, f"/labels?image={CASE}")["web"]] == [1]


def test_a_label_of_many_frames_is_not_too_large(server: Server) -> None:
    for size, status in ((6, 200), (9, 413)):  # MiB, mostly white space; this server takes 8
        content = json.dumps(a_label({1: a_mask()})).encode() + b" " * (size * 1024**2)
        target = f"{V1}/label?image={CASE}&tag=large"
        answer = server.raw("POST", target, content, {"Content-Type": "application/json"})
        assert answer.status == status, answer.body[:300]


def test_agreement_of_two_labels(server: Server) -> None:
    for tag, row in (("one", 10), ("two", 12)):
        body = a_label({4: a_mask(row)})
        assert server.call("POST", f"{V1}/label?image=case_b&tag={tag}", json=body).status == 200
    found = get(server, "/agreement?image=case_b&first=one&second=two")
    assert found["by_frame"] == [{"frame": 4, "dice": 0.9}]
    assert found["dice"] == pytest.approx(0.9)


def test_a_preview_of_an_export_writes_nothing(server: Server) -> None:
    server.call("POST", f"{V1}/label?image={CASE}&tag=final", json=a_label({3: a_mask()}))
    card = server.call("POST", f"{V1}/export/preview", json={"format": "png"}).json()
    assert card["counts"]["frames"] >= 1
    # other tests of this server count on none
    assert server.raw("DELETE", f"/datastore/label?id={CASE}&tag=final").status == 200


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/case?image=broken", 400),
        ("/thumbnail?image=broken", 400),
        ("/case?image=nothing", 404),
        ("/case?image=../secret", 400),
        ("/case/layout?image=nothing", 404),
        (f"/case/frame?image={CASE}&frame=12", 400),
        (f"/case/frame?image={CASE}&frame=-1", 400),
        (f"/case/frames?image={CASE}&first=0&count=1000", 400),
        (f"/case/frames?image={CASE}&first=99", 400),
        ("/case/assessment?image=nothing", 404),
        ("/thumbnail?image=nothing", 404),
        ("/worklist?tag=a/b", 400),
        (f"/label?image={CASE}&tag=..", 400),
        (f"/label?image={CASE}&tag=final&version=77", 404),
        (f"/agreement?image={CASE}&first=nobody&second=final", 404),
        ("/models/report?version=../x", 404),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_sentence(server: Server, target: str, status: int) -> None:
    answer = server.raw("GET", f"{V1}{target}")
    assert answer.status == status
    assert answer.detail


WRONG_MASKS: list[tuple[Any, str]] = [
    ({"masks": []}, "masks is missing"),
    ({"masks": {"99": runs_of(a_mask())}}, "there is no frame '99'"),
    ({"masks": {"x": runs_of(a_mask())}}, "there is no frame 'x'"),
    ({"masks": {"2": {"rows": 1, "columns": 1, "runs": [1]}}}, "is of (1, 1) rows and columns"),
    ({"masks": {"2": {**runs_of(a_mask()), "runs": [1, 2]}}}, "add up to 3"),
    ({"masks": {"2": {**runs_of(a_mask()), "runs": [-1, ROWS * COLUMNS + 1]}}}, "whole numbers"),
    ({"masks": {"2": {**runs_of(a_mask()), "runs": ["1"]}}}, "whole numbers"),
    ({"masks": {"2": 7}}, "is not a mask"),
    ({"masks": {}}, "is annotated, but its mask is empty"),
    ({"frame_record": {"schema": 9}}, "a frame record is"),
    ({"based_on": "x"}, "based_on is 'x'"),
]


@pytest.mark.parametrize(("change", "sentence"), WRONG_MASKS, ids=[sentence for _, sentence in WRONG_MASKS])
def test_a_label_that_contradicts_itself_is_refused(
    server: Server, untouched: None, change: dict[str, Any], sentence: str
) -> None:
    body = {**a_label({2: a_mask()}), **change}
    answer = server.call("POST", f"{V1}/label?image={CASE}&tag=wrong", json=body)
    assert answer.status == 400
    assert sentence in answer.detail


def test_the_page_is_served_with_a_strict_policy(server: Server) -> None:
    answer = server.raw("GET", "/")
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    for file, kind in (
        ("app/main.js", "text/javascript"),
        ("css/base.css", "text/css"),
        ("keys.json", "application/json"),
    ):
        assert server.raw("GET", f"/web/{file}").headers["content-type"] == f"{kind}; charset=utf-8"
    assert server.raw("GET", "/web/../front.py").status == 400
    assert server.raw("GET", "/web/front.py").status == 404


def test_a_case_that_the_page_shows_is_decoded_once_for_clicks_too(tmp_path: Path) -> None:
    path = tmp_path / "case.mha"
    pixels = write_case(path, 3, seed=5)
    assert decoded_or_read(path).shape == pixels.shape
    assert decoded_sweeps.held(path) is None  # only the page keeps cases there
    shown = decoded_sweeps.get(path)
    assert decoded_or_read(path) is shown.sweep()
    with pytest.raises(NotFoundError):
        decoded_or_read(tmp_path / "missing.mha")
