"""Interactive segmentation of files: the model, decoded cases and encoded frames are kept in memory."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from fetaliqa.errors import BundleError, OptionError, RequestStopped
from fetaliqa.file_provenance import FileProvenance
from fetaliqa.inference.frame_measurement import outline_sizes
from fetaliqa.inference.interactive_segmentation import EncodedFrame, InteractiveSegmenter, Outlined, Prompts
from fetaliqa.inference.propagation import DEFAULT_LIMIT, Direction, Propagation, propagate
from fetaliqa.inference.shared_requests import SharedWork, Stopped
from fetaliqa.measure import fit_mask
from fetaliqa.measure.anatomy import Anatomy
from fetaliqa.measure.field_of_view import field_of_view
from fetaliqa.model.bundle_names import CARD_FILE
from fetaliqa.model.interactive_bundle import InteractiveBundle
from fetaliqa.registry.recent_values import RecentValues
from fetaliqa.sweep import Sweep, files_of, read_sweep

CASE_BYTES = 768 * 1024**2  # decoded cases; one of 840 x 562 x 744 has 335 MiB
FRAME_BYTES = 128 * 1024**2  # encoded frames, about 0.7 MiB each


@dataclass(frozen=True, eq=False)
class OpenCase:
    """A decoded case.

    Attributes:
        key: of the content of its files, for what is kept of its frames.
        sweep: the frames.
    """

    key: tuple[Any, ...]
    sweep: Sweep

    @cached_property
    def field_of_view(self) -> np.ndarray:
        """uint8 [H, W], 1 inside."""
        return field_of_view(self.sweep.frames)

    def check_frame(self, frame: int) -> None:
        """Check that there is such a frame.

        Raises:
            OptionError: when there is none.
        """
        if not 0 <= frame < self.sweep.frame_count:
            raise OptionError(f"frame {frame}: the image has frames 0 to {self.sweep.frame_count - 1}")


@dataclass(frozen=True, eq=False)
class SegmentedFrame:
    """The answer to prompts on a frame of a file.

    Attributes:
        outlined: mask and expected Dice.
        measurement: as an assessment has it of a frame: area, ellipse, circumference, warnings.
        latencies: seconds of reading, encoding and decoding, and in all.
    """

    outlined: Outlined
    measurement: dict[str, Any]
    latencies: dict[str, float]


class InteractiveService:
    """Segments frames of files with the interactive bundle.

    Args:
        folder: of the bundle; it may be missing, then ``installed`` is false.
        read: reads a case that is not kept here; the server gives one that knows the cases of its page.
        case_bytes, frame_bytes: bounds on the memory of decoded cases and of encoded frames.
    """

    def __init__(
        self,
        folder: Path,
        read: Callable[[Path], Sweep] = read_sweep,
        case_bytes: int = CASE_BYTES,
        frame_bytes: int = FRAME_BYTES,
    ) -> None:
        self._folder = Path(folder)
        self._read_sweep = read
        self._lock = threading.Lock()
        self._segmenter: InteractiveSegmenter | None = None
        self._cases: RecentValues[OpenCase] = RecentValues(case_bytes)
        self._frames: RecentValues[EncodedFrame] = RecentValues(frame_bytes)
        self._reading: SharedWork[OpenCase] = SharedWork()

    @property
    def installed(self) -> bool:
        """Whether there is a bundle with a usable card."""
        try:
            return bool(self.reference)
        except BundleError:
            return False

    @cached_property
    def reference(self) -> str:
        """Name of the model and the first digits of its fingerprint.

        Raises:
            BundleError: when there is no usable bundle.
        """
        return self._opened().reference

    def _opened(self) -> InteractiveBundle:
        if not (self._folder / CARD_FILE).is_file():
            raise BundleError("no interactive model is installed here; install fetaliqa again, or name its folder")
        return InteractiveBundle.open(self._folder)

    def load(self) -> InteractiveSegmenter:
        """The model, loaded on the first call.

        Raises:
            BundleError: when there is no usable bundle.
        """
        with self._lock:
            if self._segmenter is None:
                self._segmenter = InteractiveSegmenter(self._opened())
            return self._segmenter

    def open(self, path: Path, stopped: Stopped | None = None) -> OpenCase:
        """The case of a file, read once while it is in use.

        Raises:
            NotFoundError, SweepError: when it cannot be read.
        """
        key = _content_key(path)
        found = self._cases.get(key)
        if found is None:
            found, _ = self._reading.run(repr(key), lambda _: self._read(path, key), stopped=stopped)
        return found

    def _read(self, path: Path, key: tuple[Any, ...]) -> OpenCase:
        case = OpenCase(key, self._read_sweep(path))
        self._cases.put(key, case, case.sweep.frames.nbytes)
        return case

    def encoded(self, case: OpenCase, frame: int) -> EncodedFrame:
        """A frame of a case, encoded once while it is in use."""
        found = self._frames.get((case.key, frame))
        if found is None:
            found = self.load().encode(case.sweep.frames[frame])
            self._frames.put((case.key, frame), found, found.nbytes)
        return found

    def segment(
        self, path: Path, frame: int, prompts: Prompts, anatomy: Anatomy, stopped: Stopped | None = None
    ) -> SegmentedFrame:
        """Segment a frame of a file.

        Args:
            path: of the case.
            frame: its number, from 0.
            prompts: on that frame.
            anatomy: whose plausible sizes are warned about.
            stopped: asked whether the client has gone.

        Raises:
            OptionError: for a frame that is not there, or prompts that cannot be used.
            NotFoundError, SweepError: when the file cannot be read.
            BundleError: when there is no usable bundle.
        """
        started = time.perf_counter()
        segmenter = self.load()
        case = self.open(path, stopped)
        case.check_frame(frame)
        prompts.check(case.sweep.shape[1:])
        read = time.perf_counter()
        encoded = self.encoded(case, frame)
        encode = time.perf_counter()
        outlined = segmenter.segment(encoded, prompts)
        decode = time.perf_counter()
        fit = fit_mask(outlined.mask, case.sweep.spacing, case.field_of_view, anatomy)
        measurement = outline_sizes(outlined.mask, fit, case.sweep.spacing, anatomy)
        seconds = {"read": read - started, "encode": encode - read, "decode": decode - encode}
        seconds["total"] = time.perf_counter() - started
        return SegmentedFrame(outlined, measurement, {name: round(value, 4) for name, value in seconds.items()})

    def propagate(
        self,
        path: Path,
        frame: int,
        mask: np.ndarray,
        *,
        direction: Direction = "both",
        limit: int = DEFAULT_LIMIT,
        stopped: Stopped | None = None,
    ) -> tuple[Propagation, dict[str, float]]:
        """Carry a mask of a frame along its sweep; also returns seconds of reading, carrying, and in all.

        Raises:
            RequestStopped: when the client has gone.
            OptionError, NotFoundError, SweepError, BundleError: as :meth:`segment`.
        """
        started = time.perf_counter()
        segmenter = self.load()
        case = self.open(path, stopped)
        case.check_frame(frame)
        Prompts(mask=mask).check(case.sweep.shape[1:])
        read = time.perf_counter()

        def stop() -> None:
            if stopped is not None and stopped():
                raise RequestStopped()

        def encoded(number: int) -> EncodedFrame | None:
            return None if case.sweep.padding[number] else self.encoded(case, number)

        bounds = case.sweep.ranges[case.sweep.sweep_of(frame)]
        carried = propagate(segmenter, encoded, frame, mask, bounds, direction=direction, limit=limit, stop=stop)
        ended = time.perf_counter()
        seconds = {"read": read - started, "carry": ended - read, "total": ended - started}
        return carried, {name: round(value, 4) for name, value in seconds.items()}


def _content_key(path: Path) -> tuple[Any, ...]:
    """Changes when a file of the case changes."""
    try:
        return tuple(FileProvenance.of(one) for one in files_of(path))
    except OSError:
        return (str(path),)  # reading it says what is wrong
