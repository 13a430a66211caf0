"""Asynchronous copies to and from a CUDA device on their own streams; on a CPU, plain calls.

A device executes the work of a stream in order. Copies and small computations use separate streams here (lanes),
so that they do not wait for batches that are still to be encoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache

import numpy as np
import torch

AHEAD_OF_MAIN = -1  # stream priority: short work does not wait for the long kernels of a batch


@lru_cache(maxsize=32)
def _stream(device: torch.device, purpose: str) -> torch.cuda.Stream:
    # created once: memory allocated on a stream is reused on that stream only
    return torch.cuda.Stream(device, priority=AHEAD_OF_MAIN)


class Lane:
    """A stream beside the main one of a device.

    Args:
        device: device of the work; on a CPU it is done at once.
        purpose: lanes with the same purpose share a stream.
    """

    def __init__(self, device: torch.device, purpose: str) -> None:
        self._stream = _stream(device, purpose) if device.type == "cuda" else None

    @contextmanager
    def queue(self, after: torch.cuda.Event | None = None) -> Iterator[None]:
        """Context: queue work on this lane, after the work that ``after`` marks."""
        if self._stream is None:
            yield
            return
        if after is not None:
            self._stream.wait_event(after)
        with torch.cuda.stream(self._stream):
            yield


def reading(device: torch.device, computed: torch.cuda.Event | None) -> AbstractContextManager[None]:
    """Context for reading results of the event ``computed``, without waiting for later work; see ``on_host``."""
    return Lane(device, "answers out").queue(computed)


def mark(device: torch.device) -> torch.cuda.Event | None:
    """An event after all work queued so far on the current stream; None on a CPU."""
    if device.type != "cuda":
        return None
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(device))
    return event


def take_over(tensor: torch.Tensor, made: torch.cuda.Event | None) -> torch.Tensor:
    """Make a tensor of another lane usable on the current stream, which waits for the event ``made``."""
    if made is not None:
        current = torch.cuda.current_stream(tensor.device)
        current.wait_event(made)
        tensor.record_stream(current)  # else its memory could be reused before it was read
    return tensor


def send(frames: np.ndarray, selected: np.ndarray, device: torch.device) -> torch.Tensor:
    """Copy selected frames of a stack to a device asynchronously, from page-locked memory.

    Args:
        frames: uint8 [T, H, W].
        selected: frame numbers, int [N].
        device: target device.

    Returns:
        uint8 [N, H, W] on ``device``.
    """
    if device.type != "cuda":
        return torch.from_numpy(frames[selected]).to(device)
    staged = torch.empty((len(selected), *frames.shape[1:]), dtype=torch.uint8, pin_memory=True)
    np.take(frames, selected, axis=0, out=staged.numpy(), mode="clip")  # "raise" would copy twice
    return staged.to(device, non_blocking=True)


def on_host(tensor: torch.Tensor) -> torch.Tensor:
    """Copy a tensor to host memory; waits for the current stream only."""
    if tensor.device.type != "cuda":
        return tensor
    copied = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    copied.copy_(tensor, non_blocking=True)
    torch.cuda.current_stream(tensor.device).synchronize()
    return copied
