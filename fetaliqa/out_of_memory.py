"""Which errors say that a machine's or a card's memory ran out, and how it is freed."""

from __future__ import annotations

import contextlib
import errno
import gc

import torch

# What PyTorch says where it has no error of its own for it: of the CPU's allocator, of CUDA itself, and of
# libraries that ask for memory by themselves.
_SENTENCES = (
    "out of memory",
    "can't allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate",  # no room for a handle and its workspace
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "unable to find an engine to execute this computation",  # every algorithm of a convolution ran out of it
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out, of the CPU or of a CUDA card."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(sentence in str(error) for sentence in _SENTENCES)


def free_memory(device: torch.device | None = None) -> None:
    """Give memory that nothing refers to any more back to the device, for others too.

    Objects that refer to each other, as a trainer and its module do, are collected first.

    Args:
        device: whose memory; None: the current CUDA device's, where there is one.
    """
    gc.collect()
    if torch.cuda.is_available() and (device is None or device.type == "cuda"):
        with contextlib.nullcontext() if device is None else torch.cuda.device(device):
            torch.cuda.empty_cache()
