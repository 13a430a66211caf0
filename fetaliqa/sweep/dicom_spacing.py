"""Pixel spacing of ultrasound DICOM files.

Geometry is never guessed: a contradictory calibration gives no spacing, and a note.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset

from fetaliqa.sweep.dicom_grey import group_items
from fetaliqa.sweep.volume_file import NO_SPACING_NOTE

CENTIMETRES = 3  # Physical Units X/Y Direction, PS3.3 C.8.5.5.1.15: the only unit of length among them
MM_PER_CM = 10.0
TISSUE_2D = 1  # Region Spatial Format "2D (tissue or flow)", PS3.3 C.8.5.5.1.1
TISSUE_DATA = (
    1,
    2,
    0,
)  # Region Data Type "tissue", "colour flow", "none", C.8.5.5.1.2; others are bars and traces
SAME = 0.005  # relative tolerance of equal spacings: files store few digits
ASPECT_TOLERANCE = 0.02  # of pixel aspect ratios, which are written as two small whole numbers
DOMINANT = 4.0  # the main image has at least this multiple of the area of every other region
ELSEWHERE = {  # spacings that do not refer to the body
    "ImagerPixelSpacing": "Imager Pixel Spacing (at the detector)",
    "NominalScannedPixelSpacing": "Nominal Scanned Pixel Spacing (of a scanned film)",
}

Spacing = tuple[float, float]


@dataclass(frozen=True)
class Calibration:
    """Pixel spacing (row, column) in mm, or None when the file has none, and notes for the user."""

    spacing: Spacing | None
    notes: tuple[str, ...] = ()


def same_spacing(first: Spacing | None, second: Spacing | None) -> bool:
    """Whether two spacings (or their absence) are equal up to rounding."""
    if first is None or second is None or first == second:
        return first == second
    return all(abs(a - b) <= SAME * max(abs(a), abs(b)) for a, b in zip(first, second))


def written(spacing: Spacing) -> str:
    """A spacing as text."""
    return " x ".join(f"{value:.4g}" for value in spacing)


def _is_tissue(region: Dataset) -> bool:
    if region.get("RegionSpatialFormat", TISSUE_2D) != TISSUE_2D:
        return False
    return region.get("RegionDataType", TISSUE_DATA[0]) in TISSUE_DATA


def _region_spacing(region: Dataset) -> Spacing | None:
    """Spacing of a two-dimensional image region calibrated in cm; its sign only says where y points."""
    if not _is_tissue(region):
        return None
    if any(region.get(f"PhysicalUnits{axis}Direction") != CENTIMETRES for axis in "XY"):
        return None
    deltas = region.get("PhysicalDeltaY"), region.get("PhysicalDeltaX")
    if any(delta is None for delta in deltas):
        return None
    row, column = (abs(float(delta)) * MM_PER_CM for delta in deltas)
    return row, column


def _is_uncalibrated(region: Dataset) -> bool:
    """Whether a region may be an image of the body, but has no unit."""
    units = [region.get(f"PhysicalUnits{axis}Direction") for axis in "XY"]
    return any(unit in (None, 0) for unit in units)


def _box(region: Dataset) -> tuple[int, ...] | None:
    """(left, top, right, bottom) of a region, last pixels included; None when it is missing."""
    corners = [region.get(f"RegionLocation{corner}") for corner in ("MinX0", "MinY0", "MaxX1", "MaxY1")]
    return None if any(corner is None for corner in corners) else tuple(int(corner) for corner in corners)


def _area(region: Dataset) -> int:
    """Pixels of a region; 0 when its location is missing."""
    left, top, right, bottom = _box(region) or (0, 0, -1, -1)
    return max(0, right - left + 1) * max(0, bottom - top + 1)


def _of_regions(regions: Sequence[Dataset]) -> Calibration | None:
    """Calibration of the ultrasound regions (Sequence of Ultrasound Regions, PS3.3 C.8.5.5); None without any."""
    tissue = [region for region in regions if _is_tissue(region)]
    calibrated = sorted(
        ((_area(region), spacing) for region in tissue if (spacing := _region_spacing(region)) is not None),
        key=lambda item: -item[0],
    )
    if not calibrated:
        return None
    area, spacing = calibrated[0]
    others = [item for item in calibrated[1:] if not same_spacing(item[1], spacing)]
    without = max((_area(region) for region in tissue if _is_uncalibrated(region)), default=0)
    notes = []
    if others and area < DOMINANT * max(size for size, _ in others):
        spacings = ", ".join(sorted({written(item[1]) for item in (calibrated[0], *others)}))
        return Calibration(
            None, (f"several ultrasound regions of different pixel spacing ({spacings} mm): no measurement in mm",)
        )
    if others:
        notes.append("pixel spacing of the largest of several ultrasound regions, which differ")
    if without and area < DOMINANT * without:
        return Calibration(
            None, ("one ultrasound region is calibrated in cm and another is not: no measurement in mm",)
        )
    return Calibration(spacing, tuple(notes))


def _measures(dataset: Dataset) -> Calibration:
    """Pixel Spacing, of the image or of its frames (enhanced multi-frame images)."""
    items = [dataset, *group_items(dataset, "PixelMeasuresSequence")]
    values = [item.get("PixelSpacing") for item in items]
    spacings = [(float(value[0]), float(value[1])) for value in values if value is not None and len(value) == 2]
    if not spacings:
        return Calibration(None)
    if any(not same_spacing(spacing, spacings[0]) for spacing in spacings):
        return Calibration(None, ("Pixel Spacing differs between frames: no measurement in mm",))
    return Calibration(spacings[0])


def _checked_aspect(dataset: Dataset, calibration: Calibration) -> Calibration:
    """Check the spacing against the pixel aspect ratio (vertical to horizontal, PS3.3 C.7.6.3.1.7)."""
    aspect = dataset.get("PixelAspectRatio")
    if aspect is None or len(aspect) != 2 or not all(float(side) > 0 for side in aspect):
        return calibration
    ratio, spacing = float(aspect[0]) / float(aspect[1]), calibration.spacing
    shape = f"{aspect[0]}:{aspect[1]}"
    if spacing is None:
        square = abs(ratio - 1) < ASPECT_TOLERANCE
        notes = () if square else (f"pixels are not square (aspect ratio {shape}); shown as stored",)
        return Calibration(None, (*calibration.notes, *notes))
    if spacing[1] > 0 and abs(spacing[0] / spacing[1] / ratio - 1) < ASPECT_TOLERANCE:
        return calibration
    note = f"pixel aspect ratio {shape} contradicts the pixel spacing {written(spacing)} mm: no measurement in mm"
    return Calibration(None, (*calibration.notes, note))


def read_calibration(dataset: Dataset) -> Calibration:
    """Return the pixel spacing of an ultrasound data set.

    The two-dimensional region calibrated in cm is used (Sequence of Ultrasound Regions, PS3.3 C.8.5.5); without
    one, Pixel Spacing. Several regions of different spacing are used only if one is much larger than the others.
    Any other contradiction gives no spacing.
    """
    regions = dataset.get("SequenceOfUltrasoundRegions") or []
    measures, calibration = _measures(dataset), _of_regions(regions)
    if calibration is None:
        calibration = measures
        if regions and measures.spacing is not None:
            calibration = Calibration(
                measures.spacing, ("no ultrasound region is calibrated in cm: Pixel Spacing counts",)
            )
        elif regions and not measures.notes:
            calibration = Calibration(None, ("no ultrasound region is calibrated in cm: no measurement in mm",))
    elif calibration.spacing and measures.spacing and not same_spacing(calibration.spacing, measures.spacing):
        note = f"Pixel Spacing {written(measures.spacing)} mm differs from the ultrasound region's, which counts"
        calibration = Calibration(calibration.spacing, (*calibration.notes, note))
    calibration = _checked_aspect(dataset, calibration)
    if calibration.spacing is None and not calibration.notes:
        unused = [name for keyword, name in ELSEWHERE.items() if dataset.get(keyword) is not None]
        note = f"{' and '.join(unused)} not used: no measurement in mm" if unused else NO_SPACING_NOTE
        return Calibration(None, (note,))
    return calibration
