"""Write the graph of the compact architecture without weights: ``fetaliqa/model/graphs/compact.onnx``.

``fetaliqa.model.onnx_bundle`` adds the weights of a bundle, without torch. Run it again when the code of the
compact model changes: ``tests/model/test_onnx_export.py`` fails then.

    python tools/compact_graph.py
"""

from __future__ import annotations

from pathlib import Path

import fetaliqa.model
from fetaliqa.model.bundle import Bundle
from fetaliqa.model.graph_export import serialized, traced
from fetaliqa.model.onnx_bundle import MODEL_PREFIX
from fetaliqa.registry.model_store import resolve_bundle

TARGET = Path(fetaliqa.model.__file__).parent / "graphs" / "compact.onnx"
LARGEST = 4096  # elements of a constant that is computed ahead


def compact_graph() -> bytes:
    """The graph; its weights are named as in a bundle's files, and have no values."""
    import onnxscript.optimizer

    bundle = Bundle.open(resolve_bundle("abdomen"))
    model = traced(bundle.load_model(merge=False), bundle.card, optimize=False)
    graph = model.graph
    weights = [value for name, value in graph.initializers.items() if name.startswith(MODEL_PREFIX)]
    for value in weights:  # as inputs, so that nothing is computed from their values
        del graph.initializers[value.name]
        value.const_value = None
        value.name = value.name.removeprefix(MODEL_PREFIX)
        graph.inputs.append(value)
    onnxscript.optimizer.optimize_ir(model, input_size_limit=LARGEST, output_size_limit=LARGEST)
    del graph.inputs[1:]
    return serialized(model)


if __name__ == "__main__":
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_bytes(compact_graph())
    print(f"{TARGET}: {TARGET.stat().st_size:,} bytes")  # noqa: T201
