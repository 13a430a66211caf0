"""Copies to and from a CUDA device that wait for nothing but their own data; on a CPU, plain calls.

A device does what is queued on a stream in order. What is copied to it or from it, and what is asked of it
meanwhile, has streams of its own here (lanes), so that neither waits for the batches that are still to be
encoded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache

import numpy as np
import torch

AHEAD_OF_MAIN = -1  # priority: the short work of a lane does not wait until the long kernels of a batch have ended


@lru_cache(maxsize=32)
def _stream(device: torch.device, purpose: str) -> torch.cuda.Stream:
    # one for good: memory that was used on a stream is used again on that one only
    return torch.cuda.Stream(device, priority=AHEAD_OF_MAIN)


class Lane:
    """A queue of work beside the main one of a device.

    Args:
        device: of the work; on a CPU it is done at once.
        purpose: lanes of one name share a queue.
    """

    def __init__(self, device: torch.device, purpose: str) -> None:
        self._stream = _stream(device, purpose) if device.type == "cuda" else None

    @contextmanager
    def queue(self, after: torch.cuda.Event | None = None) -> Iterator[None]:
        """Queue what is done inside on this lane, behind the work that ``after`` marks."""
        if self._stream is None:
            yield
            return
        if after is not None:
            self._stream.wait_event(after)
        with torch.cuda.stream(self._stream):
            yield


def reading(device: torch.device, computed: torch.cuda.Event | None) -> AbstractContextManager[None]:
    """Inside, what was ``computed`` is read, whatever was started after it; ends with ``on_host``."""
    return Lane(device, "answers out").queue(computed)


def mark(device: torch.device) -> torch.cuda.Event | None:
    """The point that the current queue has been filled to; None on a CPU, where that is done."""
    if device.type != "cuda":
        return None
    event = torch.cuda.Event()
    event.record(torch.cuda.current_stream(device))
    return event


def take_over(tensor: torch.Tensor, made: torch.cuda.Event | None) -> torch.Tensor:
    """A tensor of another lane for the current queue, which goes on when it was ``made``."""
    if made is not None:
        current = torch.cuda.current_stream(tensor.device)
        current.wait_event(made)
        tensor.record_stream(current)  # else its memory could be given away before it was read
    return tensor


def send(frames: np.ndarray, chosen: np.ndarray, device: torch.device) -> torch.Tensor:
    """Chosen frames of a stack uint8 [T, H, W] on a device, uint8 [N, H, W], queued from page-locked memory.

    Args:
        frames: the stack.
        chosen: frame numbers, int [N].
        device: to send them to.
    """
    if device.type != "cuda":
        return torch.from_numpy(frames[chosen]).to(device)
    staged = torch.empty((len(chosen), *frames.shape[1:]), dtype=torch.uint8, pin_memory=True)
    np.take(frames, chosen, axis=0, out=staged.numpy(), mode="clip")  # "raise" would copy twice
    return staged.to(device, non_blocking=True)


def on_host(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor's values in memory; waits for what the current queue holds, and for no other."""
    if tensor.device.type != "cuda":
        return tensor
    held = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
    held.copy_(tensor, non_blocking=True)
    torch.cuda.current_stream(tensor.device).synchronize()
    return held
