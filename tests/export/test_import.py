"""Labels made elsewhere come in as versions with a frame record; nothing is overwritten."""

import cv2
import numpy as np
import pytest
import SimpleITK as sitk
from export_files import ORIGIN, SHAPE, SPACING, ellipse, expected_masks, frames_of, stored, write_volume

from fetaliqa.cli.main import main
from fetaliqa.labels import FrameLabel, FrameRecord, LabelStore
from fetaliqa.labels.studies import Studies


def assert_as_exported(served, planes, empty=()):
    masks, frames = stored(served)
    assert {frame: label.state for frame, label in frames.items()} == dict.fromkeys(
        planes, "annotated"
    ) | dict.fromkeys(empty, "empty")
    for frame, plane in planes.items():
        assert (frames[frame].plane, frames[frame].rater) == (plane, "cleo")
        assert np.array_equal(masks[frame] > 0, expected_masks()[frame] > 0)
    assert not np.delete(masks, list(planes), axis=0).any()


# 1 of ACOUSLIC-AI means optimal; elsewhere label 1 is the abdomen, graded or not
@pytest.mark.parametrize(
    ("form", "kind", "planes"),
    [
        ("acouslic", "acouslic", {1: "optimal", 3: "suboptimal", 7: "optimal"}),
        ("nnunet", "nnunet", {1: None, 3: "suboptimal", 7: None}),
        ("coco", "coco", {1: None, 3: "suboptimal", 7: None}),
        ("yolo", "yolo", {1: None, 3: "suboptimal", 7: None}),
        ("nifti", "stacks", {1: None, 3: "suboptimal", 7: None}),
        ("mha", "stacks", {1: None, 3: "suboptimal", 7: None}),
        ("dicom", "dicom", {1: None, 3: "suboptimal", 7: None}),
        ("dicom-cine", "dicom", {1: None, 3: "suboptimal", 7: None}),
        ("imagefolder", "masks", {1: None, 3: "suboptimal", 7: None}),
        ("png", "masks", {1: None, 3: "suboptimal", 7: None}),
        ("tiff", "masks", {1: None, 3: "suboptimal", 7: None}),
    ],
)
def test_what_was_exported_comes_in_again(export, served, bring, form, kind, planes):
    exported = export("--format", form, "--cases", "alpha,beta").out
    code, results, _ = bring(exported, kind)
    assert code == 0
    assert results["alpha"]["added"] == [1, 3, 7]
    assert_as_exported(served, planes)
    code, results, _ = bring(exported, kind)  # a second time there is nothing to do
    assert (code, results["beta"]["same"], results["beta"]["version"]) == (0, [1, 3, 7], None)
    assert LabelStore(served / "label-versions").latest("beta", "cleo") == 1


def test_frames_without_an_outline_are_empty_only_when_that_is_said(export, served, bring):
    exported = export("--format", "coco", "--cases", "alpha").out
    bring(exported, "coco", "--empty")
    assert_as_exported(served, {1: None, 3: "suboptimal", 7: None}, empty=[4])


@pytest.mark.parametrize(
    ("form", "kind"),
    [("nnunet", "nnunet"), ("nifti", "stacks"), ("dicom", "dicom"), ("dicom-cine", "dicom"), ("png", "masks")],
)
def test_a_proposal_stays_one(export, served, bring, form, kind):
    exported = export("--format", form, "--cases", "alpha", "--states", "annotated,proposed").out
    assert bring(exported, kind)[0] == 0
    _, frames = stored(served)
    assert (frames[9].state, frames[9].rater, frames[1].state) == ("proposed", None, "annotated")


def test_polygons_of_coco_come_in_too(export, served, bring):
    exported = export("--format", "coco", "--cases", "alpha").out
    (file,) = (exported / "annotations").glob("*_polygons.json")
    assert bring(file, "coco")[0] == 0
    assert_as_exported(served, {1: None, 3: "suboptimal", 7: None})


def cvat_export(folder):
    """As CVAT writes "Segmentation mask 1.1": RGB pictures and a label map."""
    colours = {"background": (0, 0, 0), "abdomen optimal": (250, 50, 83), "suboptimal": (51, 221, 255)}
    (folder / "SegmentationClass").mkdir(parents=True)
    lines = [f"{name}:{','.join(map(str, colour))}::" for name, colour in colours.items()]
    (folder / "labelmap.txt").write_text("# label:color_rgb:parts:actions\n" + "\n".join(lines) + "\n")
    for frame, name in ((1, "abdomen optimal"), (3, "suboptimal"), (4, None)):
        picture = np.zeros((*SHAPE[1:], 3), np.uint8)
        if name:
            picture[expected_masks()[frame] > 0] = colours[name]
        cv2.imwrite(str(folder / "SegmentationClass" / f"alpha_{frame:04d}.png"), picture[..., ::-1])
    return folder


def test_cvat_masks_come_in_by_colour(served, bring, tmp_path):
    folder = cvat_export(tmp_path / "cvat")
    assert bring(folder, "cvat", "--empty")[0] == 0
    assert_as_exported(served, {1: "optimal", 3: "suboptimal"}, empty=[4])
    picture = cv2.imread(str(folder / "SegmentationClass" / "alpha_0001.png"))
    picture[0, 0] = (1, 2, 3)
    cv2.imwrite(str(folder / "SegmentationClass" / "alpha_0001.png"), picture)
    code, results, _ = bring(folder, "cvat", rater="dan")
    assert code == 2
    assert "holds the colour (3, 2, 1), which labelmap.txt does not name" in results["alpha"]["problem"]


def slicer_file(path, *, cropped: bool, layered: bool):
    """As Slicer writes it: segments by name, cropped to what is drawn, in layers where they overlap."""
    masks = np.zeros(SHAPE, np.uint8)
    masks[1], masks[3] = ellipse(1), ellipse(2, 4)
    first = (1, 20, 10) if cropped else (0, 0, 0)
    last = (4, 80, 110) if cropped else SHAPE
    part = masks[tuple(slice(a, b) for a, b in zip(first, last))]
    fields = {
        "Segment0_Name": "Abdomen",
        "Segment1_Name": "Abdomen suboptimal",
        "Segment0_ID": "a",
        "Segment1_ID": "b",
    }
    fields |= {f"Segment{n}_Layer": str(n if layered else 0) for n in (0, 1)}
    fields |= {f"Segment{n}_LabelValue": str(1 if layered else n + 1) for n in (0, 1)}
    if layered:
        image = sitk.GetImageFromArray(np.stack([part == 1, part == 2], -1).astype(np.uint8), isVector=True)
    else:
        image = sitk.GetImageFromArray(part)
    image.SetSpacing((SPACING[1], SPACING[0], 1.0))
    image.SetOrigin([o + f * s for o, f, s in zip(ORIGIN, first[::-1], (SPACING[1], SPACING[0], 1.0))])
    for key, value in fields.items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(path), useCompression=True)
    return path


@pytest.mark.parametrize("cropped", [False, True])
@pytest.mark.parametrize("layered", [False, True])
def test_a_segmentation_of_slicer_comes_in(served, bring, tmp_path, cropped, layered):
    code, _, err = bring(slicer_file(tmp_path / "alpha.seg.nrrd", cropped=cropped, layered=layered), "slicer")
    assert code == 0, err
    assert_as_exported(served, {1: None, 3: "suboptimal"})


def test_a_segmentation_on_another_grid_is_refused(served, bring, tmp_path):
    path = slicer_file(tmp_path / "alpha.seg.nrrd", cropped=True, layered=False)
    image = sitk.ReadImage(str(path))
    image.EraseMetaData("Segmentation_ReferenceImageExtentOffset")
    image.SetOrigin((0.1, 0, 0))
    sitk.WriteImage(image, str(path))
    code, results, _ = bring(path, "slicer")
    assert code == 2
    assert "lies on another grid than alpha" in results["alpha"]["problem"]
    assert not (served / "label-versions").exists()


def test_a_segmentation_of_one_image_of_a_sequence_does_not_say_of_which(served, bring, tmp_path):
    series = sitk.GetImageFromArray(frames_of(0)[:, None], isVector=False)
    series.SetSpacing((SPACING[1], SPACING[0], 1.0, 1.0))
    series.SetOrigin((*ORIGIN, 0.0))
    sitk.WriteImage(series, str(served / "alpha.nii.gz"))
    (served / "alpha.mha").unlink()
    (served / "datastore_v2.json").unlink()
    image = sitk.GetImageFromArray(ellipse(1)[None])
    image.SetSpacing((SPACING[1], SPACING[0], 1.0))
    image.SetOrigin(ORIGIN)
    for key, value in {"Segment0_Name": "abdomen", "Segment0_ID": "a"}.items():
        image.SetMetaData(key, value)
    sitk.WriteImage(image, str(tmp_path / "alpha.seg.nrrd"))
    code, results, _ = bring(tmp_path / "alpha.seg.nrrd", "slicer")
    assert code == 2
    assert "which of the 12 frames of alpha that is, is unknown" in results["alpha"]["problem"]


def test_conflicts_are_shown_and_nothing_of_the_case_is_saved(export, served, bring, tmp_path):
    store = LabelStore(served / "label-versions")
    masks = np.zeros(SHAPE, np.uint8)
    masks[1], masks[2] = ellipse(1, 9), ellipse(1)
    write_volume(tmp_path / "m.nii.gz", masks)
    labels = {1: FrameLabel("annotated", None, "eve"), 2: FrameLabel("annotated", None, "eve")}
    store.save("alpha", "final", tmp_path / "m.nii.gz", FrameRecord(labels), {"user": "eve"})
    exported = export("--format", "nnunet", "--cases", "alpha,beta").out
    code, results, _ = bring(exported, "nnunet", "--tag", "final")
    assert code == 2
    assert (results["alpha"]["conflicts"], results["alpha"]["version"]) == ([1], None)
    assert results["beta"]["version"] == 1
    assert store.latest("alpha", "final") == 1
    assert np.array_equal(stored(served, tag="final")[0], masks)


def test_new_frames_join_a_label_whose_frames_stay(export, served, bring, tmp_path):
    store = LabelStore(served / "label-versions")
    masks = np.zeros(SHAPE, np.uint8)
    masks[2], masks[7] = ellipse(1), ellipse(1, 30)
    write_volume(tmp_path / "m.nii.gz", masks)
    labels = {2: FrameLabel("annotated", "optimal", "eve"), 7: FrameLabel("proposed", None, None, None, "demo")}
    store.save("alpha", "final", tmp_path / "m.nii.gz", FrameRecord(labels), {"user": "eve"})
    code, results, _ = bring(export("--format", "nnunet", "--cases", "alpha").out, "nnunet", "--tag", "final")
    assert (code, results["alpha"]["version"], results["alpha"]["added"]) == (0, 2, [1, 3, 7])
    masks, frames = stored(served, tag="final")
    assert (frames[2].rater, frames[7].rater, frames[7].state) == ("eve", "cleo", "annotated")
    assert np.array_equal(masks[2], ellipse(1))
    assert np.array_equal(masks[7] > 0, expected_masks()[7] > 0)  # a proposal yields to a person
    case = Studies(served).read("alpha")
    assert np.flatnonzero(case.known).tolist() == [1, 2, 3, 7]


def test_a_dry_run_compares_and_saves_nothing(export, served, bring):
    code, results, _ = bring(export("--format", "nnunet", "--cases", "alpha").out, "nnunet", "--dry-run")
    assert (code, results["alpha"]["added"], results["alpha"]["version"]) == (0, [1, 3, 7], None)
    assert not (served / "label-versions").exists()


@pytest.mark.parametrize(
    ("kind", "words"),
    [("nnunet", "no dataset.json of nnU-Net"), ("cvat", "no labelmap.txt"), ("coco", "no coco label")],
)
def test_a_folder_of_something_else_is_refused(bring, tmp_path, kind, words):
    (tmp_path / "other").mkdir()
    code, _, err = bring(tmp_path / "other", kind)
    assert code == 2
    assert words in err


def test_a_case_without_images_is_named(export, bring):
    code, results, _ = bring(export("--format", "nnunet", "--cases", "alpha,gamma").out, "nnunet")
    assert code == 2
    assert "gamma: no such case" in results["gamma"]["problem"]
    assert results["alpha"]["version"] == 1


def test_a_plain_folder_keeps_no_versions(export, studies, bring, capsys):
    exported = export("--format", "nnunet", "--cases", "alpha").out
    code = main(
        [
            "labels",
            "import",
            str(exported),
            "--from",
            "nnunet",
            "--rater",
            "c",
            "--studies",
            str(studies),
            "--quiet",
        ]
    )
    assert code == 2
    assert "keeps no versions" in capsys.readouterr().err
