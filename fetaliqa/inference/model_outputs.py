"""Outputs of a forward pass for a batch of frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch


class Outputs(NamedTuple):
    """Outputs for N frames.

    Attributes:
        probabilities: pixel probabilities [N, 1, S, S], or frame probabilities [N] (classification).
        appearance: [N, C], mean over the encoder's deepest feature map; None for a classifier.
        signals: [N, 2], expected Dice of the outline and distance to the training data; None: the model has none.
    """

    probabilities: torch.Tensor
    appearance: torch.Tensor | None = None
    signals: torch.Tensor | None = None

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Outputs:
        """Apply a function to every tensor."""
        return Outputs(change(self.probabilities), *(None if part is None else change(part) for part in self[1:]))


def joined(parts: Sequence[Outputs]) -> Outputs:
    """Concatenate the outputs of several batches."""
    first, *others = zip(*parts)
    return Outputs(torch.cat(first), *(None if part[0] is None else torch.cat(part) for part in others))
