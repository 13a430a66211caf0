"""Every format is read back by a reader that is not ours: pixel for pixel, mm for mm, label for label."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import cv2
import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
from export_files import CASES, ORIGIN, SHAPE, SPACING, expected_masks, frames_of

from fetaliqa.datasets.acouslic import Acouslic
from fetaliqa.labels.studies import Studies

FRAMES = (1, 3, 4, 7)
PARTS = {"train", "validation", "test"}


def rows_of(out) -> list[dict]:
    with open(out / "manifest.csv", newline="") as stream:
        return list(csv.DictReader(stream))


def expected_frame(row) -> np.ndarray:
    return frames_of(CASES.index(row["case_id"]))[int(row["frame"])]


# -- nnU-Net --------------------------------------------------------------------------------------------


VERIFY = (
    "import sys; from nnunetv2.experiment_planning.verify_dataset_integrity import verify_dataset_integrity; "
    "verify_dataset_integrity(sys.argv[1], num_processes=1)"
)


def nnunet_verifies(folder: Path) -> subprocess.CompletedProcess[str]:
    """nnU-Net's check in a process of its own: it forks, and a forked process with threads may never end."""
    command = [sys.executable, "-c", VERIFY, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_nnunet_finds_nothing_wrong_and_reads_what_was_written(export):
    from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO

    exported = export("--format", "nnunet")
    folder = exported.out / "Dataset501_FetalIQA"
    checked = nnunet_verifies(folder)
    assert checked.returncode == 0, checked.stderr
    reader, rows = NaturalImage2DIO(), rows_of(exported.out)
    assert len(rows) == 16
    for row in rows:
        image, _ = reader.read_images([str(exported.out / row["image"])])
        label, _ = reader.read_seg(str(exported.out / row["mask"]))
        assert np.array_equal(image[0, 0], expected_frame(row))
        assert np.array_equal(label[0, 0], expected_masks()[int(row["frame"])])
    (fold,) = json.loads((folder / "splits_final.json").read_text())
    cases = {part: {name.rsplit("_", 1)[0] for name in names} for part, names in fold.items()}
    assert not cases["train"] & cases["val"]
    test = {row["case_id"] for row in rows if row["part"] == "test"}
    assert {path.name.rsplit("_", 2)[0] for path in (folder / "imagesTs").iterdir()} == test
    assert cases["train"] | cases["val"] | test == set(CASES)


def test_nnunet_refuses_the_set_when_a_label_is_missing(export):
    folder = export("--format", "nnunet").out / "Dataset501_FetalIQA"
    next((folder / "labelsTr").iterdir()).unlink()
    checked = nnunet_verifies(folder)
    assert checked.returncode == 1
    assert "AssertionError" in checked.stderr


def test_one_class_for_all_planes_is_possible(export):
    exported = export("--format", "nnunet", "--classes", "anatomy")
    described = json.loads((exported.out / "Dataset501_FetalIQA" / "dataset.json").read_text())
    assert described["labels"] == {"background": 0, "abdomen": 1}
    values = {
        value for path in exported.out.rglob("labelsT*/*.png") for value in np.unique(cv2.imread(str(path), -1))
    }
    assert values == {0, 1}


# -- COCO -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["", "_polygons"])
def test_pycocotools_reads_coco(export, suffix):
    from pycocotools.coco import COCO

    exported = export("--format", "coco")
    seen = 0
    for part in PARTS:
        coco = COCO(str(exported.out / "annotations" / f"instances_{part}{suffix}.json"))
        assert [category["name"] for category in coco.loadCats(coco.getCatIds())] == [
            "abdomen",
            "abdomen_suboptimal",
        ]
        for image in coco.loadImgs(coco.getImgIds()):
            row = {"case_id": image["case_id"], "frame": image["frame"]}
            pixels = cv2.imread(str(exported.out / image["file_name"]), cv2.IMREAD_UNCHANGED)
            assert np.array_equal(pixels, expected_frame(row))
            mask = np.zeros((image["height"], image["width"]), np.uint8)
            for annotation in coco.loadAnns(coco.getAnnIds(imgIds=image["id"])):
                inside = coco.annToMask(annotation)
                assert annotation["area"] == inside.sum()
                left, top, width, height = annotation["bbox"]
                assert inside[top : top + height, left : left + width].sum() == inside.sum()
                mask[inside > 0] = annotation["category_id"]
            assert np.array_equal(mask, expected_masks()[image["frame"]])
            assert (image["row_spacing_mm"], image["column_spacing_mm"]) == SPACING
            seen += 1
    assert seen == 16


def test_coco_evaluates_the_set_against_itself(export):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    truth = COCO(str(export("--format", "coco").out / "annotations" / "instances_train.json"))
    answers = truth.loadRes([annotation | {"score": 1.0} for annotation in truth.dataset["annotations"]])
    evaluation = COCOeval(truth, answers, "segm")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)


# -- YOLO -----------------------------------------------------------------------------------------------


def test_yolo_polygons_cover_the_same_pixels(export):
    import yaml

    exported = export("--format", "yolo")
    described = yaml.safe_load((exported.out / "data.yaml").read_text())
    assert described["names"] == {0: "abdomen", 1: "abdomen_suboptimal"}
    for row in rows_of(exported.out):
        image = cv2.imread(str(exported.out / row["image"]), cv2.IMREAD_UNCHANGED)
        assert np.array_equal(image, expected_frame(row))
        # Ultralytics finds a picture's labels by this change of name
        assert row["mask"] == row["image"].replace("images/", "labels/").replace(".png", ".txt")
        mask, fine = np.zeros(SHAPE[1:], np.uint8), 8
        for line in (exported.out / row["mask"]).read_text().splitlines():
            label, *numbers = line.split()
            corners = np.array(numbers, float).reshape(-1, 2)
            assert ((corners >= 0) & (corners <= 1)).all()
            large = np.zeros((SHAPE[1] * fine, SHAPE[2] * fine), np.uint8)
            points = np.rint(corners * (SHAPE[2] * fine, SHAPE[1] * fine)).astype(np.int32)
            cv2.fillPoly(large, [points], [1.0])
            mask[large[fine // 2 :: fine, fine // 2 :: fine] > 0] = int(label) + 1  # at pixel centres
        assert np.array_equal(mask, expected_masks()[int(row["frame"])])
    folders = {path.name for path in (exported.out / "images").iterdir()}
    assert folders == {"train", "val", "test"}


# -- Hugging Face ---------------------------------------------------------------------------------------


def test_datasets_loads_the_imagefolder_with_masks_and_metadata(export, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    import datasets

    exported = export("--format", "imagefolder", "--licence", "CC BY 4.0: with a colon")
    loaded = datasets.load_dataset(str(exported.out), cache_dir=str(tmp_path / "cache"))
    assert set(loaded) == PARTS
    seen = 0
    for part in loaded.values():
        for row in part:
            assert np.array_equal(np.asarray(row["image"]), expected_frame(row))
            assert np.array_equal(np.asarray(row["mask"]), expected_masks()[row["frame"]])
            assert (row["row_spacing_mm"], row["column_spacing_mm"]) == SPACING
            seen += 1
    assert seen == 16


# -- stacks ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "suffix"), [("mha", ".mha"), ("nifti", ".nii.gz")])
def test_stacks_keep_geometry_and_say_which_slice_is_known(export, form, suffix):
    exported = export("--format", form, "--states", "annotated,empty,proposed")
    for number, case in enumerate(CASES):
        image, label = (
            sitk.ReadImage(str(exported.out / folder / f"{case}{suffix}")) for folder in ("images", "labels")
        )
        for volume in (image, label):
            assert volume.GetSpacing() == pytest.approx((SPACING[1], SPACING[0], 1.0), abs=1e-7)
            assert volume.GetOrigin() == pytest.approx(ORIGIN, abs=1e-5)
            assert volume.GetDirection() == pytest.approx(np.eye(3).ravel())
        assert np.array_equal(sitk.GetArrayFromImage(image), frames_of(number)[[*FRAMES, 9]])
        masks = sitk.GetArrayFromImage(label)
        assert all(np.array_equal(masks[k], expected_masks()[frame]) for k, frame in enumerate(FRAMES))
        assert masks[4].any()
        record = json.loads((exported.out / "labels" / f"{case}.frames.json").read_text())["frames"]
        assert [record[key]["state"] for key in "01234"] == [
            "annotated",
            "annotated",
            "empty",
            "annotated",
            "proposed",
        ]
    assert {(row["frame"], row["slice"]) for row in rows_of(exported.out)} == {
        ("1", "0"),
        ("3", "1"),
        ("4", "2"),
        ("7", "3"),
        ("9", "4"),
    }


def test_nibabel_reads_the_same_place_in_space(export):
    exported = export("--format", "nifti", "--cases", "alpha")
    image = nib.load(exported.out / "images" / "alpha.nii.gz")
    # NIfTI points to the patient's left and front, so x and y change their sign
    assert image.affine == pytest.approx(
        np.array(
            [[-SPACING[1], 0, 0, -ORIGIN[0]], [0, -SPACING[0], 0, -ORIGIN[1]], [0, 0, 1, ORIGIN[2]], [0, 0, 0, 1]]
        ),
        abs=1e-5,
    )
    assert np.array_equal(np.asarray(image.dataobj).T, frames_of(0)[list(FRAMES)])


def test_exported_stacks_are_studies_that_know_the_same(export, studies):
    exported = export("--format", "mha", "--states", "annotated,empty,proposed")
    before, after = Studies(studies), Studies(exported.out)
    assert after.problems() == []
    assert {(entry.case_id, entry.subject_id) for entry in after.entries()} == {
        (entry.case_id, entry.subject_id) for entry in before.entries()
    }
    one, two = before.read("gamma"), after.read("gamma")
    assert two.ranges == ((0, 3), (3, 5))
    assert two.known.tolist() == [True] * 4 + [False]  # a proposal stays one
    assert np.array_equal(one.masks[list(FRAMES)], two.masks[:4])
    assert one.spacing == two.spacing


# -- ACOUSLIC-AI ----------------------------------------------------------------------------------------


def test_the_acouslic_layout_is_read_again_and_black_frames_are_unknown(export):
    exported = export("--format", "acouslic")
    data = Acouslic(exported.out)
    assert {entry.case_id for entry in data.entries()} == set(CASES)
    for number, case_id in enumerate(CASES):
        case = data.read(case_id)
        assert np.flatnonzero(case.known).tolist() == list(FRAMES)
        assert case.ranges == ((0, 6), (6, 12))
        assert case.spacing == SPACING
        for frame in FRAMES:
            assert np.array_equal(case.frames[frame], frames_of(number)[frame])
            assert np.array_equal(case.masks[frame], expected_masks()[frame])
        assert all(value == pytest.approx(52.3, abs=0.5) for value in case.circumferences_mm)
    assert "not an expert's" in json.loads((exported.out / "manifest.json").read_text())["circumferences"]
    assert any("not an expert's" in note for note in exported.card["notes"])
    image = sitk.ReadImage(str(exported.out / "images" / "stacked_fetal_ultrasound" / "alpha.mha"))
    assert image.GetOrigin() == pytest.approx(ORIGIN)


def test_the_acouslic_layout_takes_no_proposals(export):
    exported = export("--format", "acouslic", "--states", "annotated,proposed")
    assert exported.code == 2
    assert "cannot mark unconfirmed frames" in exported.err
    assert not exported.out.exists()


def test_challenge_answers_are_one_frame_and_its_mask_or_none(export):
    """The steps that the challenge's public evaluation takes to load an answer (evaluate.py, commit 680e82d)."""
    exported = export("--format", "challenge", "--planes", "optimal", "--raters", "anna")
    jobs = json.loads((exported.out / "predictions.json").read_text())
    assert {job["pk"] for job in jobs} == set(CASES)
    for job in jobs:
        paths = {one["interface"]["slug"]: one["interface"]["relative_path"] for one in job["outputs"]}
        below = exported.out / job["pk"] / "output"
        number = json.loads((below / paths["fetal-abdomen-frame-number"]).read_text())
        (file,) = (below / paths["fetal-abdomen-segmentation"]).glob("*.mha")
        image = sitk.ReadImage(str(file))
        stack = sitk.GetArrayFromImage(image)
        assert (stack.shape, stack.dtype) == (SHAPE, np.uint8)
        assert set(np.unique(stack)) <= {0, 1}
        assert image.GetSpacing() == pytest.approx((SPACING[1], SPACING[0], 1.0))
        if job["pk"] == "gamma":  # bo's, and so not selected
            assert number == -1
            assert not stack.any()
        else:
            assert number == 1
            assert np.flatnonzero(stack.any(axis=(1, 2))).tolist() == [1]
            assert np.array_equal(stack[1], expected_masks()[1])
        assert job["inputs"][0]["image"]["name"] == f"{job['pk']}.mha"


def test_the_challenge_takes_no_two_frames_of_a_case(export):
    exported = export("--format", "challenge")
    assert exported.code == 2
    assert "3 frames with an outline are selected, and the challenge takes one; add --best" in exported.err


# -- all ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["tiff", "mha", "nifti", "nnunet", "coco", "yolo", "imagefolder", "acouslic"])
def test_every_format_is_the_same_twice(export, form):
    def content(name):
        out = export("--format", form, "--cases", "alpha,beta", name=name).out
        files = {p.relative_to(out).as_posix(): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}
        card = json.loads(files.pop("dataset.json"))
        return files, card | {"created": None}

    assert content("one") == content("two")
