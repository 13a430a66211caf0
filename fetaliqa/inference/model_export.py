"""Models written as files of other runtimes, after a check of their outputs against PyTorch's."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from fetaliqa.atomic import atomic_path
from fetaliqa.errors import BundleError, OptionError
from fetaliqa.extras import require_extra
from fetaliqa.inference.chunk_prediction import OPENVINO
from fetaliqa.inference.graph_predictor import GraphPredictor
from fetaliqa.inference.graph_runtimes import GRAPH_RUNTIMES, as_openvino
from fetaliqa.model.bundle import Bundle
from fetaliqa.model.onnx_bundle import onnx_bundle
from fetaliqa.model.onnx_file import OnnxModel

FORMATS = {"onnx": ".onnx", OPENVINO: ".xml"}  # suffix of the file by format
TEST_FRAMES = 8
TEST_SEED = 20261201
LARGEST_DIFFERENCE = 1e-3  # of a probability, or of an expected Dice
PIECES = (7, 14, 28, 56)  # grey pieces along a side of the test frames


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        files: their paths.
        difference: largest difference of an output from PyTorch's on test frames; None where PyTorch or the
            runtime is not installed, so that nothing was compared.
        runtime: that was compared; None without one.
    """

    files: tuple[Path, ...]
    difference: float | None
    runtime: str | None


def export_model(bundle: Bundle, target: Path, kind: str, weights: str | None = None) -> Exported:
    """Write a bundle as a file of another runtime.

    Args:
        bundle: an opened bundle.
        target: the file; must not exist.
        kind: one of ``FORMATS``.
        weights: foundation-model weights, where the bundle needs them; None for the imported ones.

    Raises:
        OptionError: when the file exists, or packages are missing.
        BundleError: when the bundle is damaged, or its outputs differ from PyTorch's; nothing is written.
    """
    if target.suffix.lower() != FORMATS[kind]:
        raise OptionError(
            f"{target}: a file of the format {kind} ends in {FORMATS[kind]}; give --out another name"
        )
    binary = target.with_suffix(".bin")
    for file in (target, binary)[: 2 if kind == OPENVINO else 1]:
        if file.exists():
            raise OptionError(f"{file} exists already; give another file with --out, or remove it")
    if kind == OPENVINO:
        require_extra("openvino", "this format", {OPENVINO: OPENVINO})
    model = onnx_bundle(bundle, weights)
    runtime = OPENVINO if kind == OPENVINO else next((one for one in GRAPH_RUNTIMES if find_spec(one)), None)
    difference = _difference(bundle, model, runtime, weights)
    assert isinstance(model.source, bytes)
    with atomic_path(target) as temporary:
        if kind == OPENVINO:
            import openvino

            openvino.save_model(as_openvino(model), temporary, compress_to_fp16=False)
            with _moved(temporary.with_suffix(".bin"), binary):
                pass
            return Exported((target, binary), difference, runtime)
        temporary.write_bytes(model.source)
    return Exported((target,), difference, runtime)


@contextlib.contextmanager
def _moved(source: Path, target: Path) -> Iterator[None]:
    try:
        with atomic_path(target) as temporary:
            shutil.copyfile(source, temporary)
        yield
    finally:
        with contextlib.suppress(OSError):
            os.unlink(source)


def _difference(bundle: Bundle, model: OnnxModel, runtime: str | None, weights: str | None) -> float | None:
    """Largest difference between the graph's and PyTorch's outputs on test frames; None without one of them.

    Raises:
        BundleError: when it is too large.
    """
    if runtime is None or find_spec("torch") is None:
        return None
    from fetaliqa.inference.predictor import Predictor

    frames = check_frames(model.card.architecture.vision.image_size)
    numbers = np.arange(len(frames))
    expected = next(Predictor(bundle, "cpu", weights=weights, precision="fp32").predict(frames, numbers))
    found = next(GraphPredictor(model, runtime, batch_size=len(frames)).predict(frames, numbers))
    if expected.probabilities is None:
        assert expected.scores is not None
        assert found.scores is not None
        difference = float(np.abs(found.scores - expected.scores).max())
    else:
        difference = float(np.abs(found.probabilities - np.asarray(expected.probabilities)).max())
        if expected.signals is not None and found.signals is not None:
            dice = np.abs(found.signals - np.asarray(expected.signals))[:, 0]
            difference = max(difference, float(dice.max()))
    if not difference <= LARGEST_DIFFERENCE:
        raise BundleError(
            f"{bundle.directory}: outputs of {runtime} differ by {difference:.2g} from PyTorch's; "
            "nothing is written, please report it"
        )
    return difference


def check_frames(side: int) -> np.ndarray:
    """Grey pieces of several sizes, speckled, and a bright disc with a rim in some: uint8 [8, side, side]."""
    random = np.random.default_rng(TEST_SEED)
    rows, columns = np.mgrid[:side, :side] / side
    frames = []
    for number in range(TEST_FRAMES):
        pieces = PIECES[number % len(PIECES)]
        grey = random.uniform(0, 160, (pieces, pieces))
        image = grey[(rows * pieces).astype(int), (columns * pieces).astype(int)]
        if number % 2:
            away = np.hypot(rows - 0.5, (columns - 0.5) * random.uniform(0.8, 1.2)) / random.uniform(0.2, 0.4)
            rim = 120 * np.exp(-(((away - 1) / 0.06) ** 2))
            image = np.where(away < 1, 70 + 0.2 * image, 0.5 * image) + rim
        frames.append(np.clip(image * random.gamma(8, 1 / 8, image.shape), 0, 255).astype(np.uint8))
    return np.stack(frames)
