"""Pixel spacing of ultrasound DICOM files."""

from __future__ import annotations

from dataclasses import dataclass

from pydicom.dataset import Dataset

CENTIMETRES = 3  # Physical Units X/Y Direction, PS3.3 C.8.5.5.1.15
MM_PER_CM = 10.0
TISSUE_2D = 1  # Region Spatial Format "2D (tissue or flow)", PS3.3 C.8.5.5.1.1


@dataclass(frozen=True)
class Calibration:
    """Pixel spacing (row, column) in mm, or None when the file has none, and what to tell the user."""

    spacing: tuple[float, float] | None
    notes: tuple[str, ...] = ()


def _region_spacing(region: Dataset) -> tuple[float, float] | None:
    """Spacing of a two-dimensional image region calibrated in cm; its sign only says where y points."""
    if region.get("RegionSpatialFormat", TISSUE_2D) != TISSUE_2D:
        return None
    if any(region.get(f"PhysicalUnits{axis}Direction") != CENTIMETRES for axis in "XY"):
        return None
    deltas = region.get("PhysicalDeltaY"), region.get("PhysicalDeltaX")
    if any(delta is None for delta in deltas):
        return None
    row, column = (abs(float(delta)) * MM_PER_CM for delta in deltas)
    return row, column


def _area(region: Dataset) -> int:
    """Pixels of a region."""
    corners = [region.get(f"RegionLocation{corner}") for corner in ("MinX0", "MaxX1", "MinY0", "MaxY1")]
    if any(corner is None for corner in corners):
        return 0
    left, right, top, bottom = (int(corner) for corner in corners)
    return max(0, right - left) * max(0, bottom - top)


def read_calibration(dataset: Dataset) -> Calibration:
    """Return the pixel spacing of an ultrasound data set.

    The largest two-dimensional region calibrated in cm counts (Sequence of Ultrasound Regions, PS3.3
    C.8.5.5); without one, Pixel Spacing does.
    """
    found = []
    for region in dataset.get("SequenceOfUltrasoundRegions") or []:
        spacing = _region_spacing(region)
        if spacing is not None:
            found.append((_area(region), spacing))
    if found:
        spacing = max(found, key=lambda item: item[0])[1]
        different = len({(round(row, 6), round(column, 6)) for _, (row, column) in found}) > 1
        note = "pixel spacing of the largest of several ultrasound regions, which differ"
        return Calibration(spacing, (note,) if different else ())
    written = dataset.get("PixelSpacing")
    if written is not None and len(written) == 2:
        return Calibration((float(written[0]), float(written[1])))
    return Calibration(None)
