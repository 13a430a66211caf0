"""The benchmarks for a GPU run to their end without one, and say so where they cannot measure."""

import json
import sys
from pathlib import Path

import pytest
import torch

from fetaliqa.inference import Predictor, cuda_graphs

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def script(monkeypatch):
    """A benchmark by its name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return __import__


def run(main, capsys, *options):
    assert main(["--device", "cpu", "--small", "--json", *options]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_a_case_is_timed_in_each_way_with_counted_flops(script, capsys):
    result = run(script("gpu_case").main, capsys, "--frames", "4", "--repeats", "1")
    assert result["gflop_a_frame"]["encoder"] == pytest.approx(gflop_of_the_demo_encoder(), abs=0.001)
    for way in ("one batch after the other", "overlapped"):
        assert result["case"][way]["frames_with_outline"] == result["case"][way]["frames"] == 4
        assert result["case"][way]["seconds"] > result["case"][way]["of_which_reading"] > 0
    speed = result["encoder"]["kernel by kernel"]
    assert speed["share_of_peak"] == pytest.approx(speed["teraflops"] / result["peak_teraflops"], abs=0.001)
    assert result["agreement with fp32"]["dice_mean"] > 0.9
    assert set(result["milliseconds_a_frame"]) == {"preprocess", "encode", "decode", "postprocess"}


class NoRecorder:
    """As on a card where nothing can be recorded."""

    def __call__(self, compute, held):
        raise RuntimeError("operation not permitted when stream is capturing")


@pytest.mark.long
def test_a_case_says_which_batches_could_not_be_recorded_and_times_none_of_them(script, capsys, monkeypatch):
    use = Predictor._use

    def as_on_a_card(predictor, *arguments):
        use(predictor, *arguments)
        predictor.captured = cuda_graphs.CapturedForward(predictor._forward, predictor.batch_size)

    monkeypatch.setattr(cuda_graphs, "GraphRecorder", NoRecorder)
    monkeypatch.setattr(Predictor, "_use", as_on_a_card)
    assert (
        script("gpu_case").main(["--device", "cpu", "--small", "--frames", "4", "--repeats", "1", "--json"]) == 1
    )
    output = capsys.readouterr()
    report = json.loads(output.out.splitlines()[-1])
    reason = "operation not permitted when stream is capturing"
    assert report["recording_failed"] == {"8 frames": reason, "16 frames": reason}
    assert report["encoder"]["recorded"] == {"recording_failed": {"16 frames": reason}}
    assert report["case"]["overlapped and recorded"]["recording_failed"] == {"8 frames": reason}
    assert "recording_failed" not in report["case"]["overlapped"]
    assert f"gpu_case.py: no CUDA graph of batches of 8 frames: {reason}\n" in output.err


def gflop_of_the_demo_encoder():
    """By hand: patches, and of each block the matrix products of its weights and the two of attention."""
    tokens, width, layers, patch = 197, 96, 6, 16
    block = 2 * tokens * width * (3 * width + width + 2 * 4 * width) + 4 * tokens**2 * width
    return (layers * block + 2 * (tokens - 1) * 3 * patch**2 * width) / 1e9


@pytest.mark.long
def test_training_is_timed_with_counted_flops(script, capsys):
    result = run(script("training_throughput").main, capsys, "--steps", "2")
    assert result["computed"]["device"] == "cpu"
    assert result["steps"] == 2
    assert result["teraflops"] == pytest.approx(
        result["steps_per_second"] * 4 * result["gflop_a_frame"] / 1000, abs=0.001
    )
    assert result["milliseconds_a_step"] > result["floor_milliseconds_a_step"]
    assert result["longest"]
    # more than three forward passes of the encoder, of which the backward pass is two
    assert result["gflop_a_frame"] > 3 * gflop_of_the_demo_encoder()
    # of the two timed steps the second is of a new epoch
    assert result["steps_per_second_with_validation_and_checkpoints"] < result["steps_per_second"]
    # from kept features, the decoder alone
    with_features = run(script("training_throughput").main, capsys, "--steps", "2", "--recipe", "decoder")
    assert with_features["recipe"] == "decoder"
    assert 0 < with_features["gflop_a_frame"] < result["gflop_a_frame"] - 2 * gflop_of_the_demo_encoder()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
@pytest.mark.parametrize("name", ["gpu_case", "training_throughput"])
def test_without_a_gpu_they_end_with_a_sentence(name, script, capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", [f"{name}.py"])
    with pytest.raises(SystemExit) as ended:
        script(name).main([])
    assert ended.value.code == 2
    assert capsys.readouterr().err == (
        f"{name}.py: device 'cuda' cannot be used: this machine has 0 CUDA devices; use cpu or auto; "
        "--device cpu --small only tries the script\n"
    )
