"""MONAI Label's own Python client, the one inside its Slicer module, against our server."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import requests
import SimpleITK as sitk
from app_harness import Server, write_case
from monailabel.client import MONAILabelClient
from monailabel.client.client import MONAILabelClientException

from monailabel_app.lib.startup.start_message import start_message


@pytest.fixture
def client(server: Server, tmp_path: Path) -> MONAILabelClient:
    folder = tmp_path / "client's own (1)"
    folder.mkdir()
    return MONAILabelClient(server.url, str(folder), "anna")


def uploaded(client: MONAILabelClient, tmp_path: Path, case: str, frames: int = 8) -> Path:
    """An image that nobody else uses, uploaded by the client."""
    path = tmp_path / f"{case}.mha"
    write_case(path, frames, seed=len(case))
    assert client.upload_image(str(path), case) == {"image": case}
    return path


def edited(file: str, changes: dict[int, np.ndarray], target: Path) -> str:
    """A mask file with some frames replaced."""
    image = sitk.ReadImage(file)
    array = sitk.GetArrayFromImage(image)
    for frame, mask in changes.items():
        array[frame] = mask
    made = sitk.GetImageFromArray(array)
    made.CopyInformation(image)
    sitk.WriteImage(made, str(target), useCompression=True)
    return str(target)


def square(row: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    mask = np.zeros(size, np.uint8)
    mask[row : row + 8, 10:20] = 1
    return mask


def states(server: Server, case: str, tag: str = "final") -> dict[int, str]:
    info = server.raw("GET", f"/datastore/label/info?label={case}&tag={tag}").json()
    return {int(frame): entry["state"] for frame, entry in info["frame_record"]["frames"].items()}


def test_the_start_points_to_the_module_whose_labels_train_first() -> None:
    shown = start_message("http://127.0.0.1:8000", ["case"], ["fetalclip_seg"])
    assert 0 < shown.index("module FetalIQA") < shown.index("MONAI Label's own module")
    assert "until a reviewer confirms them" in shown


def test_every_call_of_the_client_is_answered(server: Server, client: MONAILabelClient, tmp_path: Path) -> None:
    assert client.info()["models"]["fetalclip_seg"]["labels"] == {"abdomen": 1}
    assert not client.auth_enabled()
    path = uploaded(client, tmp_path, "stock-all")
    assert "stock-all" in client.datastore()["objects"]
    sample = client.next_sample("random", {})
    assert {"id", "path", "name"} <= set(sample)

    proposal, params = client.infer("fetalclip_seg", "stock-all", {"result_extension": ".nrrd"})
    assert sitk.ReadImage(proposal).GetSize() == sitk.ReadImage(str(path)).GetSize()
    assert params["label_names"] == {"abdomen": 1}
    sent, _ = client.infer("fetalclip_seg", "", {}, file=str(path))
    assert np.array_equal(*(sitk.GetArrayFromImage(sitk.ReadImage(one)) for one in (proposal, sent)))
    session = client.create_session(str(path))["session_id"]
    assert client.get_session(session)["image"]
    there, _ = client.infer("fetalclip_seg", "", {}, session_id=session)
    assert sitk.ReadImage(there).GetSize() == sitk.ReadImage(str(path)).GetSize()
    client.remove_session(session)
    with pytest.raises(MONAILabelClientException, match="404"):
        client.get_session(session)

    saved = client.save_label("stock-all", proposal, "anna", {"label_info": [{"name": "abdomen", "idx": 1}]})
    assert (saved["image"], saved["version"]) == ("stock-all", 1)
    back = sitk.GetArrayFromImage(sitk.ReadImage(client.download_label("stock-all", "anna")))
    assert np.array_equal(back, sitk.GetArrayFromImage(sitk.ReadImage(proposal)))

    with pytest.raises(MONAILabelClientException, match=r"400.*confirm"):
        client.train_start("fetalclip_seg", {})
    assert not client.train_status(check_if_running=True)
    with pytest.raises(MONAILabelClientException, match="404"):
        client.train_status()
    client.train_stop()
    scoring = requests.post(f"{server.url}/scoring/frames", timeout=60)
    assert scoring.status_code == 200, scoring.text
    requests.delete(f"{server.url}/scoring/", timeout=60)
    assert requests.get(f"{server.url}/logs/", timeout=60).status_code == 200
    assert server.raw("DELETE", "/datastore/image?id=stock-all").status == 200
    assert server.leftovers() == []


def test_frames_that_a_person_changed_count_and_the_others_stay_proposed(
    server: Server, client: MONAILabelClient, tmp_path: Path
) -> None:
    uploaded(client, tmp_path, "stock-edit")
    proposal, _ = client.infer("fetalclip_seg", "stock-edit", {})
    outlined = np.flatnonzero(sitk.GetArrayFromImage(sitk.ReadImage(proposal)).any(axis=(1, 2))).tolist()
    redrawn, cleared = outlined[0], outlined[1]
    file = edited(proposal, {redrawn: square(20), cleared: np.zeros((48, 64))}, tmp_path / "label one.nii.gz")

    saved = client.save_label(
        "stock-edit", file, params={"compared": {}, "left_out": "x"}
    )  # only the server's to say
    assert "left_out" not in saved
    assert saved["frames"] == {"annotated": 1, "empty": 1, "proposed": len(outlined) - 2}
    assert "1 changed frame(s) count as annotated, 1 cleared" in saved["note"]
    assert "fetaliqa labels confirm stock-edit --tag final" in saved["note"]
    found = states(server, "stock-edit")
    assert (found.pop(redrawn), found.pop(cleared)) == ("annotated", "empty")
    assert set(found) == set(outlined[2:])
    assert set(found.values()) == {"proposed"}
    info = server.raw("GET", "/datastore/label/info?label=stock-edit&tag=final").json()
    assert info["frame_record"]["frames"][str(redrawn)]["rater"] == "anna"

    # what did not change since keeps its state, whoever downloads it and sends it back
    back = client.download_label("stock-edit", "final")
    again = edited(back, {outlined[2]: square(30)}, tmp_path / "again.nii.gz")
    assert client.save_label("stock-edit", again)["version"] == 2
    assert [states(server, "stock-edit")[frame] for frame in outlined[:3]] == ["annotated", "empty", "annotated"]
    other = MONAILabelClient(server.url, client._tmpdir, "ben")
    copied = other.save_label("stock-edit", other.download_label("stock-edit", "final"), "ben")
    assert "annotated" not in copied["frames"]
    assert "empty" not in copied["frames"]

    # a reviewer confirms the rest in one step, if nobody saved meanwhile
    confirm = "/datastore/label/confirm?label=stock-edit&tag=final"
    late = server.raw("POST", f"{confirm}&version=1")
    assert (late.status, "version 2 was saved meanwhile" in late.detail) == (409, True)
    assert server.call("POST", confirm, data={"frames": "7-3"}).status == 400
    assert server.call("POST", confirm, data={"frames": "99"}).status == 400
    told = server.raw("POST", f"{confirm}&version=2").json()
    assert told["frames"] == {"annotated": len(outlined) - 1, "empty": 1}
    assert told["reviews"][-1]["state"] == "accepted"
    nothing = server.raw("POST", confirm)
    assert (nothing.status, "no proposed frame" in nothing.detail) == (400, True)
    assert server.raw("GET", "/datastore/label/info?label=stock-edit&tag=final").json()["version"] == 3
    assert server.raw("DELETE", "/datastore/image?id=stock-edit").status == 200


def test_without_a_known_proposal_nothing_is_confirmed(
    server: Server, client: MONAILabelClient, tmp_path: Path
) -> None:
    path = uploaded(client, tmp_path, "stock-unknown")
    image = sitk.ReadImage(str(path))
    empty = sitk.Image(image.GetSize(), sitk.sitkUInt8)
    empty.CopyInformation(image)
    sitk.WriteImage(empty, str(tmp_path / "empty.nii.gz"))
    file = edited(str(tmp_path / "empty.nii.gz"), {3: square(8), 4: square(9)}, tmp_path / "drawn.nii.gz")
    saved = client.save_label("stock-unknown", file)
    assert saved["frames"] == {"proposed": 2}
    assert "not known" in saved["note"]

    # what was proposed for the same pixels, sent along as a file, is known
    proposal, _ = client.infer("fetalclip_seg", "", {}, file=str(path))
    assert client.save_label("stock-unknown", proposal, "ben")["frames"].keys() == {"proposed"}
    drawn = edited(proposal, {5: square(3)}, tmp_path / "drawn.nii.gz")
    assert client.save_label("stock-unknown", drawn, "cleo")["frames"]["annotated"] == 1
    # a replaced image has no known proposal, whatever was proposed for the one before
    write_case(server.images / "stock-unknown.mha", 8, seed=77)
    assert client.save_label("stock-unknown", drawn, "dan")["frames"].keys() == {"proposed"}
    assert server.raw("DELETE", "/datastore/image?id=stock-unknown").status == 200


def test_classes_told_by_their_names_are_told_apart(
    server: Server, client: MONAILabelClient, tmp_path: Path
) -> None:
    path = uploaded(client, tmp_path, "stock-classes")
    image = sitk.ReadImage(str(path))
    array = np.zeros(image.GetSize()[::-1], np.uint8)
    array[2, 4:12, 4:12], array[2, 20:30, 20:30] = 1, 2
    label = sitk.GetImageFromArray(array)
    label.SetDirection(image.GetDirection())  # spacing and origin are whatever the client's program made of them
    sitk.WriteImage(label, str(tmp_path / "label.nii.gz"))

    def save(*names: str) -> dict:
        classes = [{"name": name, "idx": number} for number, name in enumerate(names, start=1)]
        return client.save_label("stock-classes", str(tmp_path / "label.nii.gz"), "anna", {"label_info": classes})

    assert save("placenta", "abdomen")["left_out"] == ["placenta"]
    stored = sitk.ReadImage(client.download_label("stock-classes", "anna"))
    assert np.array_equal(sitk.GetArrayFromImage(stored), array == 2)
    assert np.allclose(stored.GetSpacing(), image.GetSpacing())
    assert np.allclose(stored.GetOrigin(), image.GetOrigin())
    with pytest.raises(MONAILabelClientException, match=r"none of its segments .*placenta.*spine"):
        save("placenta", "spine")
    assert server.raw("DELETE", "/datastore/image?id=stock-classes").status == 200


def test_a_confirmed_frame_record_is_not_replaced_by_a_comparison(
    server: Server, client: MONAILabelClient, tmp_path: Path
) -> None:
    uploaded(client, tmp_path, "stock-record")
    proposal, _ = client.infer("fetalclip_seg", "stock-record", {})
    file = edited(proposal, {6: square(5)}, tmp_path / "label.nii.gz")
    record = {"schema": 1, "frames": {"6": {"state": "annotated", "rater": "cleo"}}}
    saved = client.save_label("stock-record", file, "final", {"frame_record": record})
    assert set(saved) == {"image", "label", "version"}
    with pytest.raises(MONAILabelClientException, match="409"):
        client.save_label("stock-record", proposal)
    assert json.loads(requests.get(f"{server.url}/datastore/", timeout=60).text)["completed"] >= 1
    assert server.raw("DELETE", "/datastore/image?id=stock-record").status == 200
