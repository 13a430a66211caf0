"""What sweeps are assessed with: bundle, student, options and device, resolved once and passed on as one value.

The command line, the server and batch scoring make one and give it to ``AssessmentService``; it can be sent to
other processes. Nothing here imports torch, so that arguments are checked before it is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from fetaliqa.inference.assessment_cache import DEFAULT_BYTES
from fetaliqa.inference.assessment_options import AssessOptions
from fetaliqa.inference.chunk_prediction import TORCH
from fetaliqa.inference.graph_runtimes import chosen_runtime
from fetaliqa.model.bundle_names import AUTO, NONE
from fetaliqa.model.onnx_file import is_onnx_path
from fetaliqa.registry.model_store import resolve_bundle, resolve_model


def default_cache_directory() -> Path:
    """The user's cache folder for assessments."""
    return Path(platformdirs.user_cache_dir("fetaliqa")) / "assessments"


@dataclass(frozen=True)
class AssessmentSetup:
    """What sweeps are assessed with; see :meth:`resolve`.

    Attributes:
        bundle: absolute folder of the bundle, or path of an ONNX file. (A name means another folder once a version
            is published.)
        classifier: absolute folder of a classification bundle whose probability joins the quality score, or None.
        student: ``auto`` for the bundle's own, if it has one; ``none``; or the absolute folder of one.
        options: of an assessment that is asked for without any.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        precision: of the encoder, ``auto``, ``fp32`` or ``bf16``.
        weights: foundation-model weights; None uses the user's.
        cache_dir: folder of cached assessments; None turns caching off.
        cache_bytes: bound on that folder's size.
        runtime: ``torch``, ``onnxruntime`` or ``openvino``.
    """

    bundle: Path
    classifier: Path | None = None
    student: str = AUTO
    options: AssessOptions = field(default_factory=AssessOptions)
    device: str = "auto"
    precision: str = "auto"
    weights: str | None = None
    cache_dir: Path | None = None
    cache_bytes: int = DEFAULT_BYTES
    runtime: str = TORCH

    @classmethod
    def resolve(
        cls,
        model: str | Path,
        *,
        classifier: str | Path | None = None,
        student: str | Path = AUTO,
        runtime: str = AUTO,
        **settings: Any,
    ) -> AssessmentSetup:
        """Resolve the names that users give.

        Args:
            model: bundle folder, name, ``name@version`` or ``demo``; or an ONNX file.
            classifier: the same, of a classification bundle, or None.
            student: ``auto``, ``none`` or a folder.
            runtime: see :func:`chosen_runtime`.
            settings: the other attributes.

        Raises:
            NotFoundError: when there is no such bundle.
            BundleError: when a name has no current version.
            OptionError: when the runtime is not installed, or cannot compute the model.
        """
        path = resolve_model(model).absolute()
        return cls(
            bundle=path,
            runtime=chosen_runtime(runtime, onnx_file=is_onnx_path(path)),
            classifier=None if classifier is None else resolve_bundle(classifier).absolute(),
            student=str(student) if student in (AUTO, NONE) else str(Path(student).expanduser().absolute()),
            **settings,
        )
