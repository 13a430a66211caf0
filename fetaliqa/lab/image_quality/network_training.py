"""The training loop of the quality networks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import nn

from fetaliqa.errors import TrainingError

Batches = Iterator[tuple[torch.Tensor, torch.Tensor]]
Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
WEIGHT_DECAY, WARMUP, CLIP = 0.01, 0.1, 1.0


def fit_network(
    network: nn.Module,
    batches: Batches,
    loss_of: Loss,
    steps: int,
    learning_rate: float,
    progress: Callable[[int, int], None],
) -> None:
    """Train in place with AdamW and a one-cycle learning rate; the network ends in eval mode.

    Args:
        network: to train.
        batches: inputs and targets, at least ``steps`` times.
        loss_of: the loss of outputs and targets.
        steps: at least 3.
        learning_rate: at the peak of the cycle.
        progress: called with steps done and in all.

    Raises:
        TrainingError: when the loss is not a finite number.
    """
    optimizer = torch.optim.AdamW(network.parameters(), learning_rate, weight_decay=WEIGHT_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, steps, pct_start=WARMUP)
    network.train()
    for step in range(steps):
        inputs, targets = next(batches)
        loss = loss_of(network(inputs), targets)
        if not torch.isfinite(loss):
            raise TrainingError(f"the loss became {loss.item()} at step {step}")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), CLIP)
        optimizer.step()
        schedule.step()
        progress(step + 1, steps)
    network.eval()
