"""The sample data with the demo model: what ``make serve`` does on a fresh machine."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from app_harness import Server, free_port, start, stop

from fetaliqa.evaluation.frame_metrics import dice
from fetaliqa.sweep import read_sweep

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def demo_server(tmp_path_factory: pytest.TempPathFactory, sample_data: Path) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("demo")
    for part in ("images", "masks", "circumferences"):
        shutil.copytree(sample_data / part, root / "studies" / part)
    port = free_port()
    command = ["-m", "monailabel_app.serve", "--studies", str(root / "studies"), "--port", str(port)]
    running = start(root, [*command, "--conf", "device", "cpu"], port)
    yield running
    stop(running)


def test_without_other_bundles_the_demo_is_served_and_says_what_it_is(demo_server: Server) -> None:
    info = demo_server.raw("GET", "/info/").json()
    assert list(info["models"]) == ["fetalclip_seg", "interactive"]
    assert info["models"]["fetalclip_seg"]["fetaliqa"]["name"] == "demo"
    on = {"device": "cpu", "card": None, "precision": "fp32"}
    assert info["models"]["fetalclip_seg"]["computed_on"] == on
    assert "fetalclip_seg: demo runs on cpu in fp32" in (demo_server.root / "server.log").read_text()


def test_a_sample_case_is_answered_with_masks_and_ranking(demo_server: Server, tmp_path: Path) -> None:
    case = sorted(demo_server.images.glob("*.mha"))[0]
    answer = demo_server.infer(f"image={case.stem}", {"result_extension": ".mha"})
    params, content, name = answer.parts()
    assert name.endswith(".mha")
    (tmp_path / "masks.mha").write_bytes(content)
    masks = sitk.ReadImage(str(tmp_path / "masks.mha"))
    image = sitk.ReadImage(str(case))
    assert masks.GetSize() == image.GetSize()
    assert masks.GetSpacing() == image.GetSpacing()
    assessment = params["fetaliqa"]
    assert assessment["best"] == assessment["ranking"][0]
    assert assessment["frames"][assessment["best"]]["circumference_mm"] > 100
    # phantom accuracy only: the best frame is one the phantom calls a plane, and its outline is the phantom's
    truth = sitk.GetArrayFromImage(
        sitk.ReadImage(str(demo_server.studies / "masks" / "stacked_fetal_abdomen" / case.name))
    )
    best = truth[assessment["best"]] > 0
    assert best.any()
    assert dice(sitk.GetArrayFromImage(masks)[assessment["best"]], best) > 0.8
    assert np.flatnonzero(sitk.GetArrayFromImage(masks).any(axis=(1, 2))).tolist() == [
        frame["index"] for frame in assessment["frames"] if frame["positive"]
    ]


def test_a_real_still_is_offered_beside_the_sweeps_and_answered_as_one_frame(demo_server: Server) -> None:
    stills = sorted(demo_server.images.glob("*.png"))
    offered = demo_server.raw("GET", "/datastore/?output=all").json()["objects"]
    assert set(offered) == {path.stem for path in demo_server.images.iterdir()}
    assert demo_server.raw("GET", "/info/").json()["not_offered"] == []
    for still in (stills[0], stills[-1]):  # grey levels in one channel, and in three
        answer = demo_server.infer(f"image={still.stem}", {"result_extension": ".mha"})
        assert answer.parts()[0]["fetaliqa"]["shape"] == list(read_sweep(still).shape)
        sent = demo_server.raw("GET", f"/datastore/image?image={still.stem}")
        assert sent.body == still.read_bytes()
