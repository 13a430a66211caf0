"""DICOM segmentations come in where they belong; one of another cine never does."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from export_files import SHAPE, ellipse, frames_of, stored
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.sequence import Sequence

from fetaliqa.export.cine_segments import Origin, segmentation_of_images
from fetaliqa.export.dicom_parts import uid, write_cine
from fetaliqa.export.dicom_review_state import Algorithm
from fetaliqa.export.export_case import ExportCase
from fetaliqa.measure.anatomy import ABDOMEN
from fetaliqa.sweep import Grid

INSIDE = ellipse(1) > 0
OTHER = np.zeros(SHAPE[1:], bool)
OTHER[10:30, 5:25] = True
FRAMES = (2, 7)


def cine(path: Path, seed: int) -> Dataset:
    case = ExportCase(
        path.stem, "s", frames_of(seed), np.zeros(SHAPE, np.uint8), {}, (0.4, 0.25), ((0, 12),), Grid()
    )
    path.parent.mkdir(exist_ok=True)
    return write_cine(path, case, list(range(SHAPE[0])))


@pytest.fixture
def archive(tmp_path):
    """Studies of two DICOM cines, and the header of the first."""
    header = cine(tmp_path / "studies" / "one.dcm", 0)
    cine(tmp_path / "studies" / "two.dcm", 1)
    return tmp_path / "studies", header


def segmentation(header: Dataset, names: dict[int, str] | None = None) -> FileDataset:
    """Of frames 2 and 7: 1 is an ellipse, 2 a square on frame 2."""
    masks = np.zeros(SHAPE, np.uint8)
    masks[list(FRAMES)] = INSIDE
    masks[2][OTHER] = 2
    origin = Origin(uid("i"), uid("s"), 1, "made elsewhere", "made elsewhere")
    names = names or {1: "Fetal abdomen", 2: "Placenta"}
    dataset = segmentation_of_images([header], masks, dict.fromkeys(FRAMES, Algorithm()), names, ABDOMEN, origin)
    dataset.Manufacturer = "Another"
    return dataset


def saved(dataset: FileDataset, path: Path) -> Path:
    dataset.save_as(path, write_like_original=False)
    return path


def assert_imported(studies: Path, case: str = "one") -> None:
    masks, frames = stored(studies, case)
    assert {frame: label.state for frame, label in frames.items()} == dict.fromkeys(FRAMES, "annotated")
    for frame in FRAMES:
        assert np.array_equal(masks[frame] > 0, INSIDE)


def test_it_is_of_the_case_whose_image_it_refers_to_whatever_its_name(archive, bring, tmp_path):
    studies, header = archive
    code, results, err = bring(saved(segmentation(header), tmp_path / "two.dcm"), "dicom", studies=studies)
    assert (code, list(results)) == (0, ["one"]), err
    assert results["one"]["left_out"]["classes"] == {"Placenta": 1}
    assert_imported(studies)


def test_segments_are_known_by_their_code_where_names_do_not_tell(archive, bring, tmp_path):
    studies, header = archive
    dataset = segmentation(header, {1: "Segment 1", 2: "Segment 2"})
    dataset.SegmentSequence[1].SegmentedPropertyTypeCodeSequence[0].CodeValue = "78067005"  # placenta
    assert bring(saved(dataset, tmp_path / "x.dcm"), "dicom", studies=studies)[0] == 0
    assert_imported(studies)
    for segment in dataset.SegmentSequence:
        segment.SegmentedPropertyTypeCodeSequence[0].CodeValue = "85756007"  # tissue
    code, results, _ = bring(saved(dataset, tmp_path / "x.dcm"), "dicom", studies=studies, rater="dan")
    assert (code, "'Segment 1' (1), 'Segment 2' (2)" in results["one"]["problem"]) == (2, True)
    assert bring(tmp_path / "x.dcm", "dicom", "--label", "1", studies=studies, rater="dan")[0] == 0


@pytest.mark.parametrize("kind", ["FRACTIONAL", "LABELMAP"])
def test_other_kinds_of_segmentations_are_read(archive, bring, tmp_path, kind):
    studies, header = archive
    dataset = segmentation(header)
    dataset.SegmentationType, dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = kind, 8, 8, 7
    if kind == "FRACTIONAL":
        dataset.MaximumFractionalValue = 200
        pixels = unpacked(segmentation(header)) * 100
        pixels[pixels == 0] = 99  # just outside
    else:
        pixels = np.stack([INSIDE + 2 * OTHER, INSIDE]).astype(np.uint8)
        pixels[0][OTHER] = 2
        keep = [groups for groups in dataset.PerFrameFunctionalGroupsSequence if is_of(groups, 1)]
        for groups in keep:
            del groups.SegmentIdentificationSequence
        dataset.PerFrameFunctionalGroupsSequence = Sequence(keep)
        dataset.NumberOfFrames = 2
    dataset.PixelData = pixels.astype(np.uint8).tobytes()
    code, results, err = bring(saved(dataset, tmp_path / "x.dcm"), "dicom", studies=studies)
    assert code == 0, (results, err)
    assert_imported(studies)


def unpacked(dataset: FileDataset) -> np.ndarray:
    bits = np.unpackbits(np.frombuffer(dataset.PixelData, np.uint8), bitorder="little")
    return bits[: int(dataset.NumberOfFrames) * SHAPE[1] * SHAPE[2]].reshape(-1, *SHAPE[1:])


def is_of(groups: Dataset, segment: int) -> bool:
    return int(groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber) == segment


def test_one_of_another_cine_is_refused(archive, bring, tmp_path):
    studies, _ = archive
    elsewhere = cine(tmp_path / "elsewhere" / "x.dcm", 5)
    file = saved(segmentation(elsewhere), tmp_path / "one.dcm")
    for words in ((), ("--case", "one")):
        code, results, _ = bring(file, "dicom", *words, studies=studies)
        assert (code, "one.dcm: refers to another cine than one" in results["one"]["problem"]) == (2, True)
    assert not (studies / "label-versions").exists()


def test_studies_that_are_not_dicom_have_to_be_named(served, bring, tmp_path):
    file = saved(segmentation(cine(tmp_path / "elsewhere" / "x.dcm", 0)), tmp_path / "alpha.dcm")
    code, results, _ = bring(file, "dicom")
    assert (code, "add --case ID" in results["alpha"]["problem"]) == (2, True)
    assert bring(file, "dicom", "--case", "alpha")[0] == 0
    assert_imported(served, "alpha")


def test_an_exported_segmentation_moved_to_another_case_is_refused(export, served, bring):
    exported = export("--format", "dicom-cine", "--cases", "alpha,beta").out / "segmentations"
    shutil.copy(exported / "beta.dcm", exported / "alpha.dcm")
    code, results, _ = bring(exported, "dicom")
    assert (code, "refers to another image than the manifest" in results["alpha"]["problem"]) == (2, True)
    assert results["beta"]["version"] == 1


@pytest.mark.parametrize("damage", ["frame", "groups", "size", "pixels", "segment"])
def test_damage_is_refused_in_a_sentence(archive, bring, tmp_path, damage):
    studies, header = archive
    dataset = segmentation(header)
    groups = dataset.PerFrameFunctionalGroupsSequence
    if damage == "frame":
        groups[0].DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber = 13
    elif damage == "groups":
        del groups[0]
    elif damage == "size":
        dataset.Rows, dataset.Columns = dataset.Columns, dataset.Rows
    elif damage == "pixels":
        dataset.PixelData = dataset.PixelData[:100]
    else:
        del dataset.SegmentSequence[0].SegmentNumber
    code, results, _ = bring(saved(dataset, tmp_path / "x.dcm"), "dicom", studies=studies)
    assert code == 2
    assert results["one"]["problem"]
    assert not (studies / "label-versions").exists()


def test_files_that_are_no_segmentation_are_no_labels(archive, bring):
    studies, _ = archive
    assert "no DICOM segmentation" in bring(studies / "one.dcm", "dicom", studies=studies)[2]
    assert "no dicom label" in bring(studies, "dicom", studies=studies)[2]
    assert dcmread(studies / "one.dcm").NumberOfFrames == SHAPE[0]


def test_stills_of_a_folder_are_told_apart_by_their_instances(export, bring):
    exported = export("--format", "dicom", "--cases", "alpha").out
    for file in (exported / "segmentations").iterdir():
        file.rename(file.with_name(f"x{file.name[-8:]}"))  # names that tell nothing
    code, results, err = bring(exported / "segmentations", "dicom", studies=exported / "images")
    assert (code, results["images"]["added"]) == (0, [0, 1, 3]), (err, results)
    masks, _ = stored(exported / "images", "images")
    assert np.array_equal(masks[0] > 0, ellipse(1) > 0)


@pytest.mark.parametrize("said", [True, False], ids=["the offset is said", "the offset follows from the origin"])
def test_slicer_gives_a_calibrated_cine_another_spacing(archive, bring, tmp_path, said):
    """GDCM, and so Slicer, says 1 mm of ultrasound whose calibration is that of its regions."""
    studies, _ = archive
    part = np.zeros((6, 60, 80), np.uint8)  # cropped: begins at frame 2, row 20, column 30
    part[[0, 5]] = INSIDE[20:80, 30:110]
    image = sitk.GetImageFromArray(part)
    image.SetOrigin((30, 20, 2))
    fields = {"Segment0_ID": "a", "Segment0_Name": "Abdomen", "Segment0_LabelValue": "1", "Segment0_Layer": "0"}
    fields |= {"Segmentation_ReferenceImageExtentOffset": "30 20 2"} if said else {}
    for key, value in fields.items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(tmp_path / "one.seg.nrrd"))
    code, results, err = bring(tmp_path / "one.seg.nrrd", "slicer", studies=studies)
    assert code == 0, (results, err)
    assert_imported(studies)


def test_a_frame_before_the_first_is_refused(archive, bring, tmp_path):
    studies, header = archive
    dataset = segmentation(header)
    for groups in dataset.PerFrameFunctionalGroupsSequence:
        groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber = 0
    code, results, _ = bring(saved(dataset, tmp_path / "x.dcm"), "dicom", studies=studies)
    assert (code, "its frames are 0 to 11" in results["one"]["problem"]) == (2, True)
