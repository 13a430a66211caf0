"""Selection of the compute device, and checks that it can be used."""

from __future__ import annotations

import functools
import logging
import warnings
from pathlib import Path

import torch

from fetaliqa.errors import OptionError
from fetaliqa.out_of_memory import is_out_of_memory

BF16_CAPABILITY = (8, 0)  # Ampere: earlier devices emulate bfloat16, slower than float32
DRIVER = Path("/dev/nvidiactl")  # exists on Linux when an NVIDIA driver is loaded
NO_CARD = ("Found no NVIDIA driver", "No CUDA GPUs are available", "no CUDA-capable device")

log = logging.getLogger(__name__)
_sound: set[int] = set()  # devices that were tested successfully in this process


def choose_device(name: str = "auto") -> torch.device:
    """The torch device called ``name`` (``auto``, ``cpu``, ``cuda``, ``cuda:1``, ...).

    ``auto`` is the first CUDA device, or the CPU if there is none or CUDA cannot be used, which is logged.

    Raises:
        OptionError: when the device does not exist here, or cannot be used.
    """
    if name == "auto":
        return _usual_device()
    try:
        device = torch.device(name)
    except RuntimeError:
        raise OptionError(f"unknown device {name!r}; use auto, cpu, cuda or cuda:N") from None
    if device.type not in ("cpu", "cuda"):
        raise OptionError(f"device {name!r} is not supported; use auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        trouble = cuda_trouble()
        if trouble is not None:
            raise OptionError(f"device {name!r} cannot be used: {trouble}; use cpu or auto")
        count = cuda_devices()
        if (device.index or 0) >= count:
            raise OptionError(
                f"device {name!r} cannot be used: this machine has {count} CUDA devices; use cpu or auto"
            )
        trouble = _card_trouble(device)
        if trouble is not None:
            raise OptionError(f"device {name!r} cannot be used: {trouble}; use cpu or auto")
    return device


def _usual_device() -> torch.device:
    trouble = auto_trouble()
    if trouble is None and cuda_devices():
        return torch.device("cuda")
    if trouble is not None:
        _say_once(trouble)
    return torch.device("cpu")


def auto_trouble() -> str | None:
    """Why ``auto`` is the CPU on a machine with a CUDA device; None if it is the device, or there is none."""
    trouble = cuda_trouble()
    return _card_trouble(torch.device("cuda")) if trouble is None and cuda_devices() else trouble


@functools.cache
def _say_once(trouble: str) -> None:
    log.warning("%s; computing on the CPU", trouble)


def cuda_devices() -> int:
    """Number of usable CUDA devices."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # ``cuda_trouble`` reports the reason
        return torch.cuda.device_count() if torch.cuda.is_available() else 0


def cuda_trouble() -> str | None:
    """Why the CUDA devices of this machine cannot be used; None if they can, or if there are none."""
    if cuda_devices():
        return None
    if not torch.backends.cuda.is_built():
        return f"this PyTorch ({torch.__version__}) is built without CUDA" if DRIVER.exists() else None
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as problem:
        return None if any(text in str(problem) for text in NO_CARD) else _unusable("CUDA", problem)
    return None


def _card_trouble(device: torch.device) -> str | None:
    """Why an existing device cannot compute; None if it can. A device that is out of memory can."""
    index = device.index or 0
    if index in _sound:
        return None
    try:
        torch.ones(1, device=device).add_(1)
        torch.cuda.synchronize(device)
    except RuntimeError as problem:
        if not is_out_of_memory(problem):
            return _unusable(f"{device} ({card_name(device)})", problem)
    _sound.add(index)
    return None


def _unusable(what: str, problem: Exception) -> str:
    lines = str(problem).splitlines() or [type(problem).__name__]
    first, *_ = lines[0].partition(". ")
    return f"{what} cannot be used here ({first.rstrip('.')})"


def card_name(device: torch.device) -> str | None:
    """Name of a CUDA device, such as ``NVIDIA H200``; None for a CPU, or if it is not available."""
    if device.type != "cuda":
        return None
    try:
        return torch.cuda.get_device_name(device)
    except (RuntimeError, AssertionError):
        return None


def cuda_has_bf16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 matrices in hardware; True without a device to ask."""
    if not cuda_devices():
        return True
    return torch.cuda.get_device_capability(device) >= BF16_CAPABILITY
