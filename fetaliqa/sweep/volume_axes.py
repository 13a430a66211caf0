"""Layout of the axes of a volume file: columns, rows, frames, values per pixel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fetaliqa.errors import SweepError

STREAMED = "tyx"  # order of axes, slowest first, with consecutive frames


@dataclass(frozen=True)
class Layout:
    """Layout of frames in a file.

    Attributes:
        shape: (T, H, W).
        dimensions: dimensions of the grid: 2 for a 2D image, 3 for columns x rows x frames, 4 for
            columns x rows x 1 x frames.
        order: axes with more than one entry, slowest first: t frames, y rows, x columns, c values per pixel.
        channels: values per pixel.
    """

    shape: tuple[int, int, int]
    dimensions: int
    order: str = STREAMED
    channels: int = 1


def times(sizes: Sequence[int]) -> str:
    """``744 x 562 x 840``."""
    return " x ".join(str(size) for size in sizes)


def check_sizes(sizes: Sequence[int], name: str) -> None:
    """Check that every axis has pixels.

    Raises:
        SweepError: when an axis is empty.
    """
    if min(sizes, default=0) < 1:
        raise SweepError(f"{name}: size {times(sizes)}; every dimension must hold at least one pixel")


def not_a_sweep(sizes: Sequence[int], name: str) -> SweepError:
    """The error for a file that is not a single time series of frames."""
    return SweepError(
        f"{name}: {len(sizes)} dimensions ({times(sizes)}); a sweep has 3 (columns x rows x frames) or 4 "
        "(columns x rows x 1 x frames), a single image 2: export one time series of grey frames"
    )


def frames_last(sizes: Sequence[int], name: str) -> Layout:
    """The layout of a grey image whose first axes are columns and rows.

    Args:
        sizes: along (columns, rows), (columns, rows, frames), (columns, rows, 1, frames) or
            (columns, rows, frames, 1).
        name: the file, for messages.

    Raises:
        SweepError: when there are fewer or more dimensions, an empty one, or a time series of volumes.
    """
    check_sizes(sizes, name)
    sizes = list(sizes)
    if len(sizes) == 4 and sizes[3] == 1:
        sizes.pop()
    if len(sizes) not in (2, 3, 4) or (len(sizes) == 4 and sizes[2] != 1):
        raise not_a_sweep(sizes, name)
    width, height = sizes[:2]
    return Layout((sizes[-1] if len(sizes) > 2 else 1, height, width), len(sizes))
