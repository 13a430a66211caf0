"""The Muon optimiser (Jordan 2024), for the matrices inside of transformer blocks.

An update is the momentum, with all its singular values brought near 1 by five Newton-Schulz steps. Its size is
scaled to that of AdamW (arXiv 2502.16982), so that both take the same learning rates. ``torch.optim.Muon``
does the same in bfloat16, which crawls on CPUs without bfloat16 arithmetic; here it is done in the parameters'
own type, for all matrices of one shape at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # coefficients and number of steps as published
NEWTON_SCHULZ_STEPS = 5
ADAM_RMS = 0.2  # usual root mean square of AdamW's update per unit of learning rate


def orthogonalised(matrices: torch.Tensor) -> torch.Tensor:
    """Matrices [K, rows, columns] with their singular values brought to between 0.7 and 1.2, roughly."""
    first, second, third = NEWTON_SCHULZ
    tall = matrices.shape[1] > matrices.shape[2]
    result = matrices.mT if tall else matrices
    result = result / (torch.linalg.matrix_norm(result, keepdim=True) + 1e-7)
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = result @ result.mT
        polynomial = torch.baddbmm(gram, gram, gram, beta=second, alpha=third)
        result = torch.baddbmm(result, polynomial, result, beta=first)
    return result.mT if tall else result


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum and decoupled weight decay.

    Args:
        params: matrices only.
        lr: learning rate, on AdamW's scale.
        momentum: share of the old momentum that is kept.
        weight_decay: decoupled, per unit of learning rate.

    Raises:
        ValueError: when a parameter is not a matrix.
    """

    def __init__(
        self, params: Iterable[nn.Parameter], lr: float, momentum: float = 0.95, weight_decay: float = 0.0
    ) -> None:
        params = list(params)
        # a group to work on may be given later, by an optimiser that this one is a part of
        super().__init__(
            params or [{"params": []}], {"lr": lr, "momentum": momentum, "weight_decay": weight_decay}
        )
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.ndim != 2:
                    raise ValueError(f"a parameter of shape {tuple(parameter.shape)}; Muon takes matrices")

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        if closure is not None:
            raise ValueError("Muon takes no closure")
        for group in self.param_groups:
            alike = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    alike[parameter.shape].append(parameter)
            for shape, parameters in alike.items():
                self._step(parameters, group, max(shape))

    def _step(self, parameters: list[nn.Parameter], group: dict[str, Any], longest: int) -> None:
        kept = group["momentum"]
        for parameter in parameters:
            if not self.state[parameter]:
                self.state[parameter]["momentum"] = torch.zeros_like(parameter)
        # a call for all of them: on CUDA hundreds of small adapters cost as much to start as to compute
        values: list[torch.Tensor] = list(parameters)
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        momenta = [self.state[parameter]["momentum"] for parameter in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - kept)
        ahead = torch._foreach_lerp(gradients, momenta, kept)
        # laid out as the parameters are, or each would be added by a call of its own
        updates = orthogonalised(torch.stack(ahead)).contiguous().unbind()
        torch._foreach_mul_(values, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(values, updates, alpha=-group["lr"] * ADAM_RMS * longest**0.5)


class MuonWithAdamW(torch.optim.Optimizer):
    """Muon for some parameters and AdamW for the others, as one optimiser.

    A trainer that resumes, schedules and counts steps wants one optimiser; a group's ``method`` says which it is.

    Args:
        groups: parameter groups with ``params``, ``method`` ("muon" or "adamw"), ``lr`` and ``weight_decay``.
        betas: AdamW's.
    """

    def __init__(self, groups: list[dict[str, Any]], betas: tuple[float, float] = (0.9, 0.999)) -> None:
        muon = [{**group, "momentum": 0.95} for group in groups if group["method"] == "muon"]
        adamw = [group for group in groups if group["method"] == "adamw"]
        self._parts: list[torch.optim.Optimizer] = []
        super().__init__([*muon, *adamw], {})
        if muon:
            self._parts.append(Muon([], lr=1.0))
        if adamw:
            on_cuda = all(parameter.is_cuda for group in adamw for parameter in group["params"])
            self._parts.append(torch.optim.AdamW(adamw, betas=betas, fused=on_cuda or None))
        self._share()

    def _share(self) -> None:
        """Let the parts work on this optimiser's own groups and state."""
        for part in self._parts:
            method = "muon" if isinstance(part, Muon) else "adamw"
            if method == "adamw":  # AdamW's own settings (betas, eps, ...) belong into the groups
                for own in self.param_groups:
                    if own["method"] == method:
                        for key, value in part.defaults.items():
                            own.setdefault(key, value)
            part.param_groups = [group for group in self.param_groups if group["method"] == method]
            part.state = self.state

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self._parts:
            part.step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._share()
