"""Data types of sweeps: grey frames in time order, pixel spacing, frame ranges, and file geometry."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from fetaliqa.errors import OptionError, SweepError
from fetaliqa.sweep import sweep_ranges
from fetaliqa.sweep.image_orientation import UPRIGHT
from fetaliqa.sweep.sweep_ranges import Ranges, SweepsOption

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Grid:
    """Geometry of a sweep's file as read by SimpleITK, for writing masks on the same grid.

    Attributes:
        spacing: pixel spacing along (x: column, y: row, frame), mm. The third has no physical meaning in a sweep,
            where frames are ordered by time.
        origin: position of the first pixel (LPS), mm.
        direction: 3 x 3 direction cosines, row by row.
        dimensions: 2 for a 2D image (``spacing[2]`` is then 1), 3 if the third axis is frames, 4 if the axes are
            columns, rows, a slice and frames.
        frame_spacing, frame_origin: along the fourth axis, if there is one.
        sequence: whether that axis is a list of images, as in sequences of 3D Slicer (.seq.nrrd).
        exif: EXIF orientation of a still. Frames are upright; the file's pixels, and the masks written for it,
            have the stored orientation.
    """

    spacing: tuple[float, float, float] = (1.0, 1.0, 1.0)
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[float, float, float, float, float, float, float, float, float] = IDENTITY
    dimensions: int = 3
    frame_spacing: float = 1.0
    frame_origin: float = 0.0
    sequence: bool = False
    exif: int = UPRIGHT


@dataclass(frozen=True, eq=False, repr=False)
class Sweep:
    """A stack of ultrasound frames with one or more consecutive blind sweeps.

    Attributes
    ----------
    frames
        uint8 [T, H, W], in time order. Treat as read-only: ``content_hash`` speaks for it.
    spacing
        (row, column) pixel spacing in mm, or None when the file carries none.
    ranges
        Half-open frame ranges, one per sweep; contiguous from 0 to T, so that each includes the black slots that
        pad its tail.
    grid
        Geometry of the file, for writing masks.
    source
        File or folder the sweep was read from, None for an array.
    case_id
        Name of the file without suffix, or of the folder.
    notes
        What reading changed or had to guess, one sentence each.
    """

    frames: np.ndarray
    spacing: tuple[float, float] | None
    ranges: Ranges
    grid: Grid
    source: Path | None
    case_id: str
    notes: tuple[str, ...] = field(default=())

    @property
    def frame_count(self) -> int:
        """Number of frame slots T, padding included."""
        return int(self.frames.shape[0])

    @property
    def shape(self) -> tuple[int, int, int]:
        """(T, H, W)."""
        count, height, width = self.frames.shape
        return int(count), int(height), int(width)

    @cached_property
    def padding(self) -> np.ndarray:
        """Bool [T], True for black padding slots, which are never assessed."""
        return sweep_ranges.black_slots(self.frames)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 (hex) of shape, spacing, ranges and pixels, independent of name, format and compression.

        Of decoded content, not of a file: equal content has one assessment. Unlike a label's ``pixels_sha256`` it
        covers spacing and ranges, which assessments depend on. Computed when first asked for: it reads all pixels.
        """
        return _content_hash(self.frames, self.spacing, self.ranges)

    def __repr__(self) -> str:
        count, height, width = self.shape
        pixels = "without spacing" if self.spacing is None else "of {:g} x {:g} mm".format(*self.spacing)
        frames = f"{count} frame{'s' * (count != 1)} of {height} x {width} pixels {pixels}"
        return f"Sweep({self.case_id!r}, {frames}, {len(self.ranges)} sweep{'s' * (len(self.ranges) != 1)})"

    def sweep_of(self, frame: int) -> int:
        """Return the 0-based sweep that holds ``frame``.

        Raises:
            OptionError: when there is no such frame.
        """
        for index, (start, stop) in enumerate(self.ranges):
            if start <= frame < stop:
                return index
        raise OptionError(f"frame {frame}: {self.case_id} has frames 0 to {self.frame_count - 1}")


def _content_hash(frames: np.ndarray, spacing: tuple[float, float] | None, ranges: Ranges) -> str:
    """SHA-256 (hex) of a sweep's content, computed without a copy.

    Args:
        frames: uint8 [T, H, W], C-contiguous.
        spacing: (row, column) in mm, or None.
        ranges: half-open frame ranges.
    """
    described = json.dumps(
        {
            "shape": [int(length) for length in frames.shape],
            "spacing": None if spacing is None else [repr(float(value)) for value in spacing],
            "ranges": [[int(start), int(stop)] for start, stop in ranges],
        },
        sort_keys=True,
    )
    digest = hashlib.sha256(described.encode("ascii"))
    digest.update(frames.data.cast("B"))
    return digest.hexdigest()


def build_sweep(
    frames: np.ndarray,
    spacing: tuple[float, float] | None,
    sweeps: SweepsOption,
    *,
    grid: Grid,
    source: Path | None,
    case_id: str,
    notes: tuple[str, ...] = (),
) -> Sweep:
    """Build a ``Sweep``: resolve the ranges, and check that not all frames are black.

    Args:
        frames: uint8 [T, H, W], C-contiguous.
        spacing: (row, column) in mm, or None.
        sweeps: number of equal sweeps, explicit ranges, or None to infer them from the black tails.
        grid: geometry of the file.
        source: where the pixels came from.
        case_id: name of the case.
        notes: what reading changed.

    Raises:
        SweepError: when every frame is black.
        OptionError: when ``sweeps`` does not fit the number of frames.
    """
    padding = sweep_ranges.black_slots(frames)
    if padding.all():
        name = case_id if source is None else source.name
        raise SweepError(
            f"{name}: has no frame with an image (no pixel of its {len(frames)} frames is brighter than "
            f"{sweep_ranges.BLACK_LEVEL} of 255); check that it is not a mask file"
        )
    ranges = sweep_ranges.resolve(sweeps, padding, case_id)
    sweep = Sweep(frames, spacing, ranges, grid, source, case_id, notes)
    sweep.__dict__["padding"] = padding  # fills the cached property
    return sweep


def sweep_from_array(
    frames: np.ndarray,
    spacing: tuple[float, float] | None = None,
    sweeps: SweepsOption = None,
    case_id: str = "array",
) -> Sweep:
    """Create a sweep from an array.

    Parameters
    ----------
    frames
        uint8 [T, H, W], or [H, W] for a single frame. Not copied when C-contiguous.
    spacing
        (row, column) pixel spacing in mm, or None: then nothing is measured in mm.
    sweeps
        As for ``read_sweep``.
    case_id
        Name of the case.

    Returns
    -------
    Sweep
        On a grid of its own at the origin.

    Raises
    ------
    SweepError
        When the array has another type or shape, a spacing is not positive, or all is black.
    OptionError
        When ``sweeps`` does not fit the number of frames.

    Examples
    --------
    >>> import numpy
    >>> sweep_from_array(numpy.full((3, 4, 5), 128, "uint8"), spacing=(0.5, 0.5))
    Sweep('array', 3 frames of 4 x 5 pixels of 0.5 x 0.5 mm, 1 sweep)
    """
    frames = np.asarray(frames)
    if frames.ndim == 2:
        frames = frames[None]
    if frames.dtype != np.uint8 or frames.ndim != 3 or 0 in frames.shape:
        raise SweepError(
            f"{case_id}: {frames.dtype} array of shape {frames.shape}; a sweep is uint8 [frames, rows, columns]"
        )
    grid = Grid()
    if spacing is not None:
        row, column = (float(value) for value in spacing)
        if not all(np.isfinite(value) and value > 0 for value in (row, column)):
            raise SweepError(f"{case_id}: pixel spacing {row:g} x {column:g} mm; both must be positive numbers")
        spacing = (row, column)
        grid = Grid(spacing=(column, row, 1.0))
    return build_sweep(np.ascontiguousarray(frames), spacing, sweeps, grid=grid, source=None, case_id=case_id)
