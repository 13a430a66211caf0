"""Settings of low-rank adapters, without importing torch."""

from __future__ import annotations

from dataclasses import dataclass

TARGETS = ("c_fc", "c_proj", "out_proj")  # FetalCLIP-IQA adapts these linear layers of every block


@dataclass(frozen=True)
class LoraSettings:
    """Settings of the adapters; the defaults are those of FetalCLIP-IQA.

    Attributes:
        rank: inner dimension r of the two factors.
        alpha: the update is scaled by ``alpha / rank``.
        dropout: share of the adapter's inputs dropped in training.
        targets: names of the adapted linear layers in each block.
    """

    rank: int = 8
    alpha: int = 16
    dropout: float = 0.1
    targets: tuple[str, ...] = TARGETS

    def __post_init__(self) -> None:
        if not 1 <= self.rank <= 1024:
            raise ValueError(f"rank is {self.rank}; 1 to 1024 is accepted")
        if self.alpha < 1:
            raise ValueError(f"alpha is {self.alpha}; 1 or more is needed")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is {self.dropout}; 0 up to, not including, 1 is accepted")
        unknown = [target for target in self.targets if target not in TARGETS]
        if unknown or not self.targets or len(set(self.targets)) != len(self.targets):
            raise ValueError(
                f"targets are {list(self.targets)}; some of {', '.join(TARGETS)} are needed, once each"
            )

    @property
    def scale(self) -> float:
        """Factor on the product of the two matrices."""
        return self.alpha / self.rank
