"""DICOM exports, read back by pydicom, SimpleITK and highdicom; no identifier of a source leaves."""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from export_files import CASES, SHAPE, SPACING, expected_masks, frames_of

from fetaliqa.anatomy import ABDOMEN
from fetaliqa.export.case import FrameEntry
from fetaliqa.sweep import read_sweep

sys.path.insert(0, str(Path(__file__).parents[1] / "sweep"))

from dicom_files import PATIENT, a_dataset, a_region, saved

FRAMES = (1, 3, 4, 7)


def test_stills_keep_pixels_and_spacing(export):
    found = export("--format", "dicom", "--cases", "beta")
    for frame in FRAMES:
        path = found.out / "images" / f"beta_{frame:04d}.dcm"
        dataset = pydicom.dcmread(path)
        assert np.array_equal(dataset.pixel_array, frames_of(CASES.index("beta"))[frame])
        assert [float(value) for value in dataset.PixelSpacing] == list(SPACING)
        image = sitk.ReadImage(str(path))
        assert image.GetSpacing()[:2] == pytest.approx(SPACING[::-1])
        assert np.array_equal(sitk.GetArrayFromImage(image)[0], dataset.pixel_array)


def test_segmentations_keep_pixels_spacing_and_labels_and_refer_to_their_still(export):
    """By pydicom: highdicom 0.22 refuses to open what it wrote itself, because no slice thickness is known."""
    found = export("--format", "dicom", "--cases", "alpha", "--states", "annotated,empty,proposed")
    assert not (found.out / "segmentations" / "alpha_0004.dcm").exists()  # empty: nothing to segment
    for frame, label in ((1, "abdomen"), (3, "abdomen_suboptimal"), (7, "abdomen")):
        still = pydicom.dcmread(found.out / "images" / f"alpha_{frame:04d}.dcm")
        segmentation = pydicom.dcmread(found.out / "segmentations" / f"alpha_{frame:04d}.dcm")
        (described,) = segmentation.SegmentSequence
        assert (described.SegmentLabel, described.SegmentAlgorithmType) == (label, "MANUAL")
        assert np.array_equal(segmentation.pixel_array, expected_masks()[frame] > 0)
        (reference,) = segmentation.SourceImageSequence
        assert reference.ReferencedSOPInstanceUID == still.SOPInstanceUID
        measures = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        assert [float(value) for value in measures.PixelSpacing] == list(SPACING)
    proposed = pydicom.dcmread(found.out / "segmentations" / "alpha_0009_proposed.dcm")
    assert proposed.SegmentSequence[0].SegmentAlgorithmType == "AUTOMATIC"
    assert proposed.ContentDescription == "proposed by a model, confirmed by nobody"


def test_a_cine_keeps_pixels_and_spacing_and_says_that_it_has_no_masks(export):
    found = export("--format", "dicom-cine", "--cases", "alpha")
    path = found.out / "images" / "alpha.dcm"
    dataset = pydicom.dcmread(path)
    assert np.array_equal(dataset.pixel_array, frames_of(0)[list(FRAMES)])
    region = dataset.SequenceOfUltrasoundRegions[0]
    assert (10 * region.PhysicalDeltaY, 10 * region.PhysicalDeltaX) == pytest.approx(SPACING)
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), dataset.pixel_array)
    assert read_sweep(path).spacing == pytest.approx(SPACING)
    assert any("no segmentation of a cine" in note for note in found.card["notes"])


def test_highdicom_cannot_segment_a_cine(export):
    """Why there is none: this fails once highdicom can, and then the writer may do it."""
    from highdicom.seg import Segmentation

    from fetaliqa.export.formats.dicom import _segment

    found = export("--format", "dicom-cine", "--cases", "alpha")
    cine = pydicom.dcmread(found.out / "images" / "alpha.dcm")
    case = SimpleNamespace(entries={0: FrameEntry(0, 0, "annotated")}, anatomy=ABDOMEN)
    with pytest.raises(ValueError, match="Only a single frame is supported"):
        Segmentation(
            [cine], np.ones((len(FRAMES), *SHAPE[1:]), np.uint8), "BINARY", [_segment(case, 0, 1, "abdomen")],
            "1.2.3", 1, "1.2.4", 1, "m", "m", "1", "0",
        )  # fmt: skip


def test_two_exports_to_dicom_are_the_same(export):
    def content(name, form):
        out = export("--format", form, "--cases", "alpha", "--states", "annotated,proposed", name=name).out
        return {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*.dcm"))}

    for form in ("dicom", "dicom-cine"):
        assert content(f"one-{form}", form) == content(f"two-{form}", form) != {}


@pytest.mark.parametrize("form", ["png", "dicom", "dicom-cine", "mha"])
def test_identifiers_of_a_dicom_source_never_leave(export, tmp_path, form):
    frames = frames_of(0)
    dataset = a_dataset(frames)
    dataset.InstitutionName, dataset.AccessionNumber = "St Elsewhere", "ACC4711"
    dataset.StudyInstanceUID, dataset.StudyDate, dataset.PatientBirthDate = "1.2.3.999", "20260102", "19900304"
    dataset.SequenceOfUltrasoundRegions = [a_region(SPACING[1] / 10, SPACING[0] / 10)]
    (tmp_path / "cine" / "images").mkdir(parents=True)
    saved(dataset, tmp_path / "cine" / "images" / "scan.dcm")
    masks = np.zeros(SHAPE, np.uint8)
    masks[1] = expected_masks()[1]
    image = sitk.GetImageFromArray(masks)
    image.SetSpacing((SPACING[1], SPACING[0], 1.0))
    (tmp_path / "cine" / "labels").mkdir()
    sitk.WriteImage(image, str(tmp_path / "cine" / "labels" / "scan.mha"))
    found = export("--format", form, folder=tmp_path / "cine")
    assert found.code == 0, found.err
    everything = b"".join(path.read_bytes() for path in found.out.rglob("*") if path.is_file())
    for secret in (PATIENT, "4711", "St Elsewhere", "1.2.3.999", "1.2.3.4\0", "20260102", "19900304"):
        assert secret.encode() not in everything
        assert secret.encode() in (tmp_path / "cine" / "images" / "scan.dcm").read_bytes()
