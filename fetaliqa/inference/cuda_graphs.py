"""CUDA graphs of a model's forward pass, captured once per batch size and replayed.

A batch through the full-size encoder and decoder launches hundreds of kernels. Launching them one by one keeps the
interpreter busy, which the threads that measure finished frames need too; a graph is launched by one call. Graphs
are used instead of ``torch.compile``: capture takes a few passes, compilation many seconds at the first start on a
machine, and a C compiler. If capture fails, frames are computed without a graph; if it ran out of memory, it is
tried again later.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import torch

from fetaliqa.inference.batch_halving import Clock, Compute
from fetaliqa.inference.model_outputs import Outputs
from fetaliqa.out_of_memory import free_memory, is_out_of_memory

LEAST = 8  # frames of the smallest graph
WARM_UP = 3  # passes before capture, in which libraries choose their kernels and allocate memory
AGAIN_SECONDS = 60.0  # until capture is tried again after running out of memory

_Recording = tuple[torch.Tensor, Callable[[], None], Outputs]  # input, replay function, output
Record = Callable[[Compute, torch.Tensor], tuple[Callable[[], None], Outputs]]

log = logging.getLogger(__name__)
_ONE_AT_A_TIME = threading.Lock()  # a process captures one CUDA graph at a time


class GraphRecorder:
    """Captures passes as CUDA graphs that share a memory pool: they are never replayed at the same time."""

    def __init__(self) -> None:
        self._pool: Any = None  # shared by failed captures too, so that the next one reuses their memory
        self._stream: torch.cuda.Stream | None = None  # one: graphs share memory on one stream only
        # failed ones are kept: deleting one would free cuBLAS's workspace of the stream, which the others use
        self._graphs: list[torch.cuda.CUDAGraph] = []

    def __call__(self, compute: Compute, buffer: torch.Tensor) -> tuple[Callable[[], None], Outputs]:
        """Capture ``compute(buffer)``.

        Returns:
            A function that replays it on the current values of ``buffer``, and the tensors that it writes.

        Raises:
            RuntimeError: when an operation cannot be captured, or memory runs out.
        """
        # the current stream is entered explicitly, so that it is restored after a failed capture
        current = torch.cuda.current_stream(buffer.device)
        with _ONE_AT_A_TIME, torch.cuda.device(buffer.device), torch.cuda.stream(current):
            stream = self._stream = self._stream or torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP):
                    compute(buffer)
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            graph = torch.cuda.CUDAGraph()
            self._graphs.append(graph)
            # thread_local: other threads of a server may use the device meanwhile
            with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
                outputs = compute(buffer)
            torch.cuda.current_stream().wait_stream(stream)
        return graph.replay, outputs


class CapturedForward:
    """Computes with CUDA graphs of N, N / 2, ... frames down to 8; a batch uses the smallest sufficient one.

    Args:
        compute: outputs of squares uint8 [n, S, S]; each frame is independent of the others.
        size: N, frames of a full batch.
        record: function that captures a pass.
        clock: monotonic time in seconds.

    Attributes:
        failures: reason of each failed capture, by number of frames; removed when a later attempt succeeds.
    """

    def __init__(
        self, compute: Compute, size: int, record: Record | None = None, clock: Clock = time.monotonic
    ) -> None:
        self._compute, self._size, self._clock = compute, size, clock
        self._record = record or GraphRecorder()
        self.failures: dict[int, str] = {}
        self._again: dict[int, float] = {}  # time of the next attempt after running out of memory
        self._recorded: dict[int, _Recording | None] = {}  # None: capture is not possible
        self._lock = threading.Lock()  # a graph has one input and one output buffer

    @torch.inference_mode()
    def __call__(self, squares: torch.Tensor) -> Outputs:
        """As ``compute(squares)``."""
        count = len(squares)
        if not 0 < count <= self._size:
            return self._compute(squares)
        size = self._size
        while size // 2 >= max(count, LEAST):
            size //= 2
        with self._lock:
            recording = self._recorded_for(squares, size)
            if recording is not None:
                buffer, play, outputs = recording
                buffer[:count].copy_(squares)
                play()
                return outputs.each(lambda part: part[:count].clone())  # the next batch overwrites the buffer
        return self._compute(squares)

    def _recorded_for(self, squares: torch.Tensor, size: int) -> _Recording | None:
        """The graph of this size, captured on first use; None if that is not possible now."""
        if size not in self._recorded and self._clock() >= self._again.get(size, 0.0):
            self._make(squares, size)
            if size in self._again:  # outside of the except block: the traceback would keep tensors alive
                free_memory(squares.device)
        return self._recorded.get(size)

    def _make(self, squares: torch.Tensor, size: int) -> None:
        self._again.pop(size, None)
        try:
            buffer = squares.new_zeros((size, *squares.shape[1:]))
            self._recorded[size] = (buffer, *self._record(self._compute, buffer))
            self.failures.pop(size, None)
        except (RuntimeError, MemoryError) as problem:
            self.failures[size] = str(problem)
            if is_out_of_memory(problem):
                self._again[size] = self._clock() + AGAIN_SECONDS
            else:
                self._recorded[size] = None
            log.warning("batches of %d frames are computed without a CUDA graph (%s)", size, problem)
