"""Video frames of .mp4, .mov, .avi and .mkv files and of DICOM video streams, decoded with PyAV (FFmpeg).

Frames are decoded one at a time. The format is determined by the file's first bytes, not by FFmpeg: some formats
that it detects refer to other files.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import re
import statistics
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from fetaliqa.errors import SweepError
from fetaliqa.size_limits import check_unpacked_size
from fetaliqa.sweep.image_folder import MAX_FRAME_PIXELS
from fetaliqa.sweep.pixel_conversion import LUMA_NOTE, Pixels, luma
from fetaliqa.sweep.sweep_types import Grid
from fetaliqa.sweep.volume_file import NO_SPACING_NOTE, OpenImage

VIDEO_SUFFIXES = (".mp4", ".mov", ".avi", ".mkv")
MOV_ATOMS = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")  # first atom of an MP4 or QuickTime file
TRANSPORT_PACKET = 188  # bytes between the sync bytes of an MPEG transport stream
SNIFFED = 2 * TRANSPORT_PACKET
LIMITED_BLACK, LIMITED_SPAN = 16.0, 219.0  # luma of "TV" range, of 255 (ITU-R BT.601)
FULL_RANGE, LIMITED_RANGE = 2, 1  # FFmpeg's AVColorRange
STEADY = 0.25  # relative deviation of frame times beyond which the frame rate is variable
LOST_END = 0.75  # frames by which a file may be shorter than its declared (rounded) length
ROTATION_STEP = 90  # degrees

Source = Callable[[], Any]  # returns a path or an open binary file


@dataclass(frozen=True)
class Stream:
    """An opened video stream.

    Attributes:
        source: function that returns a path or an open file to decode.
        name: the file, for messages.
        kind: FFmpeg's name of the container.
        count: number of frames, counted from the packets.
        size: (rows, columns) after rotation.
        turns: quarter turns counterclockwise from stored to displayed frames.
        codec: its name.
        notes: notes for the user.
    """

    source: Source
    name: str
    kind: str
    count: int
    size: tuple[int, int]
    turns: int
    codec: str
    notes: tuple[str, ...]

    def frames(self) -> Iterator[np.ndarray]:
        """Yield grey frames [H, W], uint8.

        Raises:
            SweepError: when a frame is damaged, or the number of frames differs.
        """
        number = 0
        with _opened(self.source(), self.kind, self.name) as (container, stream), _errors(self.name, self.codec):
            stream.thread_type = "AUTO"
            for frame in container.decode(stream):
                if frame.is_corrupt:
                    raise SweepError(f"{self.name}: frame {number} is damaged; copy or export the video again")
                grey = np.rot90(grey_of(frame), self.turns)
                if grey.shape != self.size or number == self.count:
                    break
                yield grey
                number += 1
            else:
                grey = None
        if grey is not None and grey.shape != self.size:
            raise SweepError(f"{self.name}: frame {number} has another size than those before; export it again")
        if number < self.count or grey is not None:
            raise SweepError(
                f"{self.name}: {number}{'' if grey is None else ' and more'} frames can be decoded where "
                f"{self.count} are in the file ({self.codec}); export the video again"
            )


def _pyav(name: str) -> Any:
    try:
        import av
    except ImportError:
        raise SweepError(
            f"{name}: reading video needs PyAV; install it with `pip install fetaliqa[video]`"
        ) from None
    return av


def container_of(start: bytes) -> str | None:
    """FFmpeg's name of a container, from the first bytes of a file; None for unsupported ones."""
    if start[:4] == b"RIFF" and start[8:12] == b"AVI ":
        return "avi"
    if start[:4] == b"\x1a\x45\xdf\xa3":
        return "matroska"
    if start[4:8] in MOV_ATOMS:
        return "mov"
    if start[:1] == b"\x47" and start[TRANSPORT_PACKET : TRANSPORT_PACKET + 1] == b"\x47":
        return "mpegts"
    if start[:4] == b"\x00\x00\x01\xba":
        return "mpeg"
    return "mpegvideo" if start[:4] == b"\x00\x00\x01\xb3" else None


@contextmanager
def _errors(name: str, codec: str) -> Iterator[None]:
    """Convert FFmpeg's errors to a SweepError."""
    error_type = _pyav(name).error.FFmpegError
    try:
        yield
    except error_type as error:
        raise SweepError(
            f"{name}: its video ({codec}) is truncated or damaged ({error.strerror}); copy or export it again"
        ) from None


@contextmanager
def _opened(source: Any, kind: str, name: str) -> Iterator[tuple[Any, Any]]:
    """The container and its video stream."""
    av = _pyav(name)
    with _errors(name, kind):
        container = av.open(source, format=kind, metadata_errors="replace")
    with container:
        streams = [stream for stream in container.streams.video if not stream.disposition & ATTACHED_PICTURE]
        if not streams:
            raise SweepError(f"{name}: no video stream found; copy it again, or give another file")
        stream = streams[0]
        if stream.codec_context is None:
            raise SweepError(
                f"{name}: its video codec ({_codec_mark(source)}) cannot be decoded; export it as H.264"
            )
        yield container, stream


ATTACHED_PICTURE = 0x0400  # FFmpeg's AV_DISPOSITION_ATTACHED_PIC: a cover


def open_stream(source: Source, kind: str, name: str) -> Stream:
    """Inspect a video: count its packets, and decode its first frame.

    Raises:
        SweepError: when it is truncated or damaged, holds no video, or its codec cannot be decoded.
        UnpackedTooLarge: when its decoded frames exceed the size limit.
    """
    with _opened(source(), kind, name) as (container, stream):
        codec = stream.codec_context.name
        if stream.codec_context.width * stream.codec_context.height > MAX_FRAME_PIXELS:
            raise SweepError(
                f"{name}: frames of more than {MAX_FRAME_PIXELS:,} pixels; export it at the scanner's size"
            )
        with _errors(name, codec):
            count, stored, times = 0, 0, []
            for packet in container.demux(stream):
                if packet.is_corrupt:
                    raise SweepError(
                        f"{name}: its video ({codec}) is truncated or damaged; copy or export it again"
                    )
                if packet.size:
                    count, stored = count + 1, stored + packet.size
                    if not packet.is_discard:
                        times.append((packet.pts, packet.duration))
            if not times:
                raise SweepError(f"{name}: its video ({codec}) holds no frames; copy or export it again")
            _check_complete(container, stream, count, times, name)
        notes = _notes(container, stream, times)
    with _opened(source(), kind, name) as (container, stream), _errors(name, codec):
        first = next(container.decode(stream), None)
        if first is None:
            raise SweepError(f"{name}: no frame of its video ({codec}) can be decoded; export it as H.264")
        turns, turn_notes = _turns(first)
        rows, columns = np.rot90(np.empty((first.height, first.width), bool), turns).shape
        check_unpacked_size(name, len(times) * rows * columns, stored)
        notes += [*turn_notes, *_frame_notes(first)]
    return Stream(source, name, kind, len(times), (rows, columns), turns, codec, tuple(notes))


CODEC_MARKS = (rb"strh.{4}vids(.{4})", rb"stsd.{12}(.{4})", rb"\x86.(V_[A-Z0-9/_]+)")
"""Patterns of the codec name in AVI, MP4 or MOV, and MKV files."""
MARKED_BYTES = 1 << 20  # part at either end of a file that is searched for the codec name


def _codec_mark(source: Any) -> str:
    """The name of a codec that FFmpeg does not support."""
    with open(source, "rb") if isinstance(source, str) else contextlib.nullcontext(source) as file:
        file.seek(0, io.SEEK_END)
        size = file.tell()
        for place in (0, max(0, size - MARKED_BYTES)):
            file.seek(place)
            data = file.read(MARKED_BYTES)
            for mark in CODEC_MARKS:
                match = re.search(mark, data, re.DOTALL)
                if match:
                    return "".join(chr(byte) if 32 < byte < 127 else "?" for byte in match[1])
    return "without a name"


def _check_complete(container: Any, stream: Any, count: int, times: list, name: str) -> None:
    """Check that a file is not shorter than its header declares."""
    if count < stream.frames:
        raise SweepError(
            f"{name}: truncated, {count} of {stream.frames} frames are there; copy or export it again"
        )
    if stream.frames:
        return
    length = stream.duration and stream.duration * stream.time_base
    if not length and len(container.streams) == 1 and container.duration:
        length = Fraction(container.duration, 1_000_000)
    stamps = [(pts, duration or 0) for pts, duration in times if pts is not None]
    if not (length and stamps and stream.average_rate):
        return
    end = max(pts + duration for pts, duration in stamps) * stream.time_base
    start = (stream.start_time or 0) * stream.time_base
    if end - min(start, 0) < length - LOST_END / stream.average_rate:
        raise SweepError(
            f"{name}: truncated, {float(end):.2f} of {float(length):.2f} seconds are there; copy it again"
        )


def _notes(container: Any, stream: Any, times: list) -> list[str]:
    notes = []
    if len(container.streams.video) > 1:
        notes.append(f"the first of {len(container.streams.video)} video streams")
    stamps = sorted(pts for pts, _ in times if pts is not None)
    steps = [later - earlier for earlier, later in itertools.pairwise(stamps)]
    usual = statistics.median(steps) if steps else 0
    if any(abs(step - usual) > max(1, STEADY * usual) for step in steps):
        notes.append("variable frame rate: frames are counted, not timed")
    aspect = stream.sample_aspect_ratio
    if aspect and aspect != 1:
        notes.append(
            f"pixels are not square (aspect ratio {aspect.denominator}:{aspect.numerator}); shown as stored"
        )
    return notes


def _turns(frame: Any) -> tuple[int, list[str]]:
    """Quarter turns counterclockwise in the file's display matrix, and notes for the user."""
    rotation = frame.rotation
    turns = round(rotation / ROTATION_STEP) % 4
    notes = [f"turned by {ROTATION_STEP * turns} degrees counterclockwise, as the file says"] if turns else []
    if abs(rotation - ROTATION_STEP * round(rotation / ROTATION_STEP)) > 1:
        notes = [f"rotation of {rotation:g} degrees in the file: turned to the next quarter"]
    matrix = next((data for data in frame.side_data if "DISPLAYMATRIX" in str(data.type)), None)
    if matrix is not None:
        a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
        if a * d - b * c < 0:
            notes.append("mirrored in the file's display matrix: shown as stored")
    return turns, notes


def _frame_notes(frame: Any) -> list[str]:
    notes = [] if frame.format.name.startswith("gray") else [LUMA_NOTE]
    if frame.format.components[0].bits > 8:
        notes.append(f"{frame.format.components[0].bits}-bit video reduced to 8 bits")
    if frame.interlaced_frame:
        notes.append("interlaced video: each frame shows two moments")
    return notes


def grey_of(frame: Any) -> np.ndarray:
    """Grey values of a decoded frame.

    Luma is used directly, scaled to 0 to 255 if it has the limited range (the default of all formats but JPEG);
    RGB is reduced to luma.

    Returns:
        uint8 [H, W].
    """
    name, depth = frame.format.name, frame.format.components[0].bits
    if name == "pal8" or any(order in name for order in ("rgb", "bgr", "gbr")):
        return luma(frame.to_ndarray(format="rgb24"))
    if depth > 8:
        wide = frame.to_ndarray(format="gray16le").astype(np.uint32)
        return ((wide * 255 + 32767) // 65535).astype(np.uint8)
    if name in ("yuyv422", "uyvy422", "yvyu422"):
        frame = frame.reformat(format="yuv422p")
    plane = frame.planes[0]
    grey = np.frombuffer(plane, np.uint8).reshape(plane.height, plane.line_size)[:, : plane.width]
    assumed = FULL_RANGE if name.startswith(("gray", "yuvj")) else LIMITED_RANGE
    if (frame.color_range or assumed) == FULL_RANGE:
        return grey
    return _FULL_OF_LIMITED[grey]


_FULL_OF_LIMITED = np.rint(np.clip((np.arange(256) - LIMITED_BLACK) / LIMITED_SPAN, 0, 1) * 255).astype(np.uint8)


def open_video(path: Path) -> OpenImage:
    """Open a video file, which has no pixel spacing.

    Raises:
        SweepError: when it is not a video, truncated or damaged, or its codec is not supported.
    """
    with open(path, "rb") as file:
        kind = container_of(file.read(SNIFFED))
    if kind not in ("avi", "matroska", "mov"):
        raise SweepError(f"{path.name}: is not an MP4, MOV, AVI or MKV video; export it again")
    stream = open_stream(lambda: str(path), kind, path.name)
    notes = (*stream.notes, NO_SPACING_NOTE)
    pixels = Pixels((stream.count, *stream.size), lambda: (frame[None] for frame in stream.frames()), notes)
    return OpenImage(pixels, Grid(), None)
