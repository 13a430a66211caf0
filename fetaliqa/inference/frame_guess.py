"""Quality of frames as predicted by a compact model that screens them for its teacher."""

from __future__ import annotations

import numpy as np
import torch

from fetaliqa.inference.cuda_transfers import on_host
from fetaliqa.inference.predictor import Predictor
from fetaliqa.model import CompactSeg
from fetaliqa.model.preprocess import normalise

PLANE_TEMPERATURE = 2.0  # of the plane logit, because the model is overconfident


@torch.inference_mode()
def promise(predictor: Predictor, squares: torch.Tensor) -> np.ndarray:
    """Predicted quality of frames, float [N], 0 to 1.

    The mean of two probabilities: that the frame shows the plane, and the highest pixel probability of the
        outline.
    Either alone, or the quality score of the model's own outlines, misses frames that the teacher finds: the score
    of a frame that the model classifies as negative is near 0, even if it is almost positive.

    Args:
        predictor: predictor of a compact model.
        squares: uint8 [N, S, S], frames on the model's grid.
    """
    model = predictor.model
    assert isinstance(model, CompactSeg)
    values = []
    for part in squares.split(predictor.batch_size):
        outputs = model.outputs(normalise(part.to(predictor.device)))
        plane = torch.sigmoid(outputs.plane.float() / PLANE_TEMPERATURE)
        values.append(on_host((plane + torch.sigmoid(outputs.outline.float()).amax(dim=(1, 2, 3))) / 2))
    return torch.cat(values).double().numpy()
