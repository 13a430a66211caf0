from __future__ import annotations

import shutil
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import SimpleITK as sitk
from app_harness import LONG_FRAMES, UPLOAD_LIMIT_MB, Server, write_case

LONG_PART = 240  # frames: 2 s of an idle core, 17 s of a busy one


def read_back(content: bytes, name: str, folder: Path) -> sitk.Image:
    path = folder / name
    path.write_bytes(content)
    return sitk.ReadImage(str(path))


def test_info_names_the_models_and_counts_the_images_of_the_acouslic_folder(server: Server) -> None:
    info = server.raw("GET", "/info/").json()
    assert info["name"] == "FetalIQA"
    assert set(info["models"]) == {"fetalclip_seg", "fetalclip_cls", "interactive"}
    assert info["models"]["fetalclip_seg"]["type"] == "segmentation"
    assert info["models"]["fetalclip_seg"]["labels"] == {"abdomen": 1}
    assert set(server.raw("GET", "/datastore/?output=all").json()["objects"]) >= {"case_a", "case_b", "long"}


@pytest.mark.parametrize("extension", [None, ".nii.gz", ".mha", "nrrd"])
def test_masks_come_back_on_the_grid_of_the_input(server: Server, tmp_path: Path, extension: str | None) -> None:
    answer = server.infer("image=case_a&output=all", {"result_extension": extension} if extension else None)
    assert answer.status == 200, answer.body[:500]
    params, content, name = answer.parts()
    assert name == f"case_a.{(extension or '.nii.gz').lstrip('.')}"
    mask = read_back(content, name, tmp_path)
    image = sitk.ReadImage(str(server.images / "case_a.mha"))
    assert mask.GetSize() == image.GetSize()
    for ours, theirs in (
        (mask.GetSpacing(), image.GetSpacing()),
        (mask.GetOrigin(), image.GetOrigin()),
        (mask.GetDirection(), image.GetDirection()),
    ):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    drawn = sitk.GetArrayFromImage(mask).any(axis=(1, 2))
    positive = [bool(frame["positive"]) for frame in params["fetaliqa"]["frames"]]
    assert drawn.any(), "the random model draws nothing here: choose another seed"
    assert not (drawn & ~np.array(positive)).any()
    assert params["label_names"] == {"abdomen": 1}


def test_the_params_hold_the_whole_assessment(server: Server) -> None:
    assessment = server.infer("image=case_a&output=json").json()["fetaliqa"]
    assert assessment["schema"] == 1
    assert assessment["case_id"] == "case_a"
    assert assessment["shape"] == [12, 48, 64]
    assert len(assessment["frames"]) == 12
    assert {"best", "ranking", "sweeps", "model", "options", "threshold"} <= set(assessment)


def test_output_image_is_the_mask_file_alone(server: Server, tmp_path: Path) -> None:
    answer = server.infer("image=case_a&output=image", {"result_extension": ".mha"})
    assert 'filename="case_a.mha"' in answer.headers["content-disposition"]
    assert read_back(answer.body, "mask.mha", tmp_path).GetSize() == (64, 48, 12)


@pytest.mark.parametrize("output", ["all", "json", "image"])
def test_no_temporary_file_is_left(server: Server, output: str) -> None:
    assert server.infer(f"image=case_a&output={output}").status == 200
    assert server.infer("image=broken&output=all").status == 400
    assert server.leftovers() == []


@pytest.mark.parametrize("extension", [".nii.gz", ".mha", ".nrrd"])
def test_masks_travel_compressed(server: Server, tmp_path: Path, extension: str) -> None:
    options = {"frames": [0, 3], "threshold": 0.99999999, "result_extension": extension}
    answer = server.infer("image=long&output=image", options)
    pixels = sitk.GetArrayFromImage(read_back(answer.body, f"mask{extension}", tmp_path))
    assert pixels.shape == (LONG_FRAMES, 48, 64)
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert len(answer.body) < pixels.size / 200  # of nothing but zeros deflate makes a thousandth


def test_a_file_replaced_by_another_is_never_answered_with_the_old_masks(server: Server, tmp_path: Path) -> None:
    path = server.images / "replaced.mha"
    write_case(path, 4, seed=21)
    options = {"result_extension": ".mha"}
    assert_offered(server, "replaced")
    assert server.infer("image=replaced", options).parts()[0]["cached"] is False
    write_case(tmp_path / "new.mha", 7, seed=22)
    shutil.copyfile(tmp_path / "new.mha", path)
    params, content, _ = server.infer("image=replaced", options).parts()
    assert params["cached"] is False
    assert read_back(content, "mask.mha", tmp_path).GetSize() == (64, 48, 7)
    assert server.raw("DELETE", "/datastore/image?id=replaced").status == 200


def assert_offered(server: Server, image: str) -> None:
    """Wait until the server has noticed a new file."""
    deadline = time.monotonic() + 10
    while server.raw("HEAD", f"/datastore/image?image={image}").status != 200:
        assert time.monotonic() < deadline, f"{image} is not offered"
        time.sleep(0.05)


def test_nothing_is_held_or_left_by_requests_of_all_kinds(server: Server) -> None:
    def asked() -> None:
        broken = {"file": ("case.mha", b"this is no image")}
        for status, answer in (
            (200, server.infer("image=case_a&output=json")),
            (200, server.infer("image=case_a&output=image", {"result_extension": ".mha"})),
            (200, server.infer("image=case_a&output=all")),
            (400, server.infer("image=case_a&output=all", {"top_n": 0})),
            (404, server.infer("image=nobody")),
            (400, server.infer("output=json", files=broken)),
            (400, server.call("PUT", "/datastore/label?image=case_a&tag=final", files={"label": broken["file"]})),
            (400, server.raw("GET", "/datastore/label?label=..%2Fx&tag=final")),
            (413, server.raw("POST", "/infer/fetalclip_seg", b"x" * (UPLOAD_LIMIT_MB * 1024**2 + 1))),
        ):
            assert answer.status == status, answer.body[:300]

    asked()  # what is opened on first use is open now
    process = psutil.Process(server.process.pid)
    before = process.num_fds()
    for _ in range(10):
        asked()
    assert list(server.temporary.iterdir()) == []  # the settings of the log too, which MONAI Label leaves
    deadline = time.monotonic() + 5
    while process.num_fds() > before + 2 and time.monotonic() < deadline:  # connections that are just closing
        time.sleep(0.05)
    assert process.num_fds() <= before + 2


def test_a_second_request_is_answered_from_the_cache(server: Server) -> None:
    first = server.infer("image=case_b&output=json", {"top_n": 3}).json()
    started = time.perf_counter()
    second = server.infer("image=case_b&output=json", {"top_n": 3}).json()
    assert time.perf_counter() - started < 1.0
    assert (first["cached"], second["cached"]) == (False, True)
    assert second["fetaliqa"] == first["fetaliqa"]
    assert server.infer("image=case_b&output=json", {"top_n": 4}).json()["cached"] is False


def test_the_classifier_ranks_and_makes_no_masks(server: Server) -> None:
    answer = server.infer("image=case_a&output=all", model="fetalclip_cls")
    assert answer.headers["content-type"].startswith("application/json")
    assert answer.json()["fetaliqa"]["model"]["task"] == "classification"
    refused = server.infer("image=case_a&output=image", model="fetalclip_cls")
    assert refused.status == 400
    assert "output=json" in refused.detail


def test_options_choose_the_part_of_the_case(server: Server) -> None:
    def assessed(params: dict) -> list[int]:
        frames = server.infer("image=case_a&output=json", params).json()["fetaliqa"]["frames"]
        return [frame["index"] for frame in frames if frame["quality"] is not None]

    assert assessed({"frames": [2, 5]}) == [2, 3, 4]
    assert assessed({"sweep_count": 3, "sweeps": [1]}) == [4, 5, 6, 7]
    assert server.infer("image=case_a&output=json", {"threshold": 0.4}).json()["fetaliqa"]["threshold"] == 0.4


def test_a_case_without_any_usable_frame_says_so(server: Server, tmp_path: Path) -> None:
    answer = server.infer("image=case_a&output=all", {"threshold": 0.99999999, "result_extension": ".mha"})
    params, content, name = answer.parts()
    assert params["fetaliqa"]["best"] is None
    assert params["fetaliqa"]["reason"]
    assert not sitk.GetArrayFromImage(read_back(content, name, tmp_path)).any()


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ('{"a"', "params"),
        ("[1]", "params"),
        ('{"threshold": NaN}', "params"),
        ({"threshold": 2}, "threshold"),
        ({"screen": True}, "classifier"),  # one joins this model
        ({"screen": True, "search": True}, "choose one"),
        ({"screen": "yes"}, "screen is 'yes'"),
        ({"top_n": 0}, "top_n"),
        ({"top_n": True}, "top_n"),
        ({"frames": [5, 2]}, "frames"),
        ({"frames": [0, 4000]}, "frames"),
        ({"sweeps": [99]}, "sweep"),
        ({"sweep_count": 7}, "sweep"),
        ({"result_extension": ".exe"}, "result_extension"),
        ({"result_extension": "../x.nii.gz"}, "result_extension"),
        ({"image": "case_b"}, "image"),
        ({"image": "/etc/passwd"}, "image"),
        ({"model": "fetalclip_cls"}, "model"),
        ({"save_label": True, "label_tag": "final"}, "final"),
        ({"save_label": True, "label_tag": "anna"}, "anna"),
        ({"save_label": True, "label_tag": "../x"}, "tag"),
    ],
)
@pytest.mark.usefixtures("untouched")
def test_bad_params_are_400_and_name_the_field(server: Server, params: object, named: str) -> None:
    answer = server.infer("image=case_a&output=json", params)
    assert answer.status == 400
    assert named in answer.detail


@pytest.mark.parametrize(
    ("query", "model", "status"),
    [
        ("image=case_a", "nope", 404),
        ("image=nope", "fetalclip_seg", 404),
        ("", "fetalclip_seg", 400),
        ("session_id=nope", "fetalclip_seg", 404),
        ("image=case_a&output=banana", "fetalclip_seg", 400),
        ("image=case_a&output=dicom_seg", "fetalclip_seg", 400),
        ("image=broken&output=json", "fetalclip_seg", 400),
    ],
)
@pytest.mark.usefixtures("untouched")
def test_what_cannot_be_answered_is_a_sentence(server: Server, query: str, model: str, status: int) -> None:
    answer = server.infer(query, model=model)
    assert answer.status == status
    assert len(answer.detail.split()) > 3


def test_an_uploaded_file_is_assessed_without_being_kept(server: Server, tmp_path: Path) -> None:
    write_case(tmp_path / "visitor.mha", 5, seed=9)
    before = server.index()
    with open(tmp_path / "visitor.mha", "rb") as stream:
        answer = server.infer("output=json", files={"file": ("visitor.mha", stream)})
    assert answer.json()["fetaliqa"]["case_id"] == "visitor"
    assert server.index() == before
    assert server.leftovers() == []


def test_a_session_is_assessed_until_it_is_removed(server: Server, tmp_path: Path) -> None:
    write_case(tmp_path / "visitor.mha", 5, seed=10)
    with open(tmp_path / "visitor.mha", "rb") as stream:
        session = server.call("PUT", "/session/", files={"files": ("visitor.mha", stream)}).json()["session_id"]
    assert server.infer(f"session_id={session}&output=json").json()["fetaliqa"]["shape"] == [5, 48, 64]
    assert server.raw("GET", f"/session/{session}?image=true").body == (tmp_path / "visitor.mha").read_bytes()
    assert server.raw("DELETE", f"/session/{session}").status == 200
    assert server.infer(f"session_id={session}&output=json").status == 404
    assert server.leftovers() == []


def test_a_proposal_is_saved_as_original_when_asked(server: Server) -> None:
    answer = server.infer("image=case_b&output=json", {"save_label": True, "frames": [0, 3]})
    assert answer.status == 200
    assert server.index()["objects"]["case_b"]["labels"] == {}  # json only: there is no mask to save
    answer = server.infer("image=case_b&output=all", {"save_label": True, "frames": [0, 3]})
    params, _, _ = answer.parts()
    assert params["label"] == {"image": "case_b", "tag": "original"}
    record = server.index()["objects"]["case_b"]["labels"]["original"]
    assert record["info"]["model"] == "fetalclip_seg"
    assert "frames" not in record["info"]["params"]["fetaliqa"]
    assert (server.studies / "labels" / "original" / "case_b.nii.gz").is_file()
    assert server.raw("DELETE", "/datastore/label?id=case_b&tag=original").status == 200
    assert not (server.studies / "labels" / "original" / "case_b.nii.gz").exists()


def test_proposals_have_no_history(server: Server) -> None:
    for _ in range(2):
        assert server.infer("image=case_b&output=all", {"save_label": True, "frames": [0, 3]}).status == 200
    assert not (server.studies / "label-versions" / "case_b" / "original").exists()
    assert server.raw("DELETE", "/datastore/label?id=case_b&tag=original").status == 200


def test_a_known_case_does_not_wait_for_long_inferences(server: Server) -> None:
    assert server.infer("image=case_a").status == 200
    running = [
        threading.Thread(
            target=server.infer, args=("image=long&output=json", {"frames": [number, LONG_PART + number]})
        )
        for number in (1, 2)  # as many as run at once
    ]
    for thread in running:
        thread.start()
    time.sleep(0.5)
    started = time.perf_counter()
    answer = server.infer("image=case_a")
    waited = time.perf_counter() - started
    assert all(thread.is_alive() for thread in running), "too short to show anything; use more frames"
    assert answer.parts()[0]["cached"]
    assert waited < 1.0
    for thread in running:
        thread.join()


def test_other_clients_are_answered_within_a_second_during_a_long_inference(server: Server) -> None:
    answers: dict[str, float] = {}

    def long_inference() -> None:
        started = time.perf_counter()
        answers["status"] = server.infer("image=long&output=json", {"frames": [0, LONG_PART]}).status
        answers["seconds"] = time.perf_counter() - started

    thread = threading.Thread(target=long_inference)
    thread.start()
    waits = []
    time.sleep(0.3)
    while thread.is_alive():
        started = time.perf_counter()
        assert server.raw("GET", "/info/").status == 200
        waits.append(time.perf_counter() - started)
        time.sleep(0.05)
    thread.join()
    assert answers["status"] == 200
    assert answers["seconds"] > 1.5, "too short to show anything; use more frames"
    assert len(waits) > 5
    assert max(waits) < 1.0
