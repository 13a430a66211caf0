"""Settings and contents of a phantom case."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from fetaliqa.errors import OptionError
from fetaliqa.lab.phantom.probe_sector import SCALES, Sector, sector_for

SWEEP_SLOTS = 140  # frame slots per sweep in an ACOUSLIC-AI stack
SWEEP_COUNT = 6
VERSION = 1  # raised when the same seed no longer gives the same picture


@dataclass(frozen=True)
class PhantomSettings:
    """Settings of the generator.

    Attributes:
        scale: "full" (562 x 744 pixels of 0.28 mm) or "half" (281 x 372 of 0.56 mm).
        sweeps: how many of the six ACOUSLIC paths, from the first (1-6).
        slots: frame slots per sweep (20-400). True sweeps fill 71-89 % of them (100-125 of 140); the probe
            moves proportionally faster when there are fewer slots.
    """

    scale: str = "half"
    sweeps: int = SWEEP_COUNT
    slots: int = SWEEP_SLOTS

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise OptionError(f"phantom scale {self.scale!r} is unknown; choose one of {', '.join(SCALES)}")
        if not 1 <= self.sweeps <= SWEEP_COUNT:
            raise OptionError(f"{self.sweeps} sweeps asked for; the phantom has 1 to {SWEEP_COUNT}")
        if not 20 <= self.slots <= 400:
            raise OptionError(f"{self.slots} frame slots per sweep asked for; use 20 to 400")

    @property
    def sector(self) -> Sector:
        return sector_for(self.scale)

    @property
    def frame_count(self) -> int:
        return self.sweeps * self.slots

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, eq=False)
class PhantomCase:
    """One rendered case.

    Attributes:
        frames: uint8 [T, rows, columns]; 0 outside the sector and in padded slots.
        masks: uint8 of the same shape; 1 abdomen on an optimal plane, 2 on a suboptimal plane.
        ac_mm: true abdominal circumference of each sweep's best plane, None without annotation.
        spacing_mm: row and column spacing.
        sweep_lengths: true frames of each sweep; the other slots are padding.
        truth: what the labels were derived from (pose, tilt and grades per sweep).
    """

    case_id: str
    subject_id: str
    frames: np.ndarray
    masks: np.ndarray
    ac_mm: tuple[float | None, ...]
    spacing_mm: tuple[float, float]
    sweep_lengths: tuple[int, ...]
    truth: dict[str, Any] = field(default_factory=dict)
