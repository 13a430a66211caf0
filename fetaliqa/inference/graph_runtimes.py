"""ONNX Runtime and OpenVINO: a model's graph compiled for the CPU of this machine."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from fetaliqa.errors import BundleError, OptionError
from fetaliqa.extras import require_extra
from fetaliqa.inference.chunk_prediction import ONNXRUNTIME, OPENVINO, TORCH
from fetaliqa.model.onnx_file import CONTRACT, INPUT, OnnxModel

AUTO = "auto"
RUNTIMES = (AUTO, TORCH, ONNXRUNTIME, OPENVINO)
GRAPH_RUNTIMES = (ONNXRUNTIME, OPENVINO)  # the first one is preferred
ERRORS_ONLY = 3  # ONNX Runtime's level of messages
MAX_THREADS = 1024

Compiled = Callable[[np.ndarray], "dict[str, np.ndarray]"]
"""From squares uint8 [N, S, S] to the graph's outputs by name."""

_threads: int | None = None


def set_graph_threads(count: int) -> None:
    """Let graphs that are compiled after this call compute with ``count`` threads."""
    global _threads
    _threads = count


def graph_threads() -> int:
    """As set; else ``$OMP_NUM_THREADS``, which PyTorch reads too; else all cores that this process may use."""
    if _threads is not None:
        return _threads
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdecimal() and 1 <= int(wanted) <= MAX_THREADS:
        return int(wanted)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def chosen_runtime(name: str, *, onnx_file: bool) -> str:
    """Resolve a runtime option.

    Args:
        name: one of ``RUNTIMES``; ``auto`` is torch where it is installed and the model is a bundle, else the
            first installed of the others.
        onnx_file: whether the model is an ONNX file.

    Raises:
        OptionError: for another name, or when it is not installed, or cannot compute the model.
    """
    if name not in RUNTIMES:
        raise OptionError(f"runtime is {name!r}; it must be one of {', '.join(RUNTIMES)}")
    if name == TORCH and onnx_file:
        raise OptionError(f"torch does not compute ONNX files; use --runtime {' or '.join(GRAPH_RUNTIMES)}")
    if name == AUTO:
        if not onnx_file and find_spec("torch") is not None:
            return TORCH
        found = next((one for one in GRAPH_RUNTIMES if find_spec(one) is not None), None)
        if found is None:
            raise OptionError(
                "no library to compute the model is installed; run `pip install 'fetaliqa[onnx]'`, which is small "
                "and scores, or `pip install 'fetaliqa[torch]'`"
            )
        return found
    if name == TORCH:
        require_extra("torch", "this runtime", {"torch": "torch"})
    else:
        require_extra("onnx" if name == ONNXRUNTIME else name, "this runtime", {name: name})
    return name


def check_computes(runtime: str, device: str) -> None:
    """Check that a runtime computes on a device.

    Raises:
        OptionError: when it does not: the runtimes of graphs are used on the CPU only.
    """
    if runtime != TORCH and device not in (AUTO, "cpu"):
        raise OptionError(f"device is {device!r}, and {runtime} computes on the CPU; use --runtime torch")


def compiled(model: OnnxModel, runtime: str, precision: str) -> Compiled:
    """A model compiled by a runtime for squares of its grid, any number at a time.

    Args:
        model: to compile.
        runtime: one of ``GRAPH_RUNTIMES``.
        precision: ``fp32``, or for OpenVINO ``bf16``.

    Raises:
        BundleError: when the runtime refuses the graph.
    """
    compile_ = _by_onnxruntime if runtime == ONNXRUNTIME else _by_openvino
    try:
        return compile_(model, precision)
    except Exception as problem:  # noqa: BLE001  the runtimes' errors have no other base class
        first = (str(problem).strip().splitlines() or [type(problem).__name__])[0][:200]
        raise BundleError(f"{model.name}: {runtime} cannot compile this graph ({first})") from None


def _by_onnxruntime(model: OnnxModel, precision: str) -> Compiled:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = graph_threads()
    options.log_severity_level = ERRORS_ONLY
    side = model.card.architecture.vision.image_size
    for name in ("height", "width"):  # the weights of the resampling become constants
        options.add_free_dimension_override_by_name(name, side)
    source = model.source if isinstance(model.source, bytes) else str(model.source)
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda squares: dict(zip(names, session.run(names, {INPUT: squares})))


def as_openvino(model: OnnxModel) -> Any:
    """A model as OpenVINO's ``Model``, with the card under ``fetaliqa`` in its runtime information."""
    import openvino

    graph = openvino.Core().read_model(model.source if isinstance(model.source, bytes) else str(model.source))
    graph.set_rt_info(json.dumps(model.card.to_json()), ["fetaliqa", "card"])
    graph.set_rt_info(str(CONTRACT), ["fetaliqa", "contract"])
    return graph


def _by_openvino(model: OnnxModel, precision: str) -> Compiled:
    import openvino

    graph = as_openvino(model)
    side = model.card.architecture.vision.image_size
    graph.reshape([-1, side, side])
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        "INFERENCE_NUM_THREADS": graph_threads(),
        "NUM_STREAMS": 1,
    }
    program = openvino.Core().compile_model(graph, "CPU", settings)
    names = [output.get_any_name() for output in program.outputs]

    def compute(squares: np.ndarray) -> dict[str, np.ndarray]:
        answers = program([squares])
        return {name: np.array(answers[number]) for number, name in enumerate(names)}

    return compute
