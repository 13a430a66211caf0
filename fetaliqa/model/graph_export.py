"""Export of a loaded model as an ONNX graph, by PyTorch's exporter; needs torch, onnx and onnxscript."""

from __future__ import annotations

import io
import logging
import warnings
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, Any

import torch

from fetaliqa.extras import require_extra
from fetaliqa.model.bundle_card import BundleCard
from fetaliqa.model.encoder_model import EncoderModel
from fetaliqa.model.graph_model import GraphModel
from fetaliqa.model.onnx_file import INPUT, OPSET

if TYPE_CHECKING:
    import onnx_ir

EXAMPLE = (2, 200, 300)  # frames, rows, columns to trace with; the graph takes any


def exported(model: EncoderModel, card: BundleCard) -> bytes:
    """The model as an ONNX file, without metadata.

    Args:
        model: in eval mode; with merged adapters, if any.
        card: of its bundle.

    Raises:
        OptionError: when packages are missing.
    """
    graph = traced(model, card, optimize=True)
    return serialized(graph)


def traced(model: EncoderModel, card: BundleCard, *, optimize: bool) -> onnx_ir.Model:
    """The graph with weights, frames, height and width dynamic."""
    require_extra("onnx-export", "exporting a model", {"onnx": "onnx", "onnxscript": "onnxscript"})
    module = GraphModel(model, card).eval()
    frames, height, width = (torch.export.Dim(name) for name in ("frames", "height", "width"))
    quiet = logging.getLogger("torch.onnx")
    level = quiet.level
    quiet.setLevel(logging.ERROR)
    try:
        # the exporter reports its steps on stdout, and deprecations of its own
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                (torch.zeros(EXAMPLE, dtype=torch.uint8),),
                dynamo=True,
                verbose=False,
                input_names=[INPUT],
                output_names=list(module.output_names),
                opset_version=OPSET,
                optimize=optimize,
                dynamic_shapes=({0: frames, 1: height, 2: width},),
            )
    finally:
        quiet.setLevel(level)
    assert program is not None
    return program.model


def serialized(model: onnx_ir.Model) -> bytes:
    """A graph as bytes, without what the exporter notes of its source: file names and lines."""
    import onnx_ir

    proto: Any = onnx_ir.serde.serialize_model(model)
    del proto.metadata_props[:], proto.graph.metadata_props[:]
    for part in (
        *proto.graph.node,
        *proto.graph.value_info,
        *proto.graph.input,
        *proto.graph.output,
        *proto.graph.initializer,
    ):
        del part.metadata_props[:]
        part.doc_string = ""
    return proto.SerializeToString()
