"""Clicks on a frame and masks carried along, through a real server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from app_harness import LONG_FRAMES, Server, case_pixels

from fetaliqa.measure.anatomy import ABDOMEN
from fetaliqa.measure.run_lengths import mask_from_runs, run_lengths
from fetaliqa.registry.interactive_service import InteractiveService
from monailabel_app.lib.http.refusal import Refused
from monailabel_app.lib.tasks.interactive_task import InteractiveTask

SEGMENT, PROPAGATE = "/fetaliqa/v1/interactive/segment", "/fetaliqa/v1/interactive/propagate"
SHAPE = (48, 64)  # rows and columns of the harness's cases
CENTRE = [32.0, 24.0]  # of the bright ellipse in their later frames


def ellipse() -> np.ndarray:
    """The bright ellipse of the harness's cases."""
    row, column = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return ((((row - 24) / 14) ** 2 + ((column - 32) / 18) ** 2) < 1).astype(np.uint8)


def encoded(mask: np.ndarray) -> dict[str, Any]:
    return {"rows": mask.shape[0], "columns": mask.shape[1], "runs": run_lengths(mask)}


def decoded(mask: dict[str, Any]) -> np.ndarray:
    return mask_from_runs(mask["runs"], (mask["rows"], mask["columns"]))


def segment(server: Server, image: str = "case_a", **body: Any) -> Any:
    return server.call("POST", f"{SEGMENT}?image={image}", json=body)


def test_info_names_the_interactive_model_and_its_calls(server: Server) -> None:
    info = server.raw("GET", "/info/").json()
    assert info["interactive"]["model"].startswith("interactive@")
    assert info["interactive"]["endpoints"] == [SEGMENT, PROPAGATE]
    model = info["models"]["interactive"]
    assert (model["type"], model["dimension"], model["labels"]) == ("deepedit", 2, {})


def test_a_click_is_answered_with_a_mask_and_its_measurement(server: Server, untouched: None) -> None:
    answer = segment(server, frame=8, foreground=[CENTRE])
    assert answer.status == 200, answer.body[:500]
    reply = answer.json()
    mask = decoded(reply["mask"])
    assert mask.shape == SHAPE
    assert reply["frame"] == 8
    assert reply["area_px"] == int(mask.sum())
    assert 0 <= reply["expected_dice"] <= 1
    assert set(reply["latencies"]) == {"read", "encode", "decode", "total"}
    assert {"area_mm2", "ellipse", "circumference_mm", "circumference_absent", "warning"} <= set(
        reply["measurement"]
    )
    assert reply["model"] == server.raw("GET", "/info/").json()["interactive"]["model"]


def test_the_answer_can_be_sent_back_with_the_next_click(server: Server) -> None:
    first = segment(server, frame=8, foreground=[CENTRE]).json()
    second = segment(server, frame=8, foreground=[CENTRE], background=[[2, 2]], mask=first["mask"])
    assert second.status == 200, second.body[:500]
    # the frame is encoded already
    assert second.json()["latencies"]["encode"] < 0.1


def test_a_box_or_a_mask_alone_is_enough(server: Server) -> None:
    assert segment(server, frame=8, roi=[12, 8, 52, 40], mask=None).status == 200
    assert segment(server, frame=8, mask=encoded(ellipse()), roi=None).status == 200


def test_a_frame_of_a_whole_case_is_answered(server: Server) -> None:
    assert segment(server, "long", frame=LONG_FRAMES - 1, foreground=[CENTRE]).status == 200


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"foreground": [CENTRE]}, "frame"),
        ({"frame": True, "foreground": [CENTRE]}, "frame"),
        ({"frame": 12, "foreground": [CENTRE]}, "frames 0 to 11"),
        ({"frame": -1, "foreground": [CENTRE]}, "frame"),
        ({"frame": 1}, "no prompt"),
        ({"frame": 1, "background": [CENTRE]}, "no prompt"),
        ({"frame": 1, "mask": encoded(np.zeros(SHAPE))}, "no prompt"),
        ({"frame": 1, "foreground": [[64, 24]]}, "outside of the frame"),
        ({"frame": 1, "foreground": [[1]]}, "column, row"),
        ({"frame": 1, "foreground": [["1", 2]]}, "column, row"),
        ({"frame": 1, "foreground": CENTRE}, "column, row"),
        ({"frame": 1, "foreground": [CENTRE] * 300}, "200 at most"),
        ({"frame": 1, "roi": [1, 2, 3]}, "roi"),
        ({"frame": 1, "roi": [30, 2, 3, 9]}, "left < right"),
        ({"frame": 1, "roi": [100, 100, 120, 120]}, "outside of the frame"),
        ({"frame": 1, "mask": {"rows": 48, "columns": 64, "runs": [3, 4]}}, "add up to 7"),
        ({"frame": 1, "mask": {"rows": 48, "columns": 64, "runs": [-3, 3075]}}, "run of -3"),
        ({"frame": 1, "mask": {"rows": 48, "columns": 64, "runs": [1.5, 3070.5]}}, "run of 1.5"),
        ({"frame": 1, "mask": encoded(np.ones((10, 12)))}, "10 rows x 12 columns"),
        ({"frame": 1, "mask": {"rows": 10**9, "columns": 10**9, "runs": [10**18]}}, "rows"),
        (
            {"frame": 1, "mask": {"rows": 65535, "columns": 65535, "runs": [2**31 - 1, 2**31 - 1]}},
            "pixels at most",
        ),
        ({"frame": 1, "mask": [1, 2]}, "runs"),
        ({"frame": 1, "foregrounds": [CENTRE]}, "foregrounds"),
    ],
)
def test_a_request_that_cannot_be_used_is_refused_in_a_sentence(
    server: Server, untouched: None, body: dict[str, Any], words: str
) -> None:
    answer = server.call("POST", f"{SEGMENT}?image=case_a", json=body)
    assert answer.status == 400
    assert words in answer.detail


def test_unknown_images_and_unreadable_ones_are_told_apart(server: Server) -> None:
    assert segment(server, "nowhere", frame=0, foreground=[CENTRE]).status == 404
    assert segment(server, "..%2Fsecret", frame=0, foreground=[CENTRE]).status == 400
    assert segment(server, "broken", frame=0, foreground=[CENTRE]).status == 400
    assert server.call("POST", SEGMENT, json={"frame": 0}).status == 400
    body = {"frame": 3, "mask": encoded(ellipse())}
    assert server.call("POST", f"{PROPAGATE}?image=nowhere", json=body).status == 404


def test_a_mask_is_carried_both_ways_in_the_order_of_frames(server: Server, untouched: None) -> None:
    body = {"frame": 8, "mask": encoded(ellipse()), "direction": "both", "limit": 2}
    answer = server.call("POST", f"{PROPAGATE}?image=case_a", json=body)
    assert answer.status == 200, answer.body[:500]
    reply = answer.json()
    numbers = [one["frame"] for one in reply["frames"]]
    assert numbers == sorted(numbers)
    assert set(numbers) <= {6, 7, 9, 10}
    assert set(reply["stopped"]) == {"forward", "backward"}
    assert all(decoded(one["mask"]).sum() == one["area_px"] for one in reply["frames"])
    assert {one["reason"] for one in reply["stopped"].values()} <= {
        "anatomy left",
        "area changed",
        "end of sweep",
        "limit",
        "low expected Dice",
    }


def test_a_mask_carried_beyond_the_last_frame_stops_at_the_end_of_the_sweep(server: Server) -> None:
    body = {"frame": 11, "mask": encoded(ellipse()), "direction": "forward"}
    reply = server.call("POST", f"{PROPAGATE}?image=case_a", json=body).json()
    assert reply["frames"] == []
    assert reply["stopped"] == {"forward": {"frame": 11, "reason": "end of sweep"}}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"frame": 3}, "mask"),
        ({"frame": 3, "mask": encoded(np.zeros(SHAPE))}, "no prompt"),
        ({"frame": 99, "mask": encoded(ellipse())}, "frames 0 to 11"),
        ({"frame": 3, "mask": encoded(ellipse()), "direction": "up"}, "both, forward, backward"),
        ({"frame": 3, "mask": encoded(ellipse()), "limit": 0}, "limit"),
        ({"frame": 3, "mask": encoded(ellipse()), "limit": 10**6}, "limit"),
    ],
)
def test_a_mask_that_cannot_be_carried_is_refused_in_a_sentence(
    server: Server, untouched: None, body: dict[str, Any], words: str
) -> None:
    answer = server.call("POST", f"{PROPAGATE}?image=case_a", json=body)
    assert answer.status == 400
    assert words in answer.detail


def test_stock_clients_get_a_stack_on_the_grid_of_the_image_with_one_frame_set(
    server: Server, tmp_path: Path
) -> None:
    # what MONAI Label's Slicer module sends for a model of type deepedit without labels
    params = {
        "label": "abdomen",
        "foreground": [[32, 24, 8]],
        "background": [[2, 2, 8]],
        "result_extension": ".nrrd",
        "result_dtype": "uint8",
    }
    answer = server.infer("image=case_a", params, model="interactive")
    assert answer.status == 200, answer.body[:500]
    said, content, name = answer.parts()
    (tmp_path / name).write_bytes(content)
    mask = sitk.ReadImage(str(tmp_path / name))
    image = sitk.ReadImage(str(server.images / "case_a.mha"))
    assert mask.GetSize() == image.GetSize()
    np.testing.assert_allclose(mask.GetOrigin(), image.GetOrigin(), atol=1e-5)
    np.testing.assert_allclose(mask.GetDirection(), image.GetDirection(), atol=1e-5)
    pixels = sitk.GetArrayFromImage(mask)
    same = segment(server, frame=8, foreground=[CENTRE], background=[[2, 2]]).json()
    np.testing.assert_array_equal(pixels[8], decoded(same["mask"]))
    assert not np.delete(pixels, 8, axis=0).any()
    assert said["fetaliqa"]["frame"] == 8
    assert server.leftovers() == []


def test_clicks_on_other_slices_are_left_out(server: Server) -> None:
    both = server.infer(
        "image=case_a&output=json", {"foreground": [[1, 1, 3], [32, 24, 8]]}, model="interactive"
    ).json()
    one = server.infer("image=case_a&output=json", {"foreground": [[32, 24, 8]]}, model="interactive").json()
    assert both["fetaliqa"] == one["fetaliqa"]


@pytest.mark.parametrize(
    ("query", "params", "words"),
    [
        ("image=case_a", {}, "no prompt"),
        ("image=case_a", {"foreground": [[1, 2]]}, "column, row, frame"),
        ("image=case_a", {"foreground": [[1, 2, 40]]}, "frames 0 to 11"),
        ("image=case_a", {"foreground": [[1, 2, 3]], "save_label": True}, "no label until"),
        ("", {"foreground": [[1, 2, 3]]}, "image"),
    ],
)
def test_stock_requests_that_cannot_be_used_are_refused(
    server: Server, untouched: None, query: str, params: dict[str, Any], words: str
) -> None:
    answer = server.infer(query, params, model="interactive")
    assert answer.status == 400
    assert words in answer.detail


def test_it_does_not_run_as_a_batch_and_has_no_versions(server: Server) -> None:
    assert server.call("POST", "/batch/infer/interactive", json={}).status == 404
    assert server.raw("GET", "/models/versions?model=interactive").status == 404


def test_without_a_model_clicks_are_answered_with_503(tmp_path: Path) -> None:
    task = InteractiveTask(InteractiveService(tmp_path))
    assert (task.described(), task.is_valid()) == (None, False)
    for answer in (task.segment, task.infer_slice):
        with pytest.raises(Refused, match="no interactive model") as refused:
            answer(tmp_path / "case.mha", {"frame": 0, "roi": [1, 1, 9, 9]}, ABDOMEN)
        assert refused.value.status_code == 503
    with pytest.raises(Refused, match="no interactive model"):
        task.propagate(tmp_path / "case.mha", {"frame": 0, "mask": encoded(ellipse())})


def test_the_harness_case_shows_what_these_tests_click_on() -> None:
    pixels = case_pixels(12, seed=1)[8]
    assert pixels[ellipse() > 0].mean() > pixels[ellipse() == 0].mean() + 80
    json.dumps(encoded(ellipse()))
