"""How promising frames are to a compact model that screens them for its teacher."""

from __future__ import annotations

import numpy as np
import torch

from fetaliqa.inference.cuda_transfers import on_host
from fetaliqa.inference.predictor import Predictor
from fetaliqa.model import CompactSeg
from fetaliqa.model.preprocess import normalise

PLANE_TEMPERATURE = 2.0  # of the logit that a frame shows the plane: the model is surer than it is right


@torch.inference_mode()
def promise(predictor: Predictor, squares: torch.Tensor) -> np.ndarray:
    """The guessed quality of frames, float [N], 0 to 1.

    It is the mean of two probabilities: that the frame shows the plane, and that the likeliest pixel of the
    outline is inside of it. Either alone, or the quality of the model's own outlines, misses frames that the
    teacher finds: a frame that the model calls negative has a quality near 0, however near it came to positive.

    Args:
        predictor: of a compact model.
        squares: uint8 [N, S, S], frames on the model's grid.
    """
    model = predictor.model
    assert isinstance(model, CompactSeg)
    found = []
    for part in squares.split(predictor.batch_size):
        outputs = model.outputs(normalise(part.to(predictor.device)))
        plane = torch.sigmoid(outputs.plane.float() / PLANE_TEMPERATURE)
        found.append(on_host((plane + torch.sigmoid(outputs.outline.float()).amax(dim=(1, 2, 3))) / 2))
    return torch.cat(found).double().numpy()
