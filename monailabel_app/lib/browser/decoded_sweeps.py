"""Sweeps in memory, decoded in a thread: a frame can be sent before the last one is decoded."""

from __future__ import annotations

import hashlib
import io
import threading
from collections import OrderedDict
from pathlib import Path

import numpy as np
from PIL import Image

from fetaliqa.active.frame_profiles import source_of
from fetaliqa.errors import FetalIQAError, OptionError, SweepError
from fetaliqa.sweep import Sweep
from fetaliqa.sweep.sweep_reader import decode_image, open_image, read_sweep

MAX_BYTES = 800 * 1024**2  # two cases of 840 x 562 x 744; the last one is kept whatever its size
JPEG_QUALITY = 90  # 55 kB and 2 ms for a noisy frame of 562 x 744; WebP takes 40 ms
WAIT_SECONDS = 120.0


class DecodedSweep:
    """The frames of one file.

    Args:
        path: of the file.

    Raises:
        FetalIQAError: when its header cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self._image, self._path = open_image(path), path
        self.spacing, self.shape = self._image.spacing, self._image.pixels.shape
        self._ready = threading.Condition()
        self._frames: np.ndarray | None = None
        self._count = 0
        self._sweep: Sweep | None = None
        self._error: FetalIQAError | None = None
        threading.Thread(target=self._decode, name="decode", daemon=True).start()

    def _decode(self) -> None:
        try:
            sweep = decode_image(self._image, self._path, decoded=self._decoded)
        except FetalIQAError as error:
            with self._ready:
                self._error = error
                self._ready.notify_all()
            return
        except Exception as error:  # noqa: BLE001 (a thread that ends silently would leave requests waiting)
            with self._ready:
                self._error = SweepError(f"{self._path.name}: cannot be decoded ({type(error).__name__})")
                self._ready.notify_all()
            return
        with self._ready:
            self._sweep, self._frames, self._count = sweep, sweep.frames, sweep.frame_count
            self.shape = sweep.shape
            self._ready.notify_all()

    def _decoded(self, frames: np.ndarray, count: int) -> None:
        with self._ready:
            self._frames, self._count = frames, count
            self._ready.notify_all()

    def frame(self, number: int) -> np.ndarray:
        """One frame, uint8 [H, W], as soon as it is decoded.

        Raises:
            OptionError: when there is no such frame.
            FetalIQAError: when the file cannot be decoded.
        """
        if not 0 <= number < self.shape[0]:
            raise OptionError(f"frame {number}: {self._path.name} has frames 0 to {self.shape[0] - 1}")
        self._wait(number + 1)
        assert self._frames is not None
        return self._frames[number]

    def sweep(self) -> Sweep:
        """The whole sweep.

        Raises:
            FetalIQAError: when the file cannot be decoded.
        """
        with self._ready:
            self._ready.wait_for(lambda: self._sweep is not None or self._error is not None, WAIT_SECONDS)
            if self._error is not None:
                raise self._error
            if self._sweep is None:
                raise SweepError(f"{self._path.name}: decoding takes too long; try again later")
            return self._sweep

    def _wait(self, count: int) -> None:
        with self._ready:
            # a still may be turned upright at the end: its frames are complete only then
            still = self.shape[0] == 1
            self._ready.wait_for(
                lambda: self._error is not None or self._sweep is not None or (not still and self._count >= count),
                WAIT_SECONDS,
            )
            if self._error is not None:
                raise self._error
            if self._frames is None or self._count < count:
                raise SweepError(f"{self._path.name}: decoding takes too long; try again later")

    @property
    def bytes(self) -> int:
        """Memory of all frames."""
        return int(np.prod(self.shape))


class DecodedSweeps:
    """The sweeps that were used last, within a bound on their memory.

    Args:
        max_bytes: of all sweeps together.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max = max_bytes
        self._lock = threading.Lock()
        self._sweeps: OrderedDict[tuple[Path, str], DecodedSweep] = OrderedDict()

    def get(self, path: Path) -> DecodedSweep:
        """The sweep of a file; another one when the file was replaced.

        Raises:
            FetalIQAError: when its header cannot be read.
        """
        key = path, source_of(path)
        with self._lock:
            sweep = self._sweeps.get(key)
            if sweep is None or sweep._error is not None:
                sweep = self._sweeps[key] = DecodedSweep(path)
            self._sweeps.move_to_end(key)
            while len(self._sweeps) > 1 and sum(one.bytes for one in self._sweeps.values()) > self._max:
                self._sweeps.popitem(last=False)
        return sweep

    def held(self, path: Path) -> DecodedSweep | None:
        """The sweep of a file if it is in memory."""
        with self._lock:
            return self._sweeps.get((path, source_of(path)))


def file_version(path: Path) -> str:
    """A short text that changes when the image file does."""
    return hashlib.sha256(source_of(path).encode()).hexdigest()[:16]


def jpeg(frame: np.ndarray, quality: int = JPEG_QUALITY) -> bytes:
    """A frame, uint8 [H, W] or RGB [H, W, 3], as JPEG."""
    written = io.BytesIO()
    Image.fromarray(frame).save(written, "JPEG", quality=quality)
    return written.getvalue()


def single_frame(path: Path, number: int) -> np.ndarray:
    """One frame without keeping the others: uint8 [H, W].

    Raises:
        FetalIQAError: when the file cannot be decoded.
    """

    class Found(Exception):
        pass

    found: list[np.ndarray] = []

    def decoded(frames: np.ndarray, count: int) -> None:
        if count > number and len(frames) > 1:
            found.append(frames[number].copy())
            raise Found

    try:
        return decode_image(open_image(path), path, decoded=decoded).frames[number]
    except Found:
        return found[0]


decoded_sweeps = DecodedSweeps()
"""The sweeps of this process."""


def decoded_or_read(path: Path) -> Sweep:
    """The sweep of a file: the one in memory if the page shows it, else read and not kept here.

    Raises:
        FetalIQAError: when the file cannot be decoded.
    """
    try:
        held = decoded_sweeps.held(path)
    except OSError:  # reading it says what is wrong
        held = None
    return read_sweep(path) if held is None else held.sweep()
