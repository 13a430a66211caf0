"""Update of the out-of-distribution limit after fine-tuning a compact model."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from fetaliqa.model import CompactSeg
from fetaliqa.model.preprocess import model_inputs
from fetaliqa.training.training_frames import FrameSet

WITHIN = 0.95  # share of the new training frames whose distance is below the limit afterwards
MOST = 500  # most frames evaluated
CHUNK = 16  # frames


@torch.no_grad()
def widen_reference(model: nn.Module, frames: FrameSet) -> None:
    """Raise the distance limit so that nearly all of these frames lie below it.

    Mean and covariance are kept, since the earlier training frames are not available; the limit only grows. Does
    nothing for a model without a reference.

    Args:
        model: after training, in eval mode.
        frames: its training frames.
    """
    if not isinstance(model, CompactSeg) or not float(model.decoder.reference.limit) > 0:
        return
    device = next(model.parameters()).device
    chosen = np.linspace(0, len(frames) - 1, min(len(frames), MOST)).round().astype(int)
    distances = []
    for start in range(0, len(chosen), CHUNK):
        images = torch.from_numpy(np.array(frames.images[chosen[start : start + CHUNK]])).to(device)
        distances.append(model.decoder.reference(model.reference_features(model_inputs(model, images))).cpu())
    reached = float(torch.quantile(torch.cat(distances), WITHIN))
    if reached > 1:
        model.decoder.reference.limit.mul_(reached)
