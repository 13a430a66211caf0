"""Batches split in halves when the device runs out of memory, for example during training beside a server."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TypeVar

import torch

from fetaliqa.errors import DeviceFull
from fetaliqa.inference.model_outputs import Outputs, joined
from fetaliqa.out_of_memory import free_memory, is_out_of_memory

WHOLE_AGAIN_SECONDS = 60.0  # after this time, a whole batch is tried again

Compute = Callable[[torch.Tensor], Outputs]
Clock = Callable[[], float]
Value = TypeVar("Value")

log = logging.getLogger(__name__)


class HalvingForward:
    """Computes a batch in halves, quarters, ... down to single frames when memory runs out.

    The size that fits is used for a minute, so that not every batch fails first; then whole batches are tried
    again.

    Args:
        compute: outputs of squares uint8 [n, S, S]; each frame is independent of the others.
        device: device of the computation.
        clock: monotonic time in seconds.

    Attributes:
        most: current limit of frames per pass; None for no limit.
    """

    def __init__(self, compute: Compute, device: torch.device, clock: Clock = time.monotonic) -> None:
        self._compute, self._device, self._clock = compute, device, clock
        self.most: int | None = None
        self._until = 0.0

    def __call__(self, squares: torch.Tensor) -> Outputs:
        """As ``compute(squares)``.

        Raises:
            DeviceFull: when not even one frame fits.
        """
        if self._clock() >= self._until:
            self.most = None
        most, parts, start, last_try = self.most or len(squares), [], 0, False
        while start < len(squares):
            part = squares[start : start + most]
            outputs = self._attempt(part)
            if outputs is not None:
                parts.append(outputs)
                start, last_try = start + len(part), False
                continue
            # outside of the except block: the traceback would keep the tensors of the pass alive
            free_memory(self._device)
            if len(part) > 1:
                most = self._remember((len(part) + 1) // 2)
            elif last_try:
                raise device_full(self._device)
            else:
                last_try = True  # once more, after memory was freed
        return parts[0] if len(parts) == 1 else joined(parts)

    def _attempt(self, squares: torch.Tensor) -> Outputs | None:
        """The outputs; None when memory ran out."""
        try:
            return self._compute(squares)
        except (RuntimeError, MemoryError) as problem:
            if not is_out_of_memory(problem):
                raise
            return None

    def _remember(self, size: int) -> int:
        if self.most is None or size < self.most:
            log.warning(
                "memory of %s ran out: frames are computed %d at a time for %.0f s",
                self._device,
                size,
                WHOLE_AGAIN_SECONDS,
            )
            self.most = size
        self._until = self._clock() + WHOLE_AGAIN_SECONDS
        return size


def device_full(device: torch.device) -> DeviceFull:
    """The error for a full device, with its free memory."""
    free = ""
    if device.type == "cuda" and torch.cuda.is_available():
        available, total = torch.cuda.mem_get_info(device)
        free = f" ({available / 2**30:.1f} of {total / 2**30:.1f} GiB are free)"
    return DeviceFull(
        f"memory of device {device} is full{free}, not enough for a single frame; "
        f"try again in {DeviceFull.retry_after} s, when other processes have ended, or choose another device"
    )


def told_when_full(work: Callable[[], Value], device: torch.device) -> Value:
    """Call ``work()`` and return its result.

    Raises:
        DeviceFull: when it runs out of memory; memory that is no longer used is freed first.
    """
    try:
        return work()
    except (RuntimeError, MemoryError) as problem:
        if not is_out_of_memory(problem):
            raise
    # outside of the except block: the traceback would keep tensors alive
    free_memory(device)
    raise device_full(device)
