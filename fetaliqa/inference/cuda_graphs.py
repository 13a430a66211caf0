"""A model's forward pass, recorded once for a size of batch and played back: CUDA graphs.

A batch through the full-size encoder and decoder is hundreds of kernels. Started one by one they keep the
interpreter busy, which the threads that measure finished frames need too; a recording is started by one call.
It is recorded and not compiled because somebody waits: recording takes a few passes, ``torch.compile`` many
seconds at the first start on a machine, and a C compiler. Where recording fails, frames are computed as ever;
where memory ran out in it, because something else fills the card, it is tried again later.
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

LEAST = 8  # frames of the smallest recording
WARM_UP = 3  # passes before recording, in which libraries choose their kernels and take their memory
AGAIN_SECONDS = 60.0  # after a recording that memory was too short for

_Recording = tuple[torch.Tensor, Callable[[], None], Outputs]  # input, what plays it, output
Record = Callable[[Compute, torch.Tensor], tuple[Callable[[], None], Outputs]]

log = logging.getLogger(__name__)
_ONE_AT_A_TIME = threading.Lock()  # a process records one CUDA graph at a time, whatever predictor it is for


class GraphRecorder:
    """Records passes as CUDA graphs that share their memory: they are never played at the same time."""

    def __init__(self) -> None:
        self._pool: Any = None  # one, of failed recordings too: the next one takes what they had taken
        self._stream: torch.cuda.Stream | None = None  # one: memory is shared between recordings on one stream
        # one that failed stays too: its end would free cuBLAS's workspace on the stream, which the others use
        self._graphs: list[torch.cuda.CUDAGraph] = []

    def __call__(self, compute: Compute, held: torch.Tensor) -> tuple[Callable[[], None], Outputs]:
        """Record ``compute(held)``.

        Returns:
            What plays it again on the values that ``held`` has then, and the tensors that it writes each time.

        Raises:
            RuntimeError: when something in it cannot be recorded, or memory runs out.
        """
        # the current stream is named so that it is current again, whatever a failed recording leaves behind
        current = torch.cuda.current_stream(held.device)
        with _ONE_AT_A_TIME, torch.cuda.device(held.device), torch.cuda.stream(current):
            stream = self._stream = self._stream or torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP):
                    compute(held)
            self._pool = self._pool or torch.cuda.graph_pool_handle()
            graph = torch.cuda.CUDAGraph()
            self._graphs.append(graph)
            # other threads of a server may use the device meanwhile: thread_local
            with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
                outputs = compute(held)
            torch.cuda.current_stream().wait_stream(stream)
        return graph.replay, outputs


class CapturedForward:
    """Computes by recordings of N, N / 2, ... frames down to 8; a batch takes the smallest that holds it.

    Args:
        compute: outputs of squares uint8 [n, S, S], each frame's by itself.
        size: N, frames of a full batch.
        record: how a pass is recorded.
        clock: seconds, until a recording is tried again.

    Attributes:
        failures: frames of each recording that there is none of, and why; as long as it is so.
    """

    def __init__(
        self, compute: Compute, size: int, record: Record | None = None, clock: Clock = time.monotonic
    ) -> None:
        self._compute, self._size, self._clock = compute, size, clock
        self._record = record or GraphRecorder()
        self.failures: dict[int, str] = {}
        self._again: dict[int, float] = {}  # when a recording that memory was too short for is tried again
        self._recorded: dict[int, _Recording | None] = {}  # None: it cannot be recorded
        self._lock = threading.Lock()  # a recording has one place for its input and one for its output

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
                held, play, outputs = recording
                held[:count].copy_(squares)
                play()
                return outputs.each(lambda part: part[:count].clone())  # the next batch is written over these
        return self._compute(squares)

    def _recorded_for(self, squares: torch.Tensor, size: int) -> _Recording | None:
        """The recording of this size, made when it is first needed; None where there can be none now."""
        if size not in self._recorded and self._clock() >= self._again.get(size, 0.0):
            self._make(squares, size)
            if size in self._again:  # after the error is gone, whose traceback holds tensors
                free_memory(squares.device)
        return self._recorded.get(size)

    def _make(self, squares: torch.Tensor, size: int) -> None:
        self._again.pop(size, None)
        try:
            held = squares.new_zeros((size, *squares.shape[1:]))
            self._recorded[size] = (held, *self._record(self._compute, held))
            self.failures.pop(size, None)
        except (RuntimeError, MemoryError) as problem:
            self.failures[size] = str(problem)
            if is_out_of_memory(problem):
                self._again[size] = self._clock() + AGAIN_SECONDS
            else:
                self._recorded[size] = None
            log.warning("batches of %d frames are computed without a CUDA graph (%s)", size, problem)
