"""A server that is killed while annotators save loses nothing that it said was saved."""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from app_harness import fill_studies, free_port, start, stop

from fetaliqa.labels import LabelStore
from fetaliqa.labels.studies import Studies

pytestmark = pytest.mark.slow

RATERS = 2


def _mask(path: Path, image: Path, number: int) -> Path:
    """A mask on frame 0 whose area tells its number."""
    reference = sitk.ReadImage(str(image))
    masks = np.zeros(sitk.GetArrayViewFromImage(reference).shape, np.uint8)
    masks[0].reshape(-1)[: number + 1] = 1
    mask = sitk.GetImageFromArray(masks)
    mask.CopyInformation(reference)
    sitk.WriteImage(mask, str(path), useCompression=True)
    return path


# of the server; the store alone is killed more often in tests/labels
@pytest.mark.parametrize("kills", [1, pytest.param(4, marks=pytest.mark.long)])
def test_labels_survive_kills_of_the_server(tmp_path: Path, bundle: Path, kills: int) -> None:
    fill_studies(tmp_path)
    studies, chance = tmp_path / "studies", random.Random(8)
    image = studies / "images" / "stacked_fetal_ultrasound" / "case_b.mha"
    told: dict[str, list[int]] = {f"rater-{number}": [] for number in range(RATERS)}
    next_number = dict.fromkeys(told, 0)
    for kill in range(kills):
        port = free_port()
        command = ["-m", "monailabel_app.serve", "--studies", str(studies), "--port", str(port)]
        command += ["--conf", "bundle", str(bundle), "--conf", "cache_dir", str(tmp_path / "cache")]
        server = start(tmp_path, command, port)

        refused: list[bytes] = []

        def save(tag: str, server=server, refused=refused) -> None:
            while True:
                number = next_number[tag]
                next_number[tag] += 1
                path = _mask(tmp_path / f"{tag}.nii.gz", image, number)
                record = {"schema": 1, "frames": {"0": {"state": "annotated", "rater": tag}}}
                try:
                    answer = server.call(
                        "PUT",
                        f"/datastore/label?image=case_b&tag={tag}",
                        files={"label": (path.name, path.read_bytes())},
                        data={"params": json.dumps({"number": number, "frame_record": record})},
                    )
                except (OSError, EOFError):
                    return  # killed
                if answer.status != 200:
                    refused.append(answer.body)
                    return
                told[tag].append(number)

        raters = [threading.Thread(target=save, args=(tag,)) for tag in told]
        for rater in raters:
            rater.start()
        time.sleep(chance.uniform(0.5, 2.0))
        if kill == kills - 1:
            time.sleep(1)
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait()
        for rater in raters:
            rater.join(60)
            assert not rater.is_alive()
        assert refused == []

        store = LabelStore(studies / "label-versions")
        assert store.check() == []
        for tag, numbers in told.items():
            history = store.history("case_b", tag)
            saved = [version.info["number"] for version in history]
            assert set(numbers) <= set(saved), "the server said that it is saved"
            for version in history:
                masks = sitk.GetArrayFromImage(sitk.ReadImage(str(version.mask)))
                assert int(masks.sum()) == version.info["number"] + 1  # mask and record of one save
                assert version.record.known() == [0]
    assert all(told.values())

    # a server that starts afterwards shows the last version of each
    port = free_port()
    command = ["-m", "monailabel_app.serve", "--studies", str(studies), "--port", str(port)]
    server = start(tmp_path, [*command, "--conf", "bundle", str(bundle)], port)
    try:
        for tag in told:
            last = store.current("case_b", tag)
            info = server.raw("GET", f"/datastore/label/info?label=case_b&tag={tag}").json()
            assert info["version"] == last.version
            assert info["number"] == last.info["number"]
            sent = server.raw("GET", f"/datastore/label?label=case_b&tag={tag}")
            assert sent.body == last.mask.read_bytes()
    finally:
        stop(server)
    store.pick("case_b", "rater-0", store.latest("case_b", "rater-0"), "final", "reviewer")
    assert np.flatnonzero(Studies(studies).read("case_b").known).tolist() == [0]
