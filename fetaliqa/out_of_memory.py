"""Out-of-memory errors of CPU and GPU: how they are recognised, and how memory is freed."""

from __future__ import annotations

import contextlib
import errno
import gc

import torch

# Messages of RuntimeErrors for which PyTorch has no type of its own: from the CPU allocator, from CUDA itself, and
# from libraries that allocate memory themselves.
_SENTENCES = (
    "out of memory",
    "can't allocate memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate",  # no memory for a handle and its workspace
    "CUSOLVER_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED",
    "CUDNN_STATUS_INTERNAL_ERROR_HOST_ALLOCATION_FAILED",
    "unable to find an engine to execute this computation",  # every convolution algorithm ran out of memory
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error means that the memory of the CPU or of a CUDA device ran out."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(sentence in str(error) for sentence in _SENTENCES)


def free_memory(device: torch.device | None = None) -> None:
    """Release memory that is no longer referenced, so that other processes can use it.

    Reference cycles, as between a trainer and its module, are collected first.

    Args:
        device: the device; None for the current CUDA device, if there is one.
    """
    gc.collect()
    if torch.cuda.is_available() and (device is None or device.type == "cuda"):
        with contextlib.nullcontext() if device is None else torch.cuda.device(device):
            torch.cuda.empty_cache()
