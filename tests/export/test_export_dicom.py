"""DICOM exports, read back by pydicom, SimpleITK and highdicom; no identifier of a source leaves."""

import csv
from types import SimpleNamespace

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_files import PATIENT, a_dataset, a_region, saved
from export_files import CASES, SHAPE, SPACING, expected_masks, frames_of

from fetaliqa.export.cine_segmentation import read_cine_segmentation
from fetaliqa.export.export_case import FrameEntry
from fetaliqa.measure.anatomy import ABDOMEN
from fetaliqa.sweep import read_sweep

FRAMES = (1, 3, 4, 7)


def test_stills_keep_pixels_and_spacing(export):
    exported = export("--format", "dicom", "--cases", "beta")
    for frame in FRAMES:
        path = exported.out / "images" / f"beta_{frame:04d}.dcm"
        dataset = pydicom.dcmread(path)
        assert np.array_equal(dataset.pixel_array, frames_of(CASES.index("beta"))[frame])
        assert [float(value) for value in dataset.PixelSpacing] == list(SPACING)
        image = sitk.ReadImage(str(path))
        assert image.GetSpacing()[:2] == pytest.approx(SPACING[::-1])
        assert np.array_equal(sitk.GetArrayFromImage(image)[0], dataset.pixel_array)


def test_segmentations_keep_pixels_spacing_and_labels_and_refer_to_their_still(export):
    """By pydicom: highdicom 0.22 refuses to open what it wrote itself, because no slice thickness is known."""
    exported = export("--format", "dicom", "--cases", "alpha", "--states", "annotated,empty,proposed")
    assert not (exported.out / "segmentations" / "alpha_0004.dcm").exists()  # empty: nothing to segment
    for frame, label in ((1, "abdomen"), (3, "abdomen_suboptimal"), (7, "abdomen")):
        still = pydicom.dcmread(exported.out / "images" / f"alpha_{frame:04d}.dcm")
        segmentation = pydicom.dcmread(exported.out / "segmentations" / f"alpha_{frame:04d}.dcm")
        (described,) = segmentation.SegmentSequence
        assert (described.SegmentLabel, described.SegmentAlgorithmType) == (label, "MANUAL")
        assert np.array_equal(segmentation.pixel_array, expected_masks()[frame] > 0)
        (reference,) = segmentation.SourceImageSequence
        assert reference.ReferencedSOPInstanceUID == still.SOPInstanceUID
        measures = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        assert [float(value) for value in measures.PixelSpacing] == list(SPACING)
    proposed = pydicom.dcmread(exported.out / "segmentations" / "alpha_0009_proposed.dcm")
    (described,) = proposed.SegmentSequence
    assert (described.SegmentLabel, described.SegmentAlgorithmType) == ("abdomen_proposed", "AUTOMATIC")
    assert proposed.ContentDescription == "proposed by a model, not confirmed"


def test_a_cine_keeps_pixels_and_spacing(export):
    exported = export("--format", "dicom-cine", "--cases", "alpha")
    path = exported.out / "images" / "alpha.dcm"
    dataset = pydicom.dcmread(path)
    assert np.array_equal(dataset.pixel_array, frames_of(0)[list(FRAMES)])
    region = dataset.SequenceOfUltrasoundRegions[0]
    assert (10 * region.PhysicalDeltaY, 10 * region.PhysicalDeltaX) == pytest.approx(SPACING)
    assert np.array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), dataset.pixel_array)
    assert read_sweep(path).spacing == pytest.approx(SPACING)


def in_segments(dataset):
    """Masks by (segment's name, place in the cine), as pydicom reads them."""
    names = {int(one.SegmentNumber): one.SegmentLabel for one in dataset.SegmentSequence}
    sizes = {}
    for mask, groups in zip(dataset.pixel_array, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        source = groups.DerivationImageSequence[0].SourceImageSequence[0]
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        sizes[names[int(number)], int(source.ReferencedFrameNumber) - 1] = mask
    return sizes


def test_a_segmentation_of_a_cine_holds_each_selected_frame_with_its_label(export):
    exported = export("--format", "dicom-cine", "--cases", "alpha")
    cine = pydicom.dcmread(exported.out / "images" / "alpha.dcm")
    segmentation = pydicom.dcmread(exported.out / "segmentations" / "alpha.dcm")
    masks, drawn = expected_masks(), in_segments(segmentation)
    assert set(drawn) == {("abdomen", 0), ("abdomen_suboptimal", 1), ("abdomen", 2), ("abdomen", 3)}
    for (_, place), mask in drawn.items():
        assert np.array_equal(mask, masks[FRAMES[place]] > 0)  # of frame 4 nothing, and it is there
    assert {one.SegmentAlgorithmType for one in segmentation.SegmentSequence} == {"MANUAL"}
    (series,) = segmentation.ReferencedSeriesSequence
    assert series.ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == cine.SOPInstanceUID
    assert (segmentation.StudyInstanceUID, segmentation.PatientID) == (cine.StudyInstanceUID, cine.PatientID)
    measures = segmentation.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    assert [float(value) for value in measures.PixelSpacing] == pytest.approx(SPACING)
    with open(exported.out / "manifest.csv", newline="") as rows:
        for row in csv.DictReader(rows):
            assert row["mask"] == "segmentations/alpha.dcm"
            assert FRAMES[int(row["slice"])] == int(row["frame"])


def test_highdicom_reads_a_segmentation_of_a_cine(export):
    from highdicom.seg import Segmentation

    exported = export("--format", "dicom-cine", "--cases", "beta")
    cine = pydicom.dcmread(exported.out / "images" / "beta.dcm")
    dataset = pydicom.dcmread(exported.out / "segmentations" / "beta.dcm")
    del dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence  # highdicom wants a slice thickness in it
    segmentation = Segmentation.from_dataset(dataset)
    numbers = list(range(1, len(FRAMES) + 1))
    masks = segmentation.get_pixels_by_source_frame(cine.SOPInstanceUID, numbers, combine_segments=True)
    assert np.array_equal(masks, np.stack([expected_masks()[frame] for frame in FRAMES]))


def test_what_nobody_confirmed_is_in_segments_of_its_own_that_say_so(export):
    exported = export("--format", "dicom-cine", "--cases", "alpha", "--states", "annotated,empty,proposed")
    segmentation = pydicom.dcmread(exported.out / "segmentations" / "alpha.dcm")
    by_name = {one.SegmentLabel: one for one in segmentation.SegmentSequence}
    assert set(by_name) == {"abdomen", "abdomen_suboptimal", "abdomen_proposed"}
    proposed = by_name.pop("abdomen_proposed")
    assert (proposed.SegmentAlgorithmType, proposed.SegmentAlgorithmName) == ("AUTOMATIC", "demo")
    assert proposed.SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == "7"
    assert {one.SegmentAlgorithmType for one in by_name.values()} == {"MANUAL"}
    in_proposed = {place for name, place in in_segments(segmentation) if name == "abdomen_proposed"}
    assert in_proposed == {4}  # frame 9, and only it; the empty frame 4 is in a confirmed segment
    assert segmentation.ContentDescription == "some frames proposed by a model, not confirmed"
    assert any("not confirmed" in note for note in exported.card["notes"])


def test_an_empty_frame_beside_proposals_is_never_in_a_proposed_segment(export):
    exported = export("--format", "dicom-cine", "--cases", "alpha", "--states", "empty,proposed")
    drawn = in_segments(pydicom.dcmread(exported.out / "segmentations" / "alpha.dcm"))
    assert {key: bool(mask.any()) for key, mask in drawn.items()} == {
        ("abdomen", 0): False,
        ("abdomen_proposed", 1): True,
    }


def test_a_segmentation_of_proposals_only_says_so_and_comes_back_as_proposals(export):
    exported = export("--format", "dicom-cine", "--cases", "alpha", "--states", "proposed")
    segmentation = pydicom.dcmread(exported.out / "segmentations" / "alpha.dcm")
    assert segmentation.ContentDescription == "proposed by a model, not confirmed"
    masks, record = read_cine_segmentation(segmentation, (1, *SHAPE[1:]))
    assert masks.any()
    assert (record.frames[0].state, record.known()) == ("proposed", [])


def test_a_segmentation_of_a_cine_has_one_label_where_planes_do_not_count(export):
    exported = export("--format", "dicom-cine", "--cases", "alpha", "--classes", "anatomy")
    drawn = in_segments(pydicom.dcmread(exported.out / "segmentations" / "alpha.dcm"))
    assert set(drawn) == {("abdomen", place) for place in range(len(FRAMES))}
    assert drawn["abdomen", 1].sum() == np.count_nonzero(expected_masks()[3])


def test_a_segmentation_of_a_cine_names_nobody_and_no_day(export, tmp_path):
    exported = export("--format", "dicom-cine", "--cases", "alpha", "--pseudonyms", tmp_path / "key.json")
    (path,) = (exported.out / "segmentations").iterdir()
    content = path.read_bytes()
    for secret in (b"alpha", b"anna"):
        assert secret not in content
    segmentation = pydicom.dcmread(path)
    assert segmentation.PatientID.startswith("subject-")
    assert {element.value for element in segmentation if element.VR == "DA" and element.value} == {"19000101"}


def test_highdicom_cannot_segment_a_cine(export):
    """Why our own code does: this fails once highdicom can, and then it may."""
    from highdicom.seg import Segmentation

    from fetaliqa.export.formats.dicom_format import _segment

    exported = export("--format", "dicom-cine", "--cases", "alpha")
    cine = pydicom.dcmread(exported.out / "images" / "alpha.dcm")
    case = SimpleNamespace(entries={0: FrameEntry(0, 0, "annotated")}, anatomy=ABDOMEN)
    with pytest.raises(ValueError, match="Only a single frame is supported"):
        Segmentation(
            [cine], np.ones((len(FRAMES), *SHAPE[1:]), np.uint8), "BINARY", [_segment(case, 0, 1, "abdomen")],
            "1.2.3", 1, "1.2.4", 1, "m", "m", "1", "0",
        )  # fmt: skip


def test_two_exports_to_dicom_are_the_same(export):
    def content(name, form):
        out = export("--format", form, "--cases", "alpha", "--states", "annotated,empty,proposed", name=name).out
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
    exported = export("--format", form, folder=tmp_path / "cine")
    assert exported.code == 0, exported.err
    everything = b"".join(path.read_bytes() for path in exported.out.rglob("*") if path.is_file())
    for secret in (PATIENT, "4711", "St Elsewhere", "1.2.3.999", "1.2.3.4\0", "20260102", "19900304"):
        assert secret.encode() not in everything
        assert secret.encode() in (tmp_path / "cine" / "images" / "scan.dcm").read_bytes()
