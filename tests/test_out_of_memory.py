"""Errors that say that memory ran out are told from others."""

import errno

import numpy as np
import pytest
import torch

from fetaliqa.errors import TrainingError
from fetaliqa.out_of_memory import is_out_of_memory

IMPOSSIBLE = 2**60  # bytes


def raised(call):
    with pytest.raises((RuntimeError, MemoryError)) as caught:
        call()
    return caught.value


@pytest.mark.parametrize(
    "too_large",
    [lambda: torch.empty(IMPOSSIBLE, dtype=torch.uint8), lambda: np.empty(IMPOSSIBLE, np.uint8)],
    ids=["torch", "numpy"],
)
def test_an_array_that_no_machine_can_hold_is_out_of_memory(too_large):
    assert is_out_of_memory(raised(too_large))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB"),
        torch.AcceleratorError("CUDA error: out of memory", 2),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("CUDA error: CUBLAS_STATUS_NOT_INITIALIZED when calling `cublasCreate(handle)`"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
        RuntimeError("GET was unable to find an engine to execute this computation"),
        RuntimeError("Caught RuntimeError in pin memory thread\nRuntimeError: CUDA error: out of memory"),
        OSError(errno.ENOMEM, "Cannot allocate memory"),
    ],
    ids=lambda error: str(error)[:40],
)
def test_every_library_that_finds_a_card_full_is_understood(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (2x3 and 4x5)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm`"),
        OSError(errno.ENOSPC, "No space left on device"),
        TrainingError("the loss became nan at step 3"),
        KeyboardInterrupt(),
    ],
    ids=lambda error: str(error)[:40],
)
def test_other_errors_are_not_taken_for_it(error):
    assert not is_out_of_memory(error)
