"""Training, keeping and reading of the quality measures that learn from labelled frames.

What is trained is kept as tensors in a folder and read again from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.nn.functional import mse_loss

from fetaliqa.atomic import atomic_path
from fetaliqa.errors import OptionError
from fetaliqa.lab.image_quality.dct_regressor import FeatureRegressor, train_regressor
from fetaliqa.lab.image_quality.frame_sample import FrameSample
from fetaliqa.lab.image_quality.measure_list import MEASURES, FrameFunction
from fetaliqa.lab.image_quality.network_training import Batches, Loss, fit_network
from fetaliqa.lab.image_quality.patch_network import PatchNetwork, patch_batches, patch_score
from fetaliqa.lab.image_quality.structure_network import (
    StructureBatches,
    StructureNetwork,
    new_structure_network,
    plane_structures,
    structure_frames,
    structure_loss,
)
from fetaliqa.lab.image_quality.token_networks import (
    FrameBatches,
    QualityTokenNetwork,
    WeightedPatchNetwork,
    frame_score,
    pretrained_encoder,
)
from fetaliqa.lab.phantom.phantom_seeds import STRUCTURES
from fetaliqa.training.memory_watch import Report


@dataclass(frozen=True)
class Effort:
    """How long a network is trained.

    Attributes:
        steps: optimiser steps; 3 at least.
        batch: patches or frames in each.
        learning_rate: at the peak.
        phantoms: cases whose structures are learnt; for ``fuiqa`` only.
    """

    steps: int
    batch: int
    learning_rate: float
    phantoms: int = 0


EFFORTS = {
    "iqa_cnn": Effort(1200, 128, 1e-3),
    "triq": Effort(240, 8, 5e-4),
    "maniqa": Effort(240, 8, 5e-4),
    "fuiqa": Effort(240, 8, 2e-3, phantoms=60),
}


def train_measure(
    name: str,
    sample: Callable[[], FrameSample],
    file: Path,
    report: Report,
    *,
    seed: int = 0,
    effort: Effort | None = None,
    train: bool = True,
) -> FrameFunction:
    """A trained measure, from ``file`` if it is there.

    Args:
        name: a trained measure of ``MEASURES``.
        sample: gives the frames to learn from; called only when something is trained from them.
        file: where the tensors are kept.
        report: called with stage, done, in all.
        seed: of weights and batches.
        effort: None for that of ``EFFORTS``.
        train: False to only read ``file``.

    Returns:
        What scores a frame.

    Raises:
        OptionError: for another measure, one that cannot run here, or a missing file that may not be trained.
        TrainingError: when the loss is not finite.
    """
    measure = MEASURES.get(name)
    if measure is None or not measure.trained:
        raise OptionError(f"{name!r} is no quality measure that is trained; known: {', '.join(trained_names())}")
    if (reason := measure.why_not()) is not None:
        raise OptionError(f"{measure.label}: {reason}")
    if not file.is_file():
        if not train:
            raise OptionError(f"{measure.label}: was not trained yet; run the same command without --only-done")
        file.parent.mkdir(parents=True, exist_ok=True)
        tensors = _trained(name, sample, report, seed, effort or EFFORTS.get(name))
        with atomic_path(file) as temporary:
            save_file(tensors, temporary)
    return _read(name, file)


def trained_names() -> list[str]:
    """Names of the measures that are trained."""
    return [name for name, measure in MEASURES.items() if measure.trained]


def _trained(
    name: str, sample: Callable[[], FrameSample], report: Report, seed: int, effort: Effort | None
) -> dict[str, torch.Tensor]:
    if name == "bliinds2":
        regressor = train_regressor(sample(), report)
        return {one.name: torch.from_numpy(np.ascontiguousarray(getattr(regressor, one.name))) for one in _FIELDS}
    assert effort is not None
    torch.manual_seed(seed)
    label = MEASURES[name].label
    batches: Batches
    loss: Loss = mse_loss
    network = _new(name)
    if name == "fuiqa":
        cases = range(STRUCTURES, STRUCTURES + effort.phantoms)
        drawn = structure_frames(cases, lambda done, total: report(f"{label}: phantom cases", done, total))
        batches, loss = StructureBatches(drawn, effort.batch, seed), structure_loss
    elif name == "iqa_cnn":
        batches = patch_batches(sample(), effort.batch, seed)
    else:
        batches = FrameBatches(sample(), effort.batch, seed)
    fit_network(
        network,
        batches,
        loss,
        effort.steps,
        effort.learning_rate,
        lambda done, total: report(f"train {label}", done, total),
    )
    return {key: tensor.contiguous() for key, tensor in network.state_dict().items()}


def read_structure_network(file: Path) -> StructureNetwork:
    """The trained network of ``fuiqa``, in eval mode."""
    network = StructureNetwork(None)
    network.load_state_dict(load_file(file))
    return network.eval()


_FIELDS = fields(FeatureRegressor)


def _new(name: str) -> nn.Module:
    """An untrained network; its encoder, if any, has ImageNet's weights."""
    if name == "iqa_cnn":
        return PatchNetwork()
    if name == "fuiqa":
        return new_structure_network()
    network = QualityTokenNetwork if name == "triq" else WeightedPatchNetwork
    return network(pretrained_encoder())


def _read(name: str, file: Path) -> FrameFunction:
    tensors = load_file(file)
    if name == "bliinds2":
        return FeatureRegressor(**{one.name: tensors[one.name].numpy() for one in _FIELDS}).score
    if name == "fuiqa":
        found = read_structure_network(file)
        return lambda frame, inside: plane_structures(found, frame, inside).score
    network = _new(name)
    network.load_state_dict(tensors)
    network.eval()
    return partial(patch_score if name == "iqa_cnn" else frame_score, network)  # type: ignore[arg-type]
