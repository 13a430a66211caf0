"""Axes of NRRD files: their roles, directions in space, and units.

Fields: http://teem.sourceforge.net/nrrd/format.html. Sequences of 3D Slicer have a list axis, first or last:
https://slicer.readthedocs.io/en/latest/developer_guide/modules/sequences.html.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from fetaliqa.errors import SweepError
from fetaliqa.sweep.length_units import TRACKED_NOTE, millimetres, tracked_without_calibration, unknown_unit_note
from fetaliqa.sweep.sweep_types import Grid
from fetaliqa.sweep.volume_axes import Layout, check_sizes, frames_last, not_a_sweep
from fetaliqa.sweep.volume_file import check_frame_spacing, check_spacing, read_grid

SPACE, FRAMES, COLOUR, UNKNOWN, SINGLE = "space", "frames", "colour", "unknown", "single"
_ROLES = {
    SPACE: ("domain", "space"),
    FRAMES: ("list", "time"),
    COLOUR: ("rgb-color", "rgba-color", "3-color", "4-color", "vector", "covariant-vector"),
    UNKNOWN: ("???", "none"),
    SINGLE: ("stub", "scalar"),
}
_ROLE_OF = {kind: role for role, kinds in _ROLES.items() for kind in kinds}
COLOURS = (3, 4)
TIME_WORDS = ("t", "time", "frame", "frames", "s", "sec", "second", "seconds", "ms", "us")
"""Labels and units of a time axis."""

Vector = tuple[float, ...]


@dataclass(frozen=True)
class Axes:
    """The axes of a file.

    Attributes:
        sizes: size of each axis, fastest first.
        layout: layout of the frames.
        space: numbers of the spatial axes: columns, rows and, if any, the third.
        directions: step along each axis in space (None for other axes), if the header has directions.
        notes: notes for the user on ambiguous headers.
    """

    sizes: tuple[int, ...]
    layout: Layout
    space: tuple[int, ...]
    directions: tuple[Vector | None, ...] | None
    notes: tuple[str, ...] = ()


def _per_axis(fields: Mapping[str, str], key: str, count: int, name: str) -> list[str]:
    words = fields.get(key, "").split()
    if words and len(words) != count:
        raise SweepError(
            f"{name}: header line '{key}: {fields[key][:60]}' does not match its {count} dimensions; "
            "export the file again"
        )
    return words


def _directions(fields: Mapping[str, str], count: int, name: str) -> tuple[Vector | None, ...] | None:
    written = fields.get("space directions")
    if written is None:
        return None
    steps: list[Vector | None] = []
    for word in re.findall(r"\([^)]*\)|[^\s()]+", written):
        try:
            numbers = tuple(float(part) for part in word.strip("()").split(","))
        except ValueError:
            if word.lower() != "none":
                raise SweepError(
                    f"{name}: its 'space directions' are not numbers; export the file again"
                ) from None
            steps.append(None)
        else:  # pynrrd writes (nan,nan,nan) for none
            steps.append(None if np.isnan(numbers).all() else numbers)
    lengths = {len(vector) for vector in steps if vector is not None}
    if len(steps) != count or len(lengths) > 1 or not lengths <= {2, 3, 4}:
        raise SweepError(f"{name}: its 'space directions' do not match its dimensions; export the file again")
    return tuple(steps)


def _undecided(size: int, name: str) -> SweepError:
    return SweepError(
        f"{name}: its header does not say whether the {size} values along an axis are colours or frames; "
        "give the axes 'kinds' (RGB-color, list, domain)"
    )


def _roles(
    fields: Mapping[str, str], sizes: Sequence[int], directions: tuple[Vector | None, ...] | None, name: str
) -> tuple[list[str], tuple[str, ...]]:
    """Role of each axis, by its kind, else by whether it is spatial; and notes for the user."""
    kinds = [kind.lower() for kind in _per_axis(fields, "kinds", len(sizes), name)]
    roles = [UNKNOWN] * len(sizes)
    for axis, kind in enumerate(kinds):
        if kind not in _ROLE_OF:
            raise SweepError(
                f"{name}: axis kind {kind[:40]!r} holds neither frames nor RGB colours; export as .mha"
            )
        roles[axis] = _ROLE_OF[kind]
    notes: tuple[str, ...] = ()
    for axis, role in enumerate(roles):
        if role == SINGLE and sizes[axis] != 1:
            raise SweepError(f"{name}: axis kind {kinds[axis]!r} with {sizes[axis]} values; export the file again")
        if role != UNKNOWN:
            continue
        if directions is None and axis < 2 and _is_time(fields, axis, len(sizes)):
            roles[axis] = FRAMES  # without a kind, in place of columns or rows
        elif directions is None or directions[axis] is not None:
            roles[axis] = SPACE
        elif sizes[axis] == 1:
            roles[axis] = SINGLE
        elif sizes[axis] in COLOURS:
            raise _undecided(sizes[axis], name)
        else:
            roles[axis] = FRAMES
            notes = (f"the axis of {sizes[axis]} without direction and kind is read as frames",)
    if not kinds and directions is None and len(sizes) > 2 and sizes[0] in COLOURS:
        raise _undecided(sizes[0], name)
    return roles, notes


def _is_time(fields: Mapping[str, str], axis: int, count: int) -> bool:
    """Whether the unit or label of an axis is one of time."""
    words = [re.findall(r'"([^"]*)"', fields.get(key, "")) for key in ("units", "labels")]
    return any(len(of) == count and of[axis].strip().lower() in TIME_WORDS for of in words)


def find_axes(fields: Mapping[str, str], sizes: Sequence[int], name: str) -> Axes:
    """Find the roles of the axes.

    Raises:
        SweepError: when the file is not a single time series of grey or RGB frames, or is ambiguous.
    """
    check_sizes(sizes, name)
    directions = _directions(fields, len(sizes), name)
    roles, notes = _roles(fields, sizes, directions, name)
    where = {role: [axis for axis, each in enumerate(roles) if each == role] for role in _ROLES}
    space, frames, colour = where[SPACE], where[FRAMES], where[COLOUR]
    if len(frames) > 1 or len(colour) > 1 or len(space) < 2:
        raise not_a_sweep(sizes, name)
    if frames and "Segment0_ID" in fields:
        raise SweepError(f"{name}: is a layered segmentation of 3D Slicer, not a sweep; give the image")
    letters = {space[0]: "x", space[1]: "y"}
    letters |= dict.fromkeys(colour, "c")
    channels = sizes[colour[0]] if colour else 1
    if frames:
        if len(space) > 3 or (len(space) == 3 and sizes[space[2]] != 1):
            raise not_a_sweep(sizes, name)
        letters[frames[0]] = "t"
        on_a_list = len(space) == 3
        shape, dimensions = (sizes[frames[0]], sizes[space[1]], sizes[space[0]]), 4 if on_a_list else 3
    else:
        plain = frames_last([sizes[axis] for axis in space], name)
        letters |= {axis: "t" for axis in space[2:] if sizes[axis] == plain.shape[0] > 1}
        shape, dimensions = plain.shape, plain.dimensions
    order = "".join(letters[axis] for axis in sorted(letters, reverse=True))
    if "t" not in order:  # a single frame: its position is arbitrary
        order = f"t{order}"
    return Axes(tuple(sizes), Layout(shape, dimensions, order, channels), tuple(space), directions, notes)


def find_spacing(
    fields: Mapping[str, str], axes: Axes, name: str
) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    """(row, column) spacing in mm (None when it is missing or its unit is unknown), and notes for the user.

    Raises:
        SweepError: when it is not positive, or given twice with different values.
    """
    count = len(axes.sizes)
    words = _per_axis(fields, "spacings", count, name)
    try:
        written = [float(word) for word in words]
    except ValueError:
        raise SweepError(f"{name}: its 'spacings' are not numbers; export the file again") from None
    column, row = axes.space[:2]
    if axes.directions is not None:
        steps = _steps(axes, name)
        lengths = [float(np.linalg.norm(step)) for step in steps]
        check_spacing(lengths[:3], name)
        for axis, length in ((column, lengths[0]), (row, lengths[1])):
            if written and np.isfinite(written[axis]) and not np.isclose(written[axis], length, rtol=1e-4):
                raise SweepError(
                    f"{name}: its 'spacings' say {written[axis]:g}, its 'space directions' {length:g}; "
                    "correct the header"
                )
        if tracked_without_calibration(fields, lengths[:2]):
            return None, (TRACKED_NOTE,)
        units = _units(fields, "space units", len(steps[0]), name)
        # ITK and 3D Slicer write mm without a unit
        return _in_mm(np.array(steps[:2]), units or ["mm"] * len(steps[0]), "space units", name)
    if not written or np.isnan([written[column], written[row]]).all():
        return None, ()
    check_spacing([written[axis] for axis in axes.space if not np.isnan(written[axis])], name)
    check_spacing([written[column], written[row]], name)
    units = _units(fields, "units", count, name)
    if not units:
        return None, (unknown_unit_note("NRRD spacings without units", fields["spacings"]),)
    return _in_mm(np.diag([written[column], written[row]]), [units[column], units[row]], "units", name)


def _steps(axes: Axes, name: str) -> list[Vector]:
    """Step along each spatial axis.

    Raises:
        SweepError: when one of them has none.
    """
    steps = [step for axis in axes.space if (step := (axes.directions or ())[axis]) is not None]
    if len(steps) < len(axes.space):
        raise SweepError(f"{name}: its 'space directions' do not match its dimensions; export the file again")
    return steps


def _units(fields: Mapping[str, str], key: str, count: int, name: str) -> list[str]:
    """Units, quoted in the header; empty without the field."""
    units = re.findall(r'"([^"]*)"', fields.get(key, ""))
    if key in fields and len(units) != count:
        raise SweepError(
            f"{name}: header line '{key}: {fields[key][:60]}' does not match its axes; export it again"
        )
    return units


def _in_mm(
    steps: np.ndarray, units: Sequence[str], key: str, name: str
) -> tuple[tuple[float, float] | None, tuple[str, ...]]:
    """(row, column) spacing and notes for the user, from the steps along columns and rows [2, axes of units]."""
    factors = np.ones(len(units))
    for axis in np.flatnonzero(steps.any(axis=0)):
        factor = millimetres(units[axis])
        if factor is None:
            return None, (unknown_unit_note(f"NRRD {key}", units[axis]),)
        factors[axis] = factor
    column, row = (float(length) for length in np.linalg.norm(steps * factors, axis=1))
    spacing = check_frame_spacing((row, column), name)
    if (factors == 1).all():
        return spacing, ()
    other_units = ", ".join(unit for unit, factor in zip(units, factors) if factor != 1)
    return spacing, (f"pixel spacing in {other_units} by {key}, which ITK and 3D Slicer read as mm",)


def find_grid(fields: Mapping[str, str], axes: Axes, name: str) -> Grid:
    """Geometry of the frames, as read by SimpleITK and 3D Slicer."""
    count, layout = axes.layout.shape[0], axes.layout
    sizes = [axes.sizes[axis] for axis in axes.space]
    flat = len(sizes) == 2
    lines = ["NRRD0005", "type: uchar", "encoding: raw"]
    if axes.directions is None:
        words = fields.get("spacings", "").split()
        spacings = [float(words[axis]) if words else np.nan for axis in axes.space]
        if flat and layout.dimensions == 3:
            sizes, spacings = [*sizes, count], [*spacings, np.nan]
        lines.append("spacings: " + " ".join(map(repr, spacings)))
    else:
        steps = _steps(axes, name)
        own_space = len(steps[0])
        if flat and (layout.dimensions == 3 or own_space == 3):
            sizes, steps = [*sizes, count], _with_normal(steps)
            layout = replace(layout, dimensions=3)
        in_space, space = len(steps[0]), fields.get("space", "")
        if in_space != len(steps):
            raise SweepError(f"{name}: {len(steps)} axes in a space of {in_space}; export the file again")
        lines.append(
            f"space: {space}"
            if space and space.isascii() and own_space == in_space
            else f"space dimension: {in_space}"
        )
        lines.append("space directions: " + " ".join(map(_vector, steps)))
        origin = re.findall(r"\(([^)]*)\)", fields.get("space origin", ""))
        if origin:
            try:
                at = [float(part) for part in origin[0].split(",")]
            except ValueError:
                raise SweepError(f"{name}: its 'space origin' is not numbers; export the file again") from None
            lines.append("space origin: " + _vector([*at, *[0.0] * (in_space - len(at))]))
    lines[3:3] = [f"dimension: {len(sizes)}", "sizes: " + " ".join(map(str, sizes))]
    header = "\n".join([*lines, "", ""]).encode("ascii")
    grid = read_grid(header, ".nrrd", "NrrdImageIO", sizes, layout, name)
    return replace(grid, sequence=len(sizes) == 3 and layout.dimensions == 4)


def _vector(values: Sequence[float]) -> str:
    return "(" + ",".join(repr(float(value)) for value in values) + ")"


def _with_normal(steps: Sequence[Vector]) -> list[Vector]:
    """Two steps in a plane or in space, and a step of 1 mm along their normal."""
    first, second = (np.array([*step, 0.0][:3]) for step in steps)
    across = np.cross(first, second)
    length = float(np.linalg.norm(across))
    if length == 0:
        across, length = np.array([0.0, 0.0, 1.0]), 1.0  # reported as axes that do not span space
    return [tuple(first), tuple(second), tuple(across / length)]
