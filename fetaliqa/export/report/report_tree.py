"""Content tree of the measurement report: DICOM PS3.16 template TID 1500, made with highdicom.

Each outlined frame has two groups of TID 1410: the fitted ellipse with its circumference, and the outline with its
area. A group of TID 1501 holds what was derived from several frames: the measurement of the case, age, centile and
weight. Coordinates are those of PS3.3 section C.18.6: (0, 0) is the corner of the first pixel, whose centre is
(0.5, 0.5).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import highdicom.sr as sr
import numpy as np
from pydicom.sr.coding import Code

from fetaliqa import __version__
from fetaliqa.export.dicom_parts import MANUFACTURER, MODEL_NAME, uid
from fetaliqa.export.dicom_review_state import TYPES, line_of
from fetaliqa.export.frame_of_image import FrameOfImage
from fetaliqa.export.pixel_outlines import pixel_polygons
from fetaliqa.export.report import report_codes as codes
from fetaliqa.export.report.report_codes import Concept
from fetaliqa.export.report.report_content import OutlinedFrame, ReportContent, axes_of
from fetaliqa.measure.ellipse import Ellipse
from fetaliqa.measure.outline import main_component

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

OUTER = "BPD and OFD are the axes of the ellipse, outer to outer."
NOT_CLINICAL = "Not for clinical use."
UNCONFIRMED = "Outlines and measurements are a model's; nobody has confirmed them."
PIXEL_CENTRE = 0.5  # of the first pixel, in DICOM's coordinates
MAX_ERROR_PX = 1.0  # of the outline's polygon; the exact mask is in the segmentation
BY_HEADER = "DICOM"  # source of an age: the image's header
GIVEN_BY = {
    BY_HEADER: "the Last Menstrual Date of the image's header",
    "--ga": "the user (--ga)",
    "table": "a table of ages (--ga-table)",
}
FETUS_ID = "1"  # the software sees one fetus, and cannot tell twins apart
NAME_LENGTH = 64  # characters of a person's name


def content_of(report: ReportContent, *key: object) -> sr.MeasurementReport:
    """The content tree.

    Args:
        report: what it says.
        key: identifies the report; the same key gives the same tracking UIDs.
    """
    groups = [group for frame in report.frames for group in _groups_of(report, frame, key)]
    groups += _case_groups(report, key)
    tree = sr.MeasurementReport(
        observation_context=_observed_by(report),
        procedure_reported=_code(codes.PROCEDURE),
        imaging_measurements=groups,
        title=Code("126000", "DCM", "Imaging Measurement Report"),
    )
    for sentence in (NOT_CLINICAL, *(() if report.confirmed else (UNCONFIRMED,)), *report.notes):
        tree[0].ContentSequence.append(_text(codes.COMMENT, sentence))
    _separate(tree[0])
    return tree


def _separate(item: Dataset) -> None:
    """Items of containers are separate, not a text: programs that show them then name each one."""
    if item.ValueType == "CONTAINER":
        item.ContinuityOfContent = "SEPARATE"
    for inner in item.get("ContentSequence", ()):
        _separate(inner)


def _code(concept: Concept) -> Code:
    return Code(concept.value, concept.scheme, concept.meaning)


def _text(concept: Concept, text: str, relation: str = "CONTAINS") -> sr.TextContentItem:
    return sr.TextContentItem(name=_code(concept), value=text, relationship_type=relation)


def _observed_by(report: ReportContent) -> sr.ObservationContext:
    """Observers: the software, and each rater; the subject: the fetus."""
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=uid("software", MANUFACTURER, __version__),
        name=MANUFACTURER,
        manufacturer_name=MANUFACTURER,
        model_name=f"{MODEL_NAME} {__version__}",
    )
    context = sr.ObservationContext(
        observer_device_context=sr.ObserverContext(sr.CodedConcept("121007", "DCM", "Device"), device),
        subject_context=sr.SubjectContext(sr.CodedConcept(*codes.FETUS), sr.SubjectContextFetus(FETUS_ID)),
    )
    people = [
        item
        for rater in report.raters
        for item in sr.ObserverContext(
            sr.CodedConcept("121006", "DCM", "Person"), sr.PersonObserverIdentifyingAttributes(person(rater))
        )
    ]
    for place, item in enumerate(people):  # people first, as in TID 1001
        context.insert(place, item)
    return context


def person(name: str) -> str:
    """A person name with one component (caret)."""
    return f"{line_of(name.replace('^', ' ').replace('=', ' '))[: NAME_LENGTH - 1]}^"


def _groups_of(report: ReportContent, frame: OutlinedFrame, key: Sequence[object]) -> list[Any]:
    """The groups of a frame: what was fitted, with its size, where there is one, and the outline with its area.

    A line has no area: the width of its mask is drawn, not measured.
    """
    name = report.anatomy.measurement
    length = []
    if frame.size_mm is not None:
        measured = _number(codes.MEASUREMENTS[name], frame.size_mm, codes.MILLIMETRE)
        length = [_with_interval(measured, frame.size_mm, frame.interval_mm), *_axes(frame.axes_mm)]
    area = []
    if frame.area_mm2 is not None and not report.anatomy.is_line:
        area = [_number(codes.AREA, frame.area_mm2, codes.SQUARE_MILLIMETRE)]
    groups = []
    if (fitted := _fitted(frame)) is not None:
        kind, shape, points = fitted
        what = f"{shape} of {name}" if length else f"fitted {shape}"
        region = _region(kind, points, frame.place)
        groups.append(_region_group(report, frame, f"{what}, {frame.name}", region, length, key))
        length = []
    region = _region("POLYLINE", _outline(frame.mask), frame.place)
    groups.append(_region_group(report, frame, f"outline, {frame.name}", region, length + area, key))
    for remark in frame.remarks:
        groups[0][0].ContentSequence.append(_text(codes.COMMENT, remark))
    return groups


def _region(kind: str, points: np.ndarray, place: FrameOfImage) -> sr.ImageRegion:
    source = sr.SourceImageForRegion(
        place.image.SOPClassUID, place.image.SOPInstanceUID, None if place.number is None else [place.number]
    )
    return sr.ImageRegion(kind, points, source)


def _region_group(
    report: ReportContent,
    frame: OutlinedFrame,
    name: str,
    region: sr.ImageRegion,
    measurements: list[sr.Measurement],
    key: Sequence[object],
) -> Any:
    return sr.PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(name, key),
        referenced_region=region,
        finding_type=_anatomy(report),
        finding_sites=[sr.FindingSite(_anatomy(report))],
        algorithm_id=_algorithm(frame),
        measurements=measurements,
    )


def _tracking(name: str, key: Sequence[object]) -> sr.TrackingIdentifier:
    return sr.TrackingIdentifier(uid=uid("tracking", name, *key), identifier=name)


def _anatomy(report: ReportContent) -> Code:
    value, meaning = TYPES[report.anatomy.name]
    return Code(value, "SCT", meaning)


def _algorithm(frame: OutlinedFrame) -> sr.AlgorithmIdentification | None:
    name = frame.algorithm.name
    return None if not name else sr.AlgorithmIdentification(name, frame.algorithm.version or "not stated")


def _case_groups(report: ReportContent, key: Sequence[object]) -> list[Any]:
    """The measurement of the case with what follows from it, and the age that was given."""
    measurement, growth = report.measurement, report.growth or {}
    groups = []
    given = growth.get("given_age")
    if measurement:
        groups.append(_measurement_group(report, measurement, growth, key))
    if given:
        by_period = given["source"] == BY_HEADER
        age = _number(codes.AGE_BY_LAST_PERIOD if by_period else codes.AGE, given["days"], codes.DAY)
        group = _group(report, "gestational age, given", [age], (), key)
        source = GIVEN_BY.get(given["source"], str(given["source"]))
        group[0].ContentSequence.append(_text(codes.COMMENT, f"given by {source}"))
        groups.append(group)
    return groups


def _measurement_group(
    report: ReportContent, measurement: Any, growth: dict[str, Any] | Any, key: Sequence[object]
) -> Any:
    name, value = measurement["name"], float(measurement["mm"])
    first = _number(codes.MEASUREMENTS[name], value, codes.MILLIMETRE)
    numbers = [_with_interval(first, value, measurement.get("interval_mm"))]
    axes = axes_of(measurement)
    numbers += _axes(axes)
    sentences = [*([OUTER] if axes else []), *growth.get("notes", ())]
    if measurement.get("interval_mm"):
        low, high = measurement["interval_mm"]
        share = f"{measurement['coverage']:.0%}".replace("%", " %")
        sentences.insert(0, f"{share} interval of {name}: {low:.1f} to {high:.1f} mm")
    elif measurement.get("interval_absent"):
        sentences.insert(0, f"no interval: {measurement['interval_absent']}")
    age, centile, weight = (growth.get(one) for one in ("age", "centile", "weight"))
    if age:
        numbers.append(_number(codes.AGE, age["days"], codes.DAY, age["formula"]))
    if centile:
        numbers.append(_number(codes.CENTILE, centile["percent"], codes.PERCENT, centile["formula"]))
        numbers.append(_number(codes.Z_SCORE, centile["z"], codes.NO_UNITS, centile["formula"]))
    if weight:
        numbers.append(_number(codes.WEIGHT, weight["grams"], codes.GRAM, weight["formula"]))
    group = _group(report, f"{name} of the case", numbers, report.measured, key)
    for sentence in sentences:
        group[0].ContentSequence.append(_text(codes.COMMENT, sentence))
    return group


def _group(
    report: ReportContent,
    name: str,
    measurements: list[sr.Measurement],
    sources: Sequence[OutlinedFrame],
    key: Sequence[object],
) -> Any:
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=_tracking(name, key),
        finding_type=_anatomy(report) if sources else None,
        finding_sites=[sr.FindingSite(_anatomy(report))] if sources else None,
        measurements=measurements,
        source_images=_sources(frame.place for frame in sources) or None,
    )


def _sources(places: Iterable[FrameOfImage]) -> list[sr.SourceImageForMeasurementGroup]:
    """One reference for each image, with its frames."""
    numbers: dict[str, tuple[Dataset, list[int]]] = {}
    for place in places:
        _, frames = numbers.setdefault(str(place.image.SOPInstanceUID), (place.image, []))
        if place.number is not None:
            frames.append(place.number)
    return [
        sr.SourceImageForMeasurementGroup(image.SOPClassUID, image.SOPInstanceUID, sorted(frames) or None)
        for image, frames in numbers.values()
    ]


def _number(name: Concept, value: float, unit: Concept, formula: str | None = None) -> sr.Measurement:
    """A measurement; its formula as TID 315: a coded equation, or a citation in words."""
    measured = sr.Measurement(name=_code(name), value=value, unit=_code(unit))
    measured[0].MeasuredValueSequence[0].NumericValue = f"{value:.10g}"  # 179 d, not 179.0 d
    if formula is not None:
        equation = codes.EQUATIONS.get(formula)
        inferred: Any
        if equation is None:
            inferred = _text(codes.CITATION, formula, "INFERRED FROM")
        else:
            inferred = sr.CodeContentItem(
                name=_code(codes.EQUATION), value=_code(equation), relationship_type="INFERRED FROM"
            )
        _add(measured, inferred)
    return measured


def _axes(axes: Mapping[str, float]) -> list[sr.Measurement]:
    return [_number(codes.MEASUREMENTS[name], value, codes.MILLIMETRE) for name, value in axes.items()]


def _with_interval(measured: sr.Measurement, value: float, interval: Sequence[float] | None) -> sr.Measurement:
    """Add the distances from the value to the ends of its interval (TID 310), in mm."""
    if interval is not None:
        for name, distance in (
            (codes.UPPER_RANGE, interval[1] - value),
            (codes.LOWER_RANGE, value - interval[0]),
        ):
            item = sr.NumContentItem(
                name=_code(name),
                value=round(max(0.0, distance), 2),
                unit=_code(codes.MILLIMETRE),
                relationship_type="HAS PROPERTIES",
            )
            _add(measured, item)
    return measured


def _add(measured: sr.Measurement, item: Any) -> None:
    number = measured[0]
    if "ContentSequence" not in number:
        number.ContentSequence = sr.ContentSequence()
    number.ContentSequence.append(item)


def _fitted(frame: OutlinedFrame) -> tuple[str, str, np.ndarray] | None:
    """Graphic type, name and points of the shape that was fitted; None without one inside of the image."""
    if frame.line is not None:
        kind, shape, points = "POLYLINE", "line", np.asarray(frame.line, float) + PIXEL_CENTRE
    elif frame.ellipse is not None:
        kind, shape, points = "ELLIPSE", "ellipse", _ends(frame.ellipse)
    else:
        return None
    rows, columns = frame.mask.shape
    inside = (points >= 0).all() and (points <= (columns, rows)).all()
    return (kind, shape, points) if inside else None


def _ends(ellipse: Ellipse) -> np.ndarray:
    """Ends of the longer, then of the shorter axis, float [4, 2] as (x, y)."""
    angle = math.radians(ellipse.angle_deg)
    along = ellipse.semi_major * np.array([math.cos(angle), math.sin(angle)])
    across = ellipse.semi_minor * np.array([-math.sin(angle), math.cos(angle)])
    center = np.array([ellipse.center_x, ellipse.center_y]) + PIXEL_CENTRE
    return np.stack([center - along, center + along, center - across, center + across])


def _outline(mask: np.ndarray) -> np.ndarray:
    """Closed polygon around the largest part of a mask, float [N, 2]; within a pixel of the pixels' edges."""
    component = main_component(mask)
    assert component is not None
    polygons, _ = pixel_polygons(component)
    corners = max(polygons, key=len).astype(np.int32)
    simple = cv2.approxPolyDP(corners[:, None], MAX_ERROR_PX, closed=True)[:, 0]
    points = simple if len(simple) > 2 else corners
    return np.concatenate([points, points[:1]]).astype(float)
