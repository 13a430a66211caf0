"""What a measurement report says of the values of a record, whatever they are."""

from __future__ import annotations

import numpy as np
from dicom_files import a_dataset
from report_items import flat, groups, named, number, run, texts

from fetaliqa.export.dicom_files import save_dicom
from fetaliqa.export.frame_of_image import FrameOfImage
from fetaliqa.export.report.report_content import OutlinedFrame, ReportContent
from fetaliqa.export.report.report_document import ReportOrigin, measurement_report
from fetaliqa.measure.anatomy import ABDOMEN, HEAD
from fetaliqa.measure.ellipse import Ellipse


def a_report(record: dict, spacing: tuple[float, float] = (0.3, 0.2), shape: tuple[int, int] = (80, 100)):
    """A report made of a record's fields, on a cine of ten frames, and its frame 6."""
    cine = a_dataset(np.zeros((10, *shape), np.uint8))
    cine.StudyInstanceUID = "1.2.3"
    mask = np.zeros(shape, np.uint8)
    mask[20:60, 30:70] = 1
    frame = OutlinedFrame("image frame 7", FrameOfImage.of(cine, 6), mask, **record.pop("frame", {}))
    content = ReportContent(HEAD if record.pop("head", False) else ABDOMEN, [frame], measured=[frame], **record)
    return measurement_report(content, ReportOrigin(("test",), 1, "a test"))


def test_an_interval_is_given_by_the_distances_to_its_ends_and_in_words(tmp_path):
    measurement = {"name": "HC", "mm": 250.0, "interval_mm": [243.5, 258.0], "coverage": 0.9, "frames": [6]}
    report = a_report({"head": True, "measurement": measurement})
    case = groups(report)["HC of the case"]
    (length,) = (one for one in case.ContentSequence if named(one) == "Head Circumference")
    assert number(length, "+, range of upper measurement uncertainty") == (8.0, "mm")
    assert number(length, "-, range of lower measurement uncertainty") == (6.5, "mm")
    assert texts(case, "Comment") == ["90 % interval of HC: 243.5 to 258.0 mm"]
    save_dicom(report, tmp_path / "report.dcm")
    assert "Error" not in run("dciodvfy", tmp_path / "report.dcm")
    assert '"250" (mm,UCUM,"millimeter")' in run("dsrdump", tmp_path / "report.dcm")


def test_an_ellipse_that_leaves_the_image_is_left_out_and_the_outline_has_its_circumference():
    """Coordinates outside of the image are not allowed (PS3.3 C.10.5.1.2)."""
    told = {"ellipse": Ellipse(50.0, 40.0, 60.0, 20.0, 0.0), "size_mm": 90.0}
    found = groups(a_report({"frame": told}))
    assert list(found) == ["outline, image frame 7"]
    assert number(found["outline, image frame 7"], "Abdominal Circumference") == (90.0, "mm")


def test_a_line_is_reported_by_its_two_ends():
    told = {"line": np.array([[30.5, 40.0], [69.5, 40.0]]), "size_mm": 39 * 0.2}
    group = groups(a_report({"frame": told}))["line of AC, image frame 7"]
    (region,) = (one for one in group.ContentSequence if one.ValueType == "SCOORD")
    assert (region.GraphicType, [float(value) for value in region.GraphicData]) == (
        "POLYLINE",
        [31.0, 40.5, 70.0, 40.5],
    )
    assert number(group, "Abdominal Circumference") == (7.8, "mm")


def test_a_head_has_its_diameters():
    measurement = {"name": "HC", "mm": 250.0, "bpd_mm": 70.5, "ofd_mm": 88.0, "frames": [6]}
    told = {
        "ellipse": Ellipse(50.0, 40.0, 20.0, 10.0, 0.0),
        "size_mm": 251.0,
        "axes_mm": {"BPD": 70.0, "OFD": 88.5},
    }
    found = groups(a_report({"head": True, "measurement": measurement, "frame": told}))
    for group, bpd, ofd in (("HC of the case", 70.5, 88.0), ("ellipse of HC, image frame 7", 70.0, 88.5)):
        assert number(found[group], "Biparietal Diameter") == (bpd, "mm")
        assert number(found[group], "Occipital-Frontal Diameter") == (ofd, "mm")
    assert texts(found["HC of the case"], "Comment") == [
        "BPD and OFD are the axes of the ellipse, outer to outer."
    ]


def test_coordinates_count_from_the_corner_of_the_first_pixel():
    found = groups(a_report({"frame": {"ellipse": Ellipse(49.5, 39.5, 20.0, 10.0, 0.0)}}))
    regions = [
        [float(value) for value in one.GraphicData]
        for one in flat(found["fitted ellipse, image frame 7"])
        if one.ValueType == "SCOORD"
    ]
    assert regions == [[30.0, 40.0, 70.0, 40.0, 50.0, 30.0, 50.0, 50.0]]
    (polygon,) = (one for one in flat(found["outline, image frame 7"]) if one.ValueType == "SCOORD")
    corners = np.array(polygon.GraphicData, float).reshape(-1, 2)
    assert (corners.min(axis=0).tolist(), corners.max(axis=0).tolist()) == (
        [30, 20],
        [70, 60],
    )  # pixels 30 to 69, 20 to 59


def test_an_age_by_the_last_period_of_the_header_is_called_that():
    growth = {
        "given_age": {"days": 171, "source": "DICOM"},
        "age": None,
        "centile": None,
        "weight": None,
        "notes": [],
    }
    given = groups(a_report({"growth": growth}))["gestational age, given"]
    assert number(given, "Gestational Age by LMP") == (171, "d")
