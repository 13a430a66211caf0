"""Speed and agreement of the encoder in OpenVINO and PyTorch on a CPU.

The encoder has FetalCLIP's full size and random weights; it reads frames of a synthetic phantom. For float32 and
bfloat16 by either, one after another in turn: the least seconds of several, the cosine of each map that the
decoder reads to PyTorch's in float32, and how far it is apart at most, in parts of the map's largest value.
PyTorch's bfloat16 is what the package uses (``fetaliqa/inference/precision.py``). Of OpenVINO also which kernels
took the products, and the cosines of the first block's attention and perceptron alone: where a machine's answers
are wrong, they tell which part it is.

OpenVINO is not a dependency of this project: ``pip install openvino``.

    python benchmarks/openvino_encoder.py [--frames 8] [--repeats 3] [--threads 2] [--json]
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

HINTS = {"fp32": "f32", "bf16": "bf16"}  # our names of number types, and OpenVINO's
HEAVY = ("FullyConnected", "MatMul", "Subgraph")  # the layers that take the time; a subgraph is an attention, ...

Encoder = Callable[[torch.Tensor], list[np.ndarray]]


class Maps(nn.Module):
    """A model's encoder up to the last map that the decoder reads: tuples of float32 [N, G * G, width]."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        output = self.model.visual.forward_intermediates(
            images,
            indices=self.model.indices,
            stop_early=True,
            intermediates_only=True,
            output_fmt="NLC",
        )
        return tuple(output["image_intermediates"])


class Only(nn.Module):
    """A norm and what follows it, whose answers are one tensor."""

    def __init__(self, *parts: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList(parts)

    def forward(self, tokens: torch.Tensor) -> tuple[torch.Tensor]:
        for part in self.parts:
            tokens = part(tokens)
        return (tokens,)


def by_torch(module: nn.Module) -> Encoder:
    """A module as it is."""

    def encode(values: torch.Tensor) -> list[np.ndarray]:
        with torch.inference_mode():
            return [features.float().numpy() for features in module(values)]

    return encode


def converted(openvino: Any, module: nn.Module, values: torch.Tensor) -> Any:
    """A module as a graph for inputs of the shape of ``values``; only the first of them is gone through."""
    with torch.no_grad():
        graph = openvino.convert_model(module.eval(), example_input=values[:1])
    graph.reshape(list(values.shape))
    return graph


def by_openvino(openvino: Any, graph: Any, hint: str) -> tuple[Encoder, Any]:
    """A graph for as many threads as PyTorch has, and what was compiled."""
    settings = {
        "INFERENCE_PRECISION_HINT": hint,
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "NUM_STREAMS": 1,
    }
    compiled = openvino.Core().compile_model(graph, "CPU", settings)

    def encode(values: torch.Tensor) -> list[np.ndarray]:
        answers = compiled([values.numpy()])
        return [answers[number] for number in range(len(compiled.outputs))]

    return encode, compiled


def kernels(compiled: Any) -> dict[str, int]:
    """How many layers each kernel takes, of those that take the time."""
    counts: Counter[str] = Counter()
    for node in compiled.get_runtime_model().get_ops():
        about = node.get_rt_info()
        layer = about["layerType"].astype(str)
        if layer in HEAVY:
            counts[f"{layer} {about['primitiveType'].astype(str)}"] += 1
    return dict(counts)


def agreement(answers: list[np.ndarray], expected: list[np.ndarray]) -> dict[str, list[float]]:
    """Cosine, and the largest difference in parts of the largest value, of each array."""
    cosines, apart = [], []
    for one, other in zip(answers, expected):
        a, b = one.ravel().astype(np.float64), other.ravel().astype(np.float64)
        cosines.append(round(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)), 6))
        apart.append(round(float(np.abs(a - b).max() / np.abs(b).max()), 4))
    return {"cosine": cosines, "apart_at_most": apart}


def phantom_images(count: int) -> torch.Tensor:
    """Frames of a phantom as the encoder reads them, float32 [N, 3, 224, 224]."""
    from straightforward import SIZE, case_frames

    from fetaliqa.measure.square_grid import SquareGrid
    from fetaliqa.model import normalise

    frames = case_frames(140)[0][:: 140 // count][:count]
    return normalise(SquareGrid(frames.shape[1], frames.shape[2], SIZE).to_square(frames)).contiguous()


def parts_alone(openvino: Any, model: Any, images: torch.Tensor) -> dict[str, Any]:
    """How OpenVINO answers in bfloat16 for the two parts of the first block, from the tokens that they get."""
    block = model.visual.transformer.resblocks[0]
    with torch.inference_mode():
        tokens = model.visual._embeds(images).clone()
    parts = {"attention": Only(block.ln_1, block.attn), "perceptron": Only(block.ln_2, block.mlp)}
    agreements = {}
    for name, part in parts.items():
        encode, _ = by_openvino(openvino, converted(openvino, part, tokens), HINTS["bf16"])
        agreements[name] = agreement(encode(tokens), by_torch(part)(tokens))
    return agreements


def least_seconds(encoders: dict[str, Encoder], images: torch.Tensor, repeats: int) -> dict[str, float]:
    """Of every encoder in turn."""
    seconds = dict.fromkeys(encoders, np.inf)
    for _ in range(repeats):
        for name, encode in encoders.items():
            started = time.perf_counter()
            encode(images)
            seconds[name] = min(seconds[name], time.perf_counter() - started)
    return seconds


def measure(openvino: Any, count: int, repeats: int) -> dict[str, Any]:
    """Everything, as one JSON object."""
    from straightforward import full_size_model
    from timing import machine

    from fetaliqa.inference.precision import set_precision

    images, model = phantom_images(count), full_size_model()
    short = copy.deepcopy(model)
    set_precision(short, "bf16", torch.device("cpu"))
    encoders = {"pytorch fp32": by_torch(Maps(model)), "pytorch bf16": by_torch(Maps(short))}
    used, graph = {}, converted(openvino, Maps(model), images)
    for precision, hint in HINTS.items():
        name = f"openvino {precision}"
        encoders[name], compiled = by_openvino(openvino, graph, hint)
        used[name] = {"kernels": kernels(compiled)}
    expected = encoders["pytorch fp32"](images)
    close = {name: agreement(encode(images), expected) for name, encode in list(encoders.items())[1:]}
    seconds = least_seconds(encoders, images, repeats)
    return {
        "machine": {**machine(), "openvino": openvino.__version__},
        "frames": count,
        "encoders": {
            name: {
                "frames_per_second": round(count / seconds[name], 2),
                **close.get(name, {}),
                **used.get(name, {}),
            }
            for name in encoders
        },
        "openvino bf16, first block": parts_alone(openvino, model, images),
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=8, choices=range(1, 33), metavar="1..32")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--json", action="store_true", help="on one line")
    args = parser.parse_args()
    try:
        import openvino
    except ImportError:
        print("OpenVINO is not installed, and this benchmark needs it: pip install openvino", file=sys.stderr)
        return 2
    torch.set_num_threads(args.threads)
    print(json.dumps(measure(openvino, args.frames, args.repeats), indent=None if args.json else 1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
