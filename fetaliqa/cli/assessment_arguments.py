"""Arguments that say what sweeps are assessed with, for the commands that assess them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from fetaliqa.cli.argument_types import device
from fetaliqa.model.user_folders import default_model

if TYPE_CHECKING:
    from fetaliqa.inference.assessment_options import AssessOptions
    from fetaliqa.registry.assessment_setup import AssessmentSetup


def add_assessment_arguments(parser: argparse.ArgumentParser) -> None:
    """Model, weights, student, device and cache."""
    parser.add_argument(
        "--model",
        default=default_model(),
        help=f"bundle folder, name, name@version, or ONNX file (default: {default_model()})",
    )
    parser.add_argument(
        "--runtime",
        default="auto",
        choices=("auto", "torch", "onnxruntime", "openvino"),
        help="library that computes the model (default: auto: torch, except for an ONNX file or without torch)",
    )
    parser.add_argument("--weights", help="foundation-model weights (default: the imported ones)")
    parser.add_argument(
        "--student",
        default="auto",
        metavar="DIR",
        help="folder of a screening model (a student of the model), or none (default: the bundle's own, if any)",
    )
    parser.add_argument(
        "--sweeps", type=int, metavar="N", help="number of equal sweeps in the stack (default: detected)"
    )
    parser.add_argument("--device", type=device, default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")
    parser.add_argument("--no-cache", action="store_true", help="compute again what is in the cache")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")


def setup_from(
    args: argparse.Namespace,
    options: AssessOptions,
    *,
    classifier: str | None = None,
    precision: str = "auto",
    cache: bool = True,
) -> AssessmentSetup:
    """What the arguments of :func:`add_assessment_arguments` say, resolved; torch is not loaded.

    Args:
        args: parsed.
        options: of the assessments.
        classifier: a classification bundle, or None.
        precision: of the encoder.
        cache: whether the user's cache is used, unless the arguments turn it off.

    Raises:
        NotFoundError, BundleError: when there is no such bundle.
        OptionError: when the runtime is not installed, or cannot compute the model.
    """
    from fetaliqa.registry.assessment_setup import AssessmentSetup, default_cache_directory

    return AssessmentSetup.resolve(
        args.model,
        classifier=classifier,
        student=args.student,
        runtime=args.runtime,
        options=options,
        device=args.device,
        precision=precision,
        weights=args.weights,
        cache_dir=default_cache_directory() if cache and not args.no_cache else None,
    )
