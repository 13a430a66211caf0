"""Choice of the probability threshold for positive frames on validation data."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from fetaliqa.model import Threshold
from fetaliqa.model.preprocess import model_inputs
from fetaliqa.training.training_frames import FrameSet

# the precision of F1 on two dozen cases; of thresholds within it of the best, the one nearest to 0.5 is chosen
F1_MARGIN = 0.01
THRESHOLDS = tuple(round(0.05 * step, 2) for step in range(5, 20))  # 0.25 to 0.95
CHUNK = 16  # frames


@torch.no_grad()
def choose_threshold(
    model: nn.Module, frames: FrameSet, *, device: str | torch.device = "cpu"
) -> tuple[float, dict[str, float]]:
    """The probability threshold for the best frame F1 on validation frames.

    Sampled negatives are weighted by the number of frames they represent (``frames.weights``).

    Args:
        model: in eval mode; logits [N, 1, S, S] or [N]. Moved to the device, and left there.
        frames: validation frames.
        device: where to compute, in the model's own precision.

    Returns:
        The threshold, and F1 at each threshold by name. Not for reporting: final figures come from
        whole test cases.
    """
    device = torch.device(device)
    model.to(device)
    counts = []
    for start in range(0, len(frames), CHUNK):
        images = torch.from_numpy(np.array(frames.images[start : start + CHUNK])).to(device)
        probabilities = torch.sigmoid(model(model_inputs(model, images)).float())
        if probabilities.ndim == 4:
            passed = [(probabilities[:, 0] > t).sum(dim=(1, 2)) for t in THRESHOLDS]
        else:
            passed = [(probabilities > t).long() for t in THRESHOLDS]
        counts.append(torch.stack(passed, dim=1).cpu())
    minimum = Threshold().min_foreground_pixels(frames.size) if probabilities.ndim == 4 else 1
    predicted = torch.cat(counts).numpy() >= minimum
    truth, weights = (frames.grades > 0)[:, None], frames.weights[:, None]
    hits = ((predicted & truth) * weights).sum(axis=0)
    misses = ((predicted != truth) * weights).sum(axis=0)
    f1 = 2 * hits / np.maximum(2 * hits + misses, 1)
    good = [threshold for threshold, value in zip(THRESHOLDS, f1) if value >= f1.max() - F1_MARGIN]
    return min(good, key=lambda threshold: abs(threshold - 0.5)), {
        f"validation_f1_at_{t}": round(float(v), 4) for t, v in zip(THRESHOLDS, f1)
    }
