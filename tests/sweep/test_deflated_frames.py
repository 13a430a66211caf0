"""Streams put together from deflated frames are whole streams of what the frames hold."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from fetaliqa.sweep.deflated_frames import GzipWrapping, ZlibWrapping, deflated

SIZE = 40_000  # bytes of a frame: more than deflate's window
BOTH = pytest.mark.parametrize(("wrapping", "wbits"), [(ZlibWrapping, zlib.MAX_WBITS), (GzipWrapping, 31)])


def a_mask():
    mask = np.zeros((200, 200), np.uint8)
    mask[40:90, 30:120] = 1
    return mask.tobytes()


def noise(seed):
    return np.random.default_rng(seed).integers(0, 256, SIZE, np.uint8).tobytes()


def a_stream(wrapping, frames, begun=b""):
    parts = deflated(begun, (None if frame is None else memoryview(frame) for frame in frames), SIZE, wrapping())
    return b"".join(parts)


@BOTH
@pytest.mark.parametrize(
    "frames",
    [
        [],
        [None],
        [None] * 9,
        [a_mask()],
        [None, None, a_mask(), None, a_mask(), a_mask(), None],
        [noise(1), None, noise(2), noise(1)],
        [b"\xff" * SIZE] * 5 + [None],
    ],
    ids=["none", "an empty one", "empty ones", "a mask", "masks among empty ones", "noise", "full ones"],
)
@pytest.mark.parametrize("begun", [b"", b"a header"])
def test_the_stream_holds_the_frames_and_its_checksum_is_right(wrapping, wbits, frames, begun):
    reader = zlib.decompressobj(wbits)
    inflated = reader.decompress(a_stream(wrapping, frames, begun))
    assert inflated == begun + b"".join(bytes(SIZE) if frame is None else frame for frame in frames)
    assert reader.eof
    assert reader.unused_data == b""


def test_an_empty_frame_costs_what_deflate_needs_for_zeros():
    more, fewer = (len(a_stream(ZlibWrapping, [None] * count)) for count in (100, 50))
    assert (more - fewer) / 50 < SIZE / 1032 + 30  # deflate makes 1032 bytes one at most (zlib's technical notes)


@pytest.mark.parametrize("count", [1, 65521, 1_000_003])
def test_the_checksum_of_zeros_is_told_without_reading_them(count):
    ours = ZlibWrapping()
    ours.add(noise(3))
    ours.add_zeros(count)
    assert ours.trailer() == zlib.adler32(bytes(count), zlib.adler32(noise(3))).to_bytes(4, "big")
