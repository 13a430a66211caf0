"""A device whose memory other programs fill: the server answers in smaller batches, or says when to try again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from app_harness import Server, free_port, start, stop, write_case

from fetaliqa.registry import AssessmentService

pytestmark = pytest.mark.slow

# the product's own server; passes over more frames than the file says run out of memory as PyTorch has it
SERVE = """
import sys
from pathlib import Path

import torch

from fetaliqa.inference.predictor import Predictor
from monailabel_app.serve import main

limit, whole = Path(sys.argv[1]), Predictor._forward

def forward(self, squares):
    if len(squares) > int(limit.read_text()):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
    return whole(self, squares)

Predictor._forward = forward
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def full(tmp_path: Path, bundle: Path) -> Iterator[tuple[Server, Path]]:
    """A server of one case, and the file with the number of frames that fit."""
    write_case(tmp_path / "studies" / "case_a.mha", 12, seed=1)
    limit, port = tmp_path / "limit", free_port()
    limit.write_text("0")
    command = ["-c", SERVE, str(limit), "--studies", str(tmp_path / "studies"), "--port", str(port)]
    conf = ["--conf", "bundle", str(bundle), "--conf", "cache_gb", "0"]
    running = start(tmp_path, [*command, *conf], port)
    yield running, limit
    stop(running)
    assert "Traceback" not in (tmp_path / "server.log").read_text()


def test_a_request_that_does_not_fit_is_told_when_to_come_back_and_then_answered(
    full: tuple[Server, Path], bundle: Path
) -> None:
    crowded, limit = full
    refused = crowded.infer("image=case_a&output=json")
    assert refused.status == 503
    assert refused.headers["retry-after"] == "30"
    assert "device cpu is full" in refused.detail
    assert "try again in 30 s" in refused.detail
    limit.write_text("5")
    answered = crowded.infer("image=case_a&output=json")
    assert answered.status == 200
    expected = AssessmentService(bundle, device="cpu").assess(crowded.studies / "case_a.mha").assessment
    found = answered.json()["fetaliqa"]
    assert found["ranking"] == expected["ranking"]
    for one, other in zip(found["frames"], expected["frames"]):
        assert one["positive"] == other["positive"]
        assert one["quality"] == pytest.approx(other["quality"], abs=1e-3)
