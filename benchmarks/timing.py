"""Helpers of the benchmarks: clocks, rates, and a description of the machine."""

from __future__ import annotations

import platform
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch


class Clock:
    """Seconds by stage, with all that a device was given to do in it."""

    def __init__(self, device: torch.device | None = None) -> None:
        self.seconds: dict[str, float] = {}
        self._wait = torch.cuda.synchronize if device is not None and device.type == "cuda" else lambda: None

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        self._wait()
        started = time.perf_counter()
        try:
            yield
            self._wait()
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - started


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What it returns, and its seconds."""
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started


def peak_gib() -> float:
    """Peak memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def described(count: int, seconds: float, parts: dict[str, float]) -> dict[str, Any]:
    """Rates and shares."""
    return {
        "frames": count,
        "seconds": round(seconds, 2),
        "frames_per_second": round(count / seconds, 2),
        "milliseconds_a_frame": {name: round(1000 * value / count, 1) for name, value in parts.items()},
    }


def machine() -> dict[str, Any]:
    """What it ran on."""
    from fetaliqa.inference.precision import cpu_has_bf16

    model = platform.processor()
    for line in Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else ():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
    return {
        "cpu": model,
        "threads": torch.get_num_threads(),
        "bf16_instructions": cpu_has_bf16(),
        "torch": torch.__version__,
    }
