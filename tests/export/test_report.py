"""Measurement reports of assessed cases: read back item by item, and by independent programs."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pydicom
import pytest
from dicom_files import a_dataset, a_region, saved
from PIL import Image
from pydicom.sr._concepts_dict import concepts
from report_items import flat, groups, named, number, referenced, run, texts

from fetaliqa.cli.main import main
from fetaliqa.export.dicom_files import save_dicom
from fetaliqa.export.report import report_codes
from fetaliqa.export.report.labelled_report import LabelledFrame, labelled_content
from fetaliqa.export.report.report_codes import Concept
from fetaliqa.export.report.report_document import ReportOrigin, measurement_report
from fetaliqa.measure.anatomy import FEMUR
from fetaliqa.measure.ellipse import ellipse_circumference
from fetaliqa.measure.line import Line, draw_line
from fetaliqa.sweep import read_masks, read_sweep

SHOWN = 5  # frame of the excerpt that shows the phantom's abdomen best


@pytest.fixture(scope="module")
def excerpt(sample_data: Path) -> SimpleNamespace:
    """A few frames of a phantom sweep, around the best one."""
    sweep = read_sweep(sample_data / "images/stacked_fetal_ultrasound/5cb3b4e9-bd03-43ef-851b-aa207eec56ca.mha")
    return SimpleNamespace(frames=sweep.frames[57:65], spacing=sweep.spacing)


def a_cine(excerpt: SimpleNamespace, **more: str) -> pydicom.FileDataset:
    dataset = a_dataset(excerpt.frames)
    rows, columns = excerpt.spacing
    dataset.SequenceOfUltrasoundRegions = [a_region(columns / 10, rows / 10)]
    dataset.StudyInstanceUID, dataset.SpecificCharacterSet = "1.2.826.0.1.3680043.8.498.1", "ISO_IR 100"
    dataset.SeriesInstanceUID, dataset.PatientName = "1.2.826.0.1.3680043.8.498.2", "Müller^Jane"
    for keyword, value in more.items():
        setattr(dataset, keyword, value)
    return dataset


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    """One cache of these tests: the same frames are assessed once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


def score(*words: object) -> int:
    return main(["score", "--format", "sr", "--quiet", *map(str, words)])


@pytest.fixture(scope="module")
def scored(excerpt: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A cine that was scored, and what was written."""
    root = tmp_path_factory.mktemp("scored")
    path = saved(a_cine(excerpt), root / "cine.dcm")
    assert score(path, "--ga", "24w3d", "--out", root / "out") == 0
    folder = root / "out" / "cine"
    record = json.loads((folder / "assessment.json").read_text())
    assert record["best"] == SHOWN
    return SimpleNamespace(
        path=path,
        folder=folder,
        record=record,
        report=pydicom.dcmread(folder / "report.dcm"),
        cine=pydicom.dcmread(path),
    )


def test_codes_are_those_of_the_standard():
    told = [one for one in vars(report_codes).values() if isinstance(one, Concept)]
    told += [*report_codes.MEASUREMENTS.values(), *report_codes.EQUATIONS.values()]
    known = {
        (scheme, value): meaning
        for scheme, entries in concepts.items()
        for values in entries.values()
        for value, (meaning, _) in values.items()
    }
    unknown = {one for one in told if known.get((one.scheme, one.value), "").lower() != one.meaning.lower()}
    # not in pydicom 2: obstetric scan (context group 12024), gram
    assert unknown <= {report_codes.PROCEDURE, report_codes.GRAM, report_codes.MILLIMETRE}


def test_the_numbers_are_those_of_the_assessment_on_the_frame_counted_from_1(scored):
    case, given = (groups(scored.report)[name] for name in ("AC of the case", "gestational age, given"))
    measurement, growth = scored.record["measurement"], scored.record["growth"]
    assert number(case, "Abdominal Circumference") == (measurement["mm"], "mm")
    assert number(case, "Gestational Age") == (growth["age"]["days"], "d")
    assert number(case, "Growth Percentile Rank") == (growth["centile"]["percent"], "%")
    assert number(case, "Growth Z-score") == (growth["centile"]["z"], "1")
    assert number(case, "Estimated Weight") == (growth["weight"]["grams"], "g")
    assert number(given, "Gestational Age") == (24 * 7 + 3, "d")
    formulas = [one.ConceptCodeSequence[0].CodeValue for one in flat(case) if named(one) == "Equation"]
    assert formulas == ["11892-7", "11756-4"]  # Hadlock 1984 (AC), Campbell 1975 (AC)
    assert {one.TextValue for one in flat(case) if named(one) == "Equation Citation"} == {
        "INTERGROWTH-21st 2014 (AC)"
    }
    numbers = {int(one.ReferencedFrameNumber) for one in referenced(case)}
    assert numbers == {frame + 1 for frame in measurement["frames"]}


def test_each_outline_refers_to_its_frame_and_its_ellipse_has_the_reported_circumference(scored):
    found = groups(scored.report)
    ranked = {frame for frame, one in enumerate(scored.record["frames"]) if frame in scored.record["ranking"]}
    assert {name for name in found if name.startswith("outline")} == {
        f"outline, image frame {n + 1}" for n in ranked
    }
    group = found[f"ellipse of AC, image frame {SHOWN + 1}"]
    (reference,) = referenced(group)
    assert (reference.ReferencedSOPInstanceUID, reference.ReferencedFrameNumber) == (
        scored.cine.SOPInstanceUID,
        SHOWN + 1,
    )
    (region,) = (one for one in group.ContentSequence if one.ValueType == "SCOORD")
    points = np.array(region.GraphicData, float).reshape(4, 2) * scored.record["spacing_mm"][::-1]
    long, short = (np.hypot(*(points[end] - points[end + 1])) / 2 for end in (0, 2))
    length, unit = number(group, "Abdominal Circumference")
    assert unit == "mm"
    assert ellipse_circumference(long, short) == pytest.approx(length, rel=1e-3)
    assert length == scored.record["frames"][SHOWN]["circumference_mm"]
    assert {one.TextValue for one in flat(group) if named(one) == "Algorithm Name"} == {"demo"}


def test_the_polygon_encloses_the_pixels_of_the_mask(scored):
    group = groups(scored.report)[f"outline, image frame {SHOWN + 1}"]
    (region,) = (one for one in group.ContentSequence if one.ValueType == "SCOORD")
    corners = np.array(region.GraphicData, float).reshape(-1, 2)
    assert (corners[0] == corners[-1]).all()
    mask = read_masks(scored.folder / "masks.mha", read_sweep(scored.path))[SHOWN]
    scale = 4  # corners of pixels become centres of finer ones
    drawn = np.zeros([side * scale for side in mask.shape], np.uint8)
    cv2.fillPoly(drawn, [np.round(corners * scale - 0.5).astype(np.int32)], [1.0])
    fine = np.kron(mask, np.ones((scale, scale), np.uint8))
    assert (drawn & fine).sum() / (drawn | fine).sum() > 0.97
    assert number(group, "Area")[0] == pytest.approx(mask.sum() * np.prod(scored.record["spacing_mm"]), rel=1e-3)


def test_a_report_belongs_to_the_patient_and_says_that_nobody_confirmed_it(scored):
    report, cine = scored.report, scored.cine
    assert (str(report.PatientName), report.PatientID) == ("Müller^Jane", cine.PatientID)
    assert report.StudyInstanceUID == cine.StudyInstanceUID
    assert (report.CompletionFlag, report.PreliminaryFlag, report.VerificationFlag) == (
        "PARTIAL",
        "PRELIMINARY",
        "UNVERIFIED",
    )
    assert texts(report, "Comment")[0] == "Not for clinical use."
    assert "nobody has confirmed them" in texts(report, "Comment")[1]
    segmentation = pydicom.dcmread(scored.folder / "segmentation.dcm")
    assert {one.SegmentAlgorithmType for one in segmentation.SegmentSequence} == {"AUTOMATIC"}
    (other,) = report.PertinentOtherEvidenceSequence
    found = other.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
    assert found == segmentation.SOPInstanceUID


def test_other_files_get_an_image_that_the_report_refers_to(excerpt, tmp_path):
    case = tmp_path / "still.png"
    Image.fromarray(excerpt.frames[SHOWN]).save(case)
    assert score(case, "--out", tmp_path) == 0
    folder = tmp_path / "still"
    image, report = (pydicom.dcmread(folder / name) for name in ("image.dcm", "report.dcm"))
    assert np.array_equal(image.pixel_array.squeeze(), read_sweep(case).frames[0])
    places = {(one.ReferencedSOPInstanceUID, one.ReferencedFrameNumber) for one in referenced(report)}
    assert places == {(image.SOPInstanceUID, 1)}
    assert report.StudyInstanceUID == image.StudyInstanceUID
    (group,) = (one for name, one in groups(report).items() if name.startswith("fitted ellipse"))
    assert not [one for one in group.ContentSequence if one.ValueType == "NUM"]
    assert "no pixel spacing in the file" in texts(group, "Comment")


def test_a_single_dicom_image_has_no_frame_numbers(excerpt, tmp_path):
    still = a_cine(SimpleNamespace(frames=excerpt.frames[SHOWN][None], spacing=excerpt.spacing))
    del still.NumberOfFrames
    still.SOPClassUID = still.file_meta.MediaStorageSOPClassUID = pydicom.uid.UltrasoundImageStorage
    case = saved(still, tmp_path / "still.dcm")
    assert score(case, "--out", tmp_path / "out") == 0
    report, segmentation = (
        pydicom.dcmread(tmp_path / "out" / "still" / name) for name in ("report.dcm", "segmentation.dcm")
    )
    assert all("ReferencedFrameNumber" not in one for one in referenced(report))
    source = segmentation.PerFrameFunctionalGroupsSequence[0].DerivationImageSequence[0].SourceImageSequence[0]
    assert "ReferencedFrameNumber" not in source
    assert source.ReferencedSOPInstanceUID == still.SOPInstanceUID
    for name in ("report.dcm", "segmentation.dcm"):
        assert "Error" not in run("dciodvfy", tmp_path / "out" / "still" / name)


def test_frames_in_files_of_their_own_are_referred_to_as_images(excerpt, tmp_path):
    for index in range(SHOWN - 1, SHOWN + 2):
        still = a_cine(SimpleNamespace(frames=excerpt.frames[index][None], spacing=excerpt.spacing))
        del still.NumberOfFrames
        still.SOPInstanceUID = still.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{index}"
        still.InstanceNumber = 10 - index  # against the order of the names
        (tmp_path / "series").mkdir(exist_ok=True)
        saved(still, tmp_path / "series" / f"{index}.dcm")
    assert score(tmp_path / "series", "--out", tmp_path / "out") == 0
    report = pydicom.dcmread(tmp_path / "out" / "series" / "report.dcm")
    record = json.loads((tmp_path / "out" / "series" / "assessment.json").read_text())
    places = {one.ReferencedSOPInstanceUID for one in referenced(groups(report)["AC of the case"])}
    assert places == {f"1.2.3.{SHOWN + 1 - frame}" for frame in record["measurement"]["frames"]}
    assert all("ReferencedFrameNumber" not in one for one in referenced(report))
    segmentation = pydicom.dcmread(tmp_path / "out" / "series" / "segmentation.dcm")
    case = read_sweep(tmp_path / "series")
    masks = read_masks(tmp_path / "out" / "series" / "masks.mha", case)
    drawn_on = {}
    for pixels, of in zip(
        segmentation.pixel_array.reshape(-1, *masks.shape[1:]), segmentation.PerFrameFunctionalGroupsSequence
    ):
        source = of.DerivationImageSequence[0].SourceImageSequence[0]
        assert "ReferencedFrameNumber" not in source
        frame = SHOWN + 1 - int(source.ReferencedSOPInstanceUID.rpartition(".")[2])  # as the cases are ordered
        assert np.array_equal(pixels, masks[frame])
        drawn_on[source.ReferencedSOPInstanceUID] = frame
    assert places <= set(drawn_on)
    listed = segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert [one.ReferencedSOPInstanceUID for one in listed] == [
        name for name, _ in sorted(drawn_on.items(), key=lambda pair: pair[1])
    ]
    assert segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing == pytest.approx(
        excerpt.spacing, rel=1e-6
    )
    for name in ("report.dcm", "segmentation.dcm"):
        assert "Error" not in run("dciodvfy", tmp_path / "out" / "series" / name)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"PatientID": "", "PatientName": "^"}, "names no patient"),
        ({"StudyInstanceUID": ""}, "lacks StudyInstanceUID"),
    ],
)
def test_a_file_whose_report_could_not_be_filed_is_refused_before_anything_is_written(
    excerpt, tmp_path, capsys, header, said
):
    path = saved(a_cine(excerpt, **header), tmp_path / "cine.dcm")
    assert score(path, "--out", tmp_path / "out") == 2
    (sentence,) = capsys.readouterr().err.strip().splitlines()
    assert sentence.startswith(f"fetaliqa score: cine.dcm: the header {said}")
    assert not (tmp_path / "out").exists()


def test_of_several_cases_only_the_one_without_patient_is_left_out(scored, excerpt, tmp_path, capsys):
    path = saved(a_cine(excerpt, PatientID="", PatientName=""), tmp_path / "nobody.dcm")
    assert score(path, scored.path, "--out", tmp_path / "out") == 2
    assert "fetaliqa score: nobody.dcm: the header names no patient" in capsys.readouterr().err
    assert {one.name for one in (tmp_path / "out").iterdir() if one.is_dir()} == {"cine"}


def test_a_full_disk_leaves_nothing_of_the_case(scored, tmp_path, monkeypatch, capsys):
    from fetaliqa.export.report import assessed_report

    monkeypatch.setattr(assessed_report, "save_dicom", lambda dataset, _: save_dicom(dataset, Path("/dev/full")))
    assert score(scored.path, "--out", tmp_path / "out") == 2
    (sentence,) = capsys.readouterr().err.strip().splitlines()
    assert sentence == (
        "fetaliqa score: /dev/full: no space left on device; check the path, its permissions and the disk"
    )
    assert list((tmp_path / "out").rglob("*")) == []


def test_a_case_without_the_anatomy_has_no_report_and_that_is_said(tmp_path, capsys):
    dark = a_cine(SimpleNamespace(frames=np.zeros((2, 96, 120), np.uint8) + 9, spacing=(0.3, 0.3)))
    assert score(saved(dark, tmp_path / "dark.dcm"), "--out", tmp_path / "out") == 0
    assert "dark: no report: " in capsys.readouterr().err
    assert not (tmp_path / "out" / "dark" / "report.dcm").exists()
    assert (tmp_path / "out" / "dark" / "assessment.json").exists()


def test_a_run_with_reports_does_not_skip_cases_that_have_none(scored, tmp_path):
    out = tmp_path / "out"
    assert main(["score", str(scored.path), "--out", str(out), "--quiet"]) == 0
    assert score(scored.path, "--out", out, "--resume") == 0
    assert (out / "cine" / "report.dcm").exists()


def test_without_a_folder_to_write_to_it_is_refused(scored, capsys):
    assert score(scored.path) == 2
    assert "--format sr writes files into a folder; name the folder with --out" in capsys.readouterr().err


# -- other people's programs ---------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["report.dcm", "segmentation.dcm"])
def test_dciodvfy_finds_no_error(scored, name):
    assert "Error" not in run("dciodvfy", scored.folder / name)


def test_dcmtk_shows_the_numbers_and_the_frame(scored, tmp_path):
    dumped = run("dsrdump", scored.folder / "report.dcm")
    circumference = f"{scored.record['measurement']['mm']:.10g}"
    assert f'"Abdominal Circumference")="{circumference}" (mm,UCUM,"millimeter")' in dumped
    assert '"Gestational Age")="171" (d,UCUM,"day")' in dumped
    assert f'"Original Source")=(USm image,,{SHOWN + 1})' in dumped
    run("dsr2html", scored.folder / "report.dcm", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for wanted in (
        f"{circumference} mm",
        "171 d",
        f"{scored.cine.SOPInstanceUID}&amp;frames={SHOWN + 1}",
        "Not for clinical use.",
    ):
        assert wanted in page


# -- labels ------------------------------------------------------------------------------------------------


def test_a_label_of_a_femur_is_reported_by_its_line(excerpt):
    line = Line(100.0, 120.0, 180.0, 140.0)
    masks = np.zeros(excerpt.frames.shape, np.uint8)
    masks[2] = draw_line(line, masks[2].shape)
    confirmed = LabelledFrame("anna's frame 2", rater="anna")
    content = labelled_content(a_cine(excerpt), masks, {2: confirmed}, FEMUR)
    assert content is not None
    assert content.measurement is not None
    assert (content.measurement["name"], content.frames[0].ellipse) == ("FL", None)
    assert content.measurement["mm"] == pytest.approx(line.length_mm(excerpt.spacing), abs=0.5)
    report = measurement_report(content, ReportOrigin(("test",), 1, "a test"))
    assert number(groups(report)["FL of the case"], "Femur Length") == (content.measurement["mm"], "mm")


def test_an_export_has_a_report_of_each_case_with_its_rater_and_the_manifests_circumferences(export):
    exported = export("--format", "sr", "--cases", "alpha", "--states", "annotated,empty,proposed")
    assert exported.code == 0, exported.err
    report = pydicom.dcmread(exported.out / "reports" / "alpha.dcm")
    image = pydicom.dcmread(exported.out / "images" / "alpha.dcm")
    with open(exported.out / "manifest.csv", newline="") as stream:
        rows = {int(row["slice"]): row for row in csv.DictReader(stream) if row["circumference_mm"]}
    found = {name: group for name, group in groups(report).items() if name.startswith("ellipse")}
    assert set(found) == {f"ellipse of AC, image frame {place + 1}" for place in rows}
    for place, row in rows.items():
        group = found[f"ellipse of AC, image frame {place + 1}"]
        assert number(group, "Abdominal Circumference") == (float(row["circumference_mm"]), "mm")
        (reference,) = referenced(group)
        assert (reference.ReferencedSOPInstanceUID, reference.ReferencedFrameNumber) == (
            image.SOPInstanceUID,
            place + 1,
        )
        assert ("confirmed by anna" in texts(group, "Comment")) == (row["state"] == "annotated")
    assert [str(one.PersonName) for one in flat(report) if one.ValueType == "PNAME"] == ["anna^"]
    case = groups(report)["AC of the case"]  # confirmed, and not on a suboptimal plane
    assert {int(one.ReferencedFrameNumber[0]) for one in referenced(case)} == {1}
    assert report.CompletionFlag == "PARTIAL"  # one frame is only proposed
    assert "Error" not in run("dciodvfy", exported.out / "reports" / "alpha.dcm")


def test_a_report_of_an_export_with_pseudonyms_holds_no_name_and_no_date(export, tmp_path):
    exported = export("--format", "sr", "--cases", "alpha", "--pseudonyms", tmp_path / "key.csv")
    assert exported.code == 0, exported.err
    (path,) = (exported.out / "reports").iterdir()
    content = path.read_bytes()
    assert not any(name in content for name in (b"alpha", b"anna", b"2026"))
    again = export("--format", "sr", "--cases", "alpha", "--pseudonyms", tmp_path / "key.csv", name="again")
    assert (again.out / "reports" / path.name).read_bytes() == content
