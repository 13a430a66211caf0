"""The loop over HTTP: infer, correct, save, train, gate, publish, infer; on phantoms, against a real server."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from app_harness import Server
from learning_studies import assessed, learning_server, phantom, save_truth
from monailabel.client import MONAILabelClient

from fetaliqa.model.user_folders import demo_folder
from fetaliqa.registry import publishing

LABELLED = range(50_001, 50_005)
HELD_OUT = (50_011, 50_012)
AUTO = 40  # newly confirmed frames; the four labelled cases have more, three of them less
DEMO = demo_folder()


# each test continues where the one before it ended, all on one server
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cases() -> dict[str, Any]:
    return {f"case-{seed}": phantom(seed) for seed in (*LABELLED, *HELD_OUT)}


@pytest.fixture(scope="module")
def learning(tmp_path_factory: pytest.TempPathFactory, cases: dict[str, Any]) -> Iterator[Server]:
    with learning_server(tmp_path_factory.mktemp("learning"), cases, auto_retrain=AUTO) as running:
        yield running


def stats(server: Server) -> dict[str, Any]:
    return server.raw("GET", "/info/").json()["train_stats"]["fetalclip_seg"]


def wait_for(what: Callable[[], bool], seconds: float = 240) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.2)


def models(server: Server) -> dict[str, Any]:
    return server.raw("GET", "/models/").json()


def post(server: Server, target: str, **body: Any) -> Any:
    return server.call("POST", target, json=body)


def test_corrections_become_a_better_model_that_is_served_at_once(
    learning: Server, cases: dict[str, Any], tmp_path: Path
) -> None:
    server = learning
    assert models(server) | {"served": None} == {
        "name": "fetalclip_seg",
        "current": None,
        "served": None,
        "follows": True,
        "versions": [],
    }
    assert server.raw("GET", "/models/history").json() == []
    assert stats(server)["state"] == "none"

    # refused before a process is started
    refused = post(server, "/train/fetalclip_seg")
    assert (refused.status, refused.detail[:27]) == (400, "no frame is confirmed yet; ")
    assert post(server, "/train/fetalclip_seg", mode="best").status == 400
    assert post(server, "/train/fetalclip_seg", resume="yes").status == 400
    assert post(server, "/train/fetalclip_seg", resume=True).status == 409
    assert post(server, "/train/fetalclip_seg?run_sync=true").status == 400
    assert post(server, "/train/nope").status == 404
    for target in ("/train/", "/scoring/"):  # none was started
        answer = server.raw("GET", target)
        assert (answer.status, bool(answer.detail)) == (404, True)

    # infer, correct, save
    held_out = [f"case-{seed}" for seed in HELD_OUT]
    before = [assessed(server, name, cases[name], tmp_path) for name in held_out]
    assert {params["fetaliqa"]["model"]["name"] for params, _ in before} == {"demo"}
    for seed in LABELLED:
        assert save_truth(server, f"case-{seed}", cases[f"case-{seed}"], tmp_path).status == 200

    # the fourth label makes more than AUTO newly confirmed frames: a training starts by itself
    wait_for(lambda: stats(server)["state"] == "running")
    assert post(server, "/train/fetalclip_seg").status == 429
    wait_for(lambda: stats(server).get("step", 0) >= 3)
    shown = stats(server)
    assert (shown["stage"], shown["epochs"]) == ("train", 1)
    assert shown["eta_seconds"] > 0
    assert len(shown["losses"]) >= 3

    # cancelled: nothing is published; it can be gone on with
    client = MONAILabelClient(server.url, str(tmp_path))  # MONAI Label's own
    assert client.train_status()["status"] == "RUNNING"
    client.train_stop()
    assert client.train_status()["status"] == "STOPPED"
    wait_for(lambda: stats(server)["state"] == "interrupted", 10)
    assert models(server)["current"] is None
    assert client.train_start("fetalclip_seg", {"resume": True})["status"] in ("SUBMITTED", "RUNNING")
    wait_for(lambda: server.raw("GET", "/train/").json()["status"] not in ("SUBMITTED", "RUNNING"))
    told = server.raw("GET", "/train/").json()
    assert told["status"] == "DONE", told["details"]
    assert any("epoch 1 of 1" in line for line in told["details"])

    # the gate let it pass, and the next inference uses it
    wait_for(lambda: stats(server)["frames_since"] == 0, 30)
    gate = stats(server)["gate"]
    assert gate["published"], gate
    assert gate["sentence"].startswith("candidate 1: ")
    assert (gate["passed"], gate["rule"], gate["advice"]) == (True, "better", "")  # of one patient: not surely
    assert set(gate["figures"]) == {"confirmed", "original", "sweeps"}
    after = [assessed(server, name, cases[name], tmp_path) for name in held_out]
    for params, _ in after:
        model = params["fetaliqa"]["model"]
        assert (model["name"], model["version"], params["cached"]) == ("fetalclip_seg", "1", False)
    assert sum(dice for _, dice in after) > sum(dice for _, dice in before) + 0.1  # of 2 cases
    (line,) = server.raw("GET", "/models/history").json()
    assert (line["action"], line["version"], line["reason"]) == ("publish", "1", gate["sentence"])

    # pictures of the confirmed frames on which the two models differ most
    report = server.raw("GET", "/fetaliqa/v1/models/report?version=1").json()
    pictures = report["gate"]["pictures"]
    assert 0 < len(pictures) <= 6
    assert {one["case"] for one in pictures} <= {f"case-{seed}" for seed in LABELLED}
    address = "/fetaliqa/v1/models/report/picture?version=1"
    shown = [server.raw("GET", f"{address}&number=0&side={side}") for side in ("published", "candidate")]
    assert {one.headers["content-type"] for one in shown} == {"image/jpeg"}
    assert shown[0].body != shown[1].body
    assert server.raw("GET", f"{address}&number={len(pictures)}&side=candidate").status == 404
    assert server.raw("GET", f"{address}&number=0&side=../gate").status in (400, 422)
    assert server.raw("GET", f"{address.replace('version=1', 'version=9')}&number=0&side=candidate").status == 404


def test_going_back_and_forth_finds_what_each_version_had_assessed(
    learning: Server, cases: dict[str, Any], tmp_path: Path
) -> None:
    server, name = learning, f"case-{HELD_OUT[0]}"

    def answers() -> tuple[str, str, bool]:
        params = server.infer(f"image={name}&output=json").json()
        return params["fetaliqa"]["model"]["name"], params["fetaliqa"]["model"]["version"], params["cached"]

    assert answers() == ("fetalclip_seg", "1", True)
    back = post(server, "/models/rollback")
    assert (back.status, back.json()["version"], back.json()["served"]["name"]) == (200, None, "demo")
    assert answers() == ("demo", "1.0", True)
    assert post(server, "/models/rollback").status == 409
    assert post(server, "/models/publish", version="9").status == 404
    assert post(server, "/models/publish", version="../1").status == 400
    assert post(server, "/models/publish").status == 400
    assert post(server, "/models/publish?model=nope", version="1").status == 404
    assert post(server, "/models/publish", version=1).json()["served"]["version"] == "1"
    assert answers() == ("fetalclip_seg", "1", True)
    actions = [line["action"] for line in server.raw("GET", "/models/history").json()]
    assert actions == ["publish", "rollback", "publish"]


def test_a_published_version_that_cannot_be_loaded_is_not_served(
    learning: Server, cases: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    server = learning
    store = server.root / "home" / "fetaliqa"
    monkeypatch.setenv("FETALIQA_HOME", str(store))
    assert publishing.add_candidate(DEMO, "fetalclip_seg", "by hand") == "2"
    publishing.publish("fetalclip_seg", "2")
    head = store / "models/fetalclip_seg/2/head.safetensors"
    head.write_bytes(head.read_bytes()[:-9] + b"not right")
    params = server.infer(f"image=case-{HELD_OUT[0]}&output=json").json()
    assert params["fetaliqa"]["model"]["version"] == "1"
    log = (server.root / "server.log").read_text()
    assert "fetalclip_seg@2 is published, but cannot be served; fetalclip_seg@1 stays" in log
    assert models(server)["current"] == "2"
    assert post(server, "/models/rollback").json()["served"]["version"] == "1"
    assert "Traceback" not in (server.root / "server.log").read_text()
    shutil.rmtree(store / "models/fetalclip_seg/2")


def test_a_candidate_that_the_gate_refused_is_published_on_record_only(
    learning: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = learning
    monkeypatch.setenv("FETALIQA_HOME", str(server.root / "home" / "fetaliqa"))
    figures = {"confirmed": {"figures": {"dice": {"published": 0.9, "candidate": 0.8}}}}
    gate = {
        "passed": False,
        "reason": "Dice 0.900 -> 0.800 on 5 validation cases, significantly worse",
        "groups": figures,
    }
    refused = publishing.add_candidate(DEMO, "fetalclip_seg", "refused", {"gate": gate, "sentence": "worse"})
    before = models(server)["current"]
    listed = next(one for one in models(server)["versions"] if one["version"] == refused)
    assert listed == {"version": refused, "published": False, "sentence": "worse", "refused": True}

    answer = post(server, "/models/publish", version=refused)
    assert answer.status == 409
    assert "the gate refused this candidate: Dice 0.900 -> 0.800" in answer.detail
    assert '"force": true and "reason"' in answer.detail
    for wrong, said in (
        ({"force": True}, "needs a reason"),
        ({"force": True, "reason": " "}, "needs a reason"),
        ({"force": "yes", "reason": "a trial"}, "force is 'yes'; it must be true or false"),
        ({"force": True, "reason": 7}, "reason is '7'; it must be text"),
        ({"force": True, "reason": "x" * 501}, "at most 500 are kept"),
    ):
        answer = post(server, "/models/publish", version=refused, **wrong)
        assert (answer.status, said in answer.detail) == (400, True), answer.detail
    assert models(server)["current"] == before

    answer = post(server, "/models/publish", version=refused, force=True, reason="the next ward\nwants it")
    assert (answer.status, answer.json()["served"]["version"]) == (200, refused)
    line = server.raw("GET", "/models/history").json()[-1]
    assert (line["action"], line["forced"], line["by"]) == ("publish", True, "admin")
    assert line["reason"].startswith(
        "published by admin though the gate refused it: the next ward\\nwants it (the gate"
    )
    assert line["figures"] == {"confirmed": {"dice": [0.9, 0.8]}}
    assert post(server, "/models/rollback").json()["version"] == before
    # once somebody has gone back from it, it takes a reason again
    assert post(server, "/models/publish", version=refused).status == 409
