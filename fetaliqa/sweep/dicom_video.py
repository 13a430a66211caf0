"""Video streams in DICOM files (MPEG-2, MPEG-4 or HEVC transfer syntaxes, PS3.5 sections 8.2.5 to 8.2.8)."""

from __future__ import annotations

import bisect
import io
import itertools
from collections.abc import Sequence
from pathlib import Path

from fetaliqa.errors import SweepError
from fetaliqa.sweep.dicom_fragments import Fragment
from fetaliqa.sweep.dicom_layout import VIDEO_SYNTAXES, Layout, syntax_name
from fetaliqa.sweep.dicom_native import COUNTED_NOTE
from fetaliqa.sweep.video import SNIFFED, Stream, container_of, open_stream

ELEMENTARY = {"0": "mpegvideo", "7": "hevc", "8": "hevc"}  # streams without container, by the UID's last digit


class FragmentFile(io.RawIOBase):
    """The concatenated fragments of a file, as a file object."""

    def __init__(self, path: Path, fragments: Sequence[Fragment]) -> None:
        self._file = open(path, "rb")  # noqa: SIM115 closed by close()
        self._fragments = fragments
        self._starts = [0, *itertools.accumulate(fragment.length for fragment in fragments)]
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._starts[-1]}[whence]
        self._position = max(0, base + offset)
        return self._position

    def readinto(self, target) -> int:  # type: ignore[no-untyped-def]
        if self._position >= self._starts[-1]:
            return 0
        number = bisect.bisect_right(self._starts, self._position) - 1
        within = self._position - self._starts[number]
        fragment = self._fragments[number]
        self._file.seek(fragment.offset + within)
        data = self._file.read(min(len(target), fragment.length - within))
        target[: len(data)] = data
        self._position += len(data)
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def _kind(start: bytes, syntax: str) -> str:
    """FFmpeg's name of the container, or of the elementary stream."""
    figure = syntax[len(VIDEO_SYNTAXES) :][:1]
    return container_of(start) or ELEMENTARY.get(figure, "mpegvideo" if figure == "1" else "h264")


def open_dicom_video(
    path: Path, fragments: Sequence[Fragment], layout: Layout, written: int | None
) -> tuple[Stream, tuple[str, ...]]:
    """Open the stream, and check its frames against the header.

    Args:
        path: the file.
        fragments: fragments of its pixel data.
        layout: layout in the header.
        written: number of frames in the header; None if missing.

    Returns:
        The stream, and notes for the user.

    Raises:
        SweepError: when it has fewer frames than the header declares, frames of another size, or cannot be
            decoded.
    """

    def source() -> FragmentFile:
        return FragmentFile(path, fragments)

    with source() as file:
        kind = _kind(file.read(SNIFFED), str(layout.syntax))
    stream = open_stream(source, kind, f"{path.name} ({syntax_name(layout.syntax)})")
    rows, columns = stream.size
    if stream.size != (layout.rows, layout.columns):
        raise SweepError(
            f"{path.name}: its header is contradictory ({layout.rows} x {layout.columns}; the video is {rows} x "
            f"{columns}); export it again"
        )
    if written is None:
        return stream, (COUNTED_NOTE.format(count=stream.count),)
    if stream.count < written:
        raise SweepError(
            f"{path.name}: truncated, its video holds {stream.count} frames where its header declares {written}; "
            "copy or export it again"
        )
    if stream.count == written:
        return stream, ()
    return stream, (f"the header declares {written} frames, the video holds {stream.count}: all were read",)
