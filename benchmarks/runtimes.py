"""PyTorch, ONNX Runtime and OpenVINO on the CPU: frames/s of the compact model and of FetalCLIP's encoder.

The runtimes take turns in rounds, so that other work on the machine slows all of them; a ratio is the median over
rounds of a runtime's speed over PyTorch's in the same round. The compact model is measured with what an assessment
does beside it: native frames are resampled and duplicates looked for. FetalCLIP's encoder has random weights.

    python benchmarks/runtimes.py [--threads 1 2] [--rounds 5] [--frames 48] [--encoder] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

ENCODER_FRAMES = 4
SAMPLES = Path(__file__).parents[1] / "sample-data" / "images" / "stacked_fetal_ultrasound"

Work = Callable[[], Any]


def in_turn(works: dict[str, Work], frames: int, rounds: int) -> dict[str, dict[str, float]]:
    """Best frames/s, and median ratio to the first of them."""
    rates: dict[str, list[float]] = {name: [] for name in works}
    for work in works.values():
        work()
    for _ in range(rounds):
        for name, work in works.items():
            started = time.perf_counter()
            work()
            rates[name].append(frames / (time.perf_counter() - started))
    first = np.array(next(iter(rates.values())))
    return {
        name: {
            "frames_per_second": round(max(values), 2),
            "ratio": round(float(np.median(np.array(values) / first)), 3),
        }
        for name, values in rates.items()
    }


def compact(threads: int, frames: int, rounds: int) -> dict[str, dict[str, float]]:
    """The model ``abdomen`` on native frames."""
    from fetaliqa.inference.graph_predictor import GraphPredictor
    from fetaliqa.inference.graph_runtimes import set_graph_threads
    from fetaliqa.inference.predictor import Predictor
    from fetaliqa.model import Bundle
    from fetaliqa.model.onnx_bundle import onnx_bundle
    from fetaliqa.registry.model_store import resolve_bundle

    torch.set_num_threads(threads)
    set_graph_threads(threads)
    stack = sample_frames(frames)
    bundle = Bundle.open(resolve_bundle("abdomen"))
    graph = onnx_bundle(bundle)
    predictors = {"torch": Predictor(bundle, "cpu")} | {
        name: GraphPredictor(graph, name) for name in ("onnxruntime", "openvino")
    }
    numbers = np.arange(len(stack))
    works = {name: lambda one=one: list(one.predict(stack, numbers)) for name, one in predictors.items()}
    return in_turn(works, frames, rounds)


def sample_frames(count: int) -> np.ndarray:
    """Frames of a sample sweep, every pixel doubled: uint8 [N, 562, 744], as large as those of ACOUSLIC-AI."""
    from fetaliqa.sweep import read_sweep

    frames = read_sweep(sorted(SAMPLES.glob("*.mha"))[-1]).frames
    frames = frames[np.linspace(0, len(frames) - 1, count).astype(int)]
    return np.ascontiguousarray(frames.repeat(2, axis=1).repeat(2, axis=2))


def encoder(threads: int, rounds: int, folder: Path) -> dict[str, dict[str, float]]:
    """FetalCLIP's encoder up to the maps that the decoder reads, random weights.

    In bfloat16 only where the processor has instructions for it: else a frame takes minutes.
    """
    import copy

    import onnxruntime
    import openvino
    from openvino_encoder import HINTS, Maps, by_openvino, by_torch, phantom_images
    from straightforward import full_size_model

    from fetaliqa.inference.precision import cpu_has_bf16, set_precision

    torch.set_num_threads(threads)
    images, model = phantom_images(ENCODER_FRAMES), full_size_model()
    file = folder / "encoder.onnx"
    if not file.exists():
        batch = torch.export.Dim("frames")
        torch.onnx.export(
            Maps(model).eval(),
            (images[:2],),
            file,
            dynamo=True,
            input_names=["images"],
            opset_version=18,
            dynamic_shapes=({0: batch},),
            verbose=False,
        )
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    hints = HINTS if cpu_has_bf16() else {"fp32": HINTS["fp32"]}
    encoders = {"torch fp32": by_torch(Maps(model))}
    if "bf16" in hints:
        short = copy.deepcopy(model)
        set_precision(short, "bf16", torch.device("cpu"))
        encoders["torch bf16"] = by_torch(Maps(short))
    encoders["onnxruntime fp32"] = lambda values: session.run(None, {"images": values.numpy()})
    for name, hint in hints.items():
        graph = openvino.Core().read_model(str(file))
        graph.reshape(list(images.shape))
        encoders[f"openvino {name}"] = by_openvino(openvino, graph, hint)[0]
    works = {name: lambda one=one: one(images) for name, one in encoders.items()}
    return in_turn(works, ENCODER_FRAMES, rounds)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--frames", type=int, default=32)
    parser.add_argument("--encoder", action="store_true", help="FetalCLIP's encoder too; takes 6 GB of memory")
    parser.add_argument("--json", action="store_true", help="on one line")
    args = parser.parse_args()
    try:
        import onnxruntime
        import openvino
    except ImportError as problem:
        print(f"{problem.name} is not installed: pip install fetaliqa[onnx,openvino]", file=sys.stderr)
        return 2
    from timing import machine

    report: dict[str, Any] = {
        "machine": {**machine(), "onnxruntime": onnxruntime.__version__, "openvino": openvino.__version__},
        "compact": {threads: compact(threads, args.frames, args.rounds) for threads in args.threads},
    }
    if args.encoder:
        with tempfile.TemporaryDirectory() as folder:
            report["encoder"] = {
                threads: encoder(threads, min(args.rounds, 3), Path(folder)) for threads in args.threads
            }
    print(json.dumps(report, indent=None if args.json else 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
