"""Diameters of the head from the ellipse of its outline: BPD and OFD, both outer to outer."""

from __future__ import annotations

from fetaliqa.measure.anatomy import HEAD, Anatomy
from fetaliqa.measure.ellipse import Ellipse

BPD, OFD = "bpd_mm", "ofd_mm"


def head_axes(
    ellipse: Ellipse | None, spacing: tuple[float, float] | None, anatomy: Anatomy
) -> dict[str, float | None]:
    """The shorter and the longer axis of a head's ellipse in mm, for the record; nothing of other anatomies.

    The outline runs along the outer border of the skull, so both are outer to outer. Calipers for a BPD are often
    set outer to inner (as for Hadlock's charts), which leaves out one thickness of the skull.

    Args:
        ellipse: in pixels of the frame; None where none fits.
        spacing: (row, column) in mm; None without one.
        anatomy: of the model.

    Examples:
        >>> head_axes(Ellipse(90.0, 80.0, 60.0, 45.0, 0.0), (0.5, 0.5), HEAD)
        {'bpd_mm': 45.0, 'ofd_mm': 60.0}
    """
    if anatomy != HEAD:
        return {}
    if ellipse is None or spacing is None:
        return {BPD: None, OFD: None}
    in_mm = ellipse.scaled(spacing[1], spacing[0])
    return {BPD: round(2 * in_mm.semi_minor, 2), OFD: round(2 * in_mm.semi_major, 2)}
