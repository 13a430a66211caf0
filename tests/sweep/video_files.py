"""Small videos, made with PyAV."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np

LOSSLESS = {"libx264": {"qp": "0"}, "libx265": {"x265-params": "log-level=none:lossless=1"}}


def a_loop() -> np.ndarray:
    """8 frames of 64 x 96, all different, smooth enough for lossy codecs."""
    y, x = np.mgrid[:64, :96]
    rings = [np.hypot(x - 48, (y - 32) * 1.2) < 20 + number for number in range(8)]
    return np.stack([np.where(ring, 90 + x + 5 * number, y) for number, ring in enumerate(rings)]).astype(np.uint8)


def a_video(
    target,
    frames: np.ndarray,
    codec: str,
    *,
    pixels: str = "yuv420p",
    form: str | None = None,
    times: list[int] | None = None,
    rotation: int = 0,
    aspect: Fraction | None = None,
    sound: bool = False,
) -> None:
    """Write frames, grey [T, H, W] or RGB [T, H, W, 3], to a path or an open file, at 25 frames a second."""
    with av.open(target, "w", format=form) as container:
        stream = container.add_stream(codec, rate=25, options=LOSSLESS.get(codec, {}))
        stream.height, stream.width, stream.pix_fmt, stream.bit_rate = *frames.shape[1:3], pixels, 20_000_000
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        if rotation:
            stream.set_display_rotation(rotation)
        silent = container.add_stream("aac", rate=44100) if sound else None
        for number, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="gray" if frame.ndim == 2 else "rgb24")
            picture = picture.reformat(format=pixels)
            picture.pts, picture.time_base = (times or range(len(frames)))[number], Fraction(1, 25)
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
        if silent is not None:
            sounds = av.AudioFrame.from_ndarray(np.zeros((1, 44100 * 3), np.float32), format="fltp", layout="mono")
            sounds.sample_rate = 44100
            container.mux(silent.encode(sounds))
            container.mux(silent.encode())


def video_bytes(frames: np.ndarray, codec: str, form: str) -> bytes:
    """A stream in memory, of an even length."""
    buffer = io.BytesIO()
    a_video(buffer, frames, codec, form=form)
    return buffer.getvalue() + b"\0" * (len(buffer.getvalue()) % 2)
