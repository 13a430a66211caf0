"""Of what was labelled elsewhere, the anatomy is imported; other classes and what nobody knows are left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from export_files import SHAPE, frames_of, stored, write_volume
from import_files import ABDOMEN, BOX, BOX_CORNERS, HEAD, HEAD_CORNERS, masks_alone, runs_of, values
from PIL import Image

from fetaliqa.cli.main import main

POLYGONS = {"abdomen": [BOX_CORNERS], "head": [HEAD_CORNERS]}


def annotation(number: int, category: Any, image: Any = 1, **more: Any) -> dict[str, Any]:
    kind = "head" if category == 2 else "abdomen"
    fields = {"id": number, "image_id": image, "category_id": category, "iscrowd": 0}
    fields["segmentation"] = POLYGONS[kind]
    return fields | more


def coco(
    path: Path, annotations: list[dict[str, Any]], categories: Any = ("abdomen", "fetal head"), **more: Any
) -> Path:
    """A COCO file of frames 2 and 3 of alpha."""
    content = {
        "images": [
            {"id": n, "file_name": f"alpha_{n + 1:04d}.png", "height": SHAPE[1], "width": SHAPE[2]} for n in (1, 2)
        ],
        "categories": [{"id": n, "name": name} for n, name in enumerate(categories, start=1)],
        "annotations": annotations,
    }
    path.write_text(json.dumps(content | more))
    return path


def test_the_class_that_is_the_anatomy_is_imported_and_the_others_are_counted(served, bring, tmp_path):
    file = coco(tmp_path / "a.json", [annotation(1, 1), annotation(2, 2), annotation(3, 2, image=2)])
    code, results, _ = bring(file, "coco")
    assert (code, results["alpha"]["added"]) == (0, [2])
    assert results["alpha"]["left_out"]["classes"] == {"fetal head": 2}
    masks_alone(served, 2, BOX)


def test_another_class_can_be_named(served, bring, tmp_path):
    file = coco(tmp_path / "a.json", [annotation(1, 1), annotation(2, 2)])
    assert bring(file, "coco", "--anatomy", "head")[0] == 0
    masks_alone(served, 2, HEAD)
    for word in ("FETAL HEAD", "2"):
        code, results, _ = bring(file, "coco", "--label", word, rater=f"dan-{word[0]}")
        assert (code, results["alpha"]["left_out"]["classes"]) == (0, {"abdomen": 1})
        assert np.array_equal(stored(served, tag=f"dan-{word[0]}")[0][2] > 0, HEAD)


@pytest.mark.parametrize(
    ("categories", "words", "told"),
    [
        (("structure", "head"), (), ["'structure' (1), 'head' (2)", "--label NAME"]),
        ((), (), ["value 1", "--label NAME"]),
        (("abdomen", "AC"), (), ["both names of the abdomen", "--label"]),
        (("abdomen", "head"), ("--label", "belly"), ["no class 'belly'", "'abdomen' (1), 'head' (2)"]),
    ],
)
def test_what_cannot_be_told_is_refused(served, bring, tmp_path, categories, words, told):
    file = coco(tmp_path / "a.json", [annotation(1, 1)], categories)
    code, _, err = bring(file, "coco", *words)
    assert code == 2
    assert all(one in err for one in told), err
    assert not (served / "label-versions").exists()


def test_several_names_of_the_anatomy_are_taken_when_they_are_said(served, bring, tmp_path):
    file = coco(tmp_path / "a.json", [annotation(1, 1), annotation(2, 2)], ("abdomen", "AC"))
    code, results, _ = bring(file, "coco", "--label", "abdomen", "--label", "AC")
    assert (code, results["alpha"]["left_out"]["joined"]) == (0, [2])
    masks_alone(served, 2, BOX | HEAD)


@pytest.mark.parametrize(
    "marked",
    [
        annotation(2, 1, segmentation=POLYGONS["head"], iscrowd=1),
        annotation(2, 1, segmentation=POLYGONS["head"], ignore=1),
        annotation(2, 3, segmentation=POLYGONS["head"]),
    ],
)
def test_a_frame_with_an_ignored_region_is_left_out_and_named(served, bring, tmp_path, marked):
    file = coco(tmp_path / "a.json", [annotation(1, 1), marked], ("abdomen", "head", "Ignore"))
    code, results, _ = bring(file, "coco", "--empty")
    assert (code, results["alpha"]["left_out"]["ignored"], results["alpha"]["added"]) == (0, [2], [3])
    assert stored_states(served) == {3: "empty"}


def stored_states(served: Path) -> dict[int, str]:
    (file,) = (served / "label-versions" / "alpha" / "cleo").glob("*/label.json")
    return {int(n): report["state"] for n, report in json.loads(file.read_text())["record"]["frames"].items()}


def test_cvat_marks_brush_masks_as_crowds(served, bring, tmp_path):
    runs = {"size": list(SHAPE[1:]), "counts": runs_of(ABDOMEN)}
    file = coco(tmp_path / "a.json", [annotation(1, 1, segmentation=runs, iscrowd=1)])
    assert bring(file, "coco")[1]["alpha"]["left_out"]["ignored"] == [2]
    assert bring(file, "coco", "--crowd")[0] == 0
    masks_alone(served, 2, ABDOMEN)


def test_boxes_are_no_outlines(served, bring, tmp_path):
    file = coco(tmp_path / "a.json", [annotation(1, 1, segmentation=[], bbox=[1, 1, 9, 9])])
    code, results, _ = bring(file, "coco", "--empty")
    assert (code, results["alpha"]["left_out"]["without_outline"]) == (0, [2])
    assert stored_states(served) == {3: "empty"}, "and no empty frame either"


def test_a_box_beside_an_outline_changes_nothing(served, bring, tmp_path):
    file = coco(tmp_path / "a.json", [annotation(1, 1), annotation(2, 1, segmentation=[], bbox=[1, 1, 9, 9])])
    code, results, _ = bring(file, "coco")
    assert (code, results["alpha"]["left_out"]["without_outline"]) == (0, [])
    masks_alone(served, 2, BOX)


def test_coco_as_other_programs_write_it(served, bring, tmp_path):
    """Ids and sizes as text, categories from 0, several polygons, flat ones, compressed run lengths, UTF-16."""
    from pycocotools import mask as coco_mask

    packed = coco_mask.encode(np.asfortranarray(ABDOMEN.astype(np.uint8)))["counts"].decode()
    entries = [
        annotation(1, "0", "x", segmentation=[*POLYGONS["abdomen"], *POLYGONS["head"]]),
        annotation(2, "0", "x", segmentation=POLYGONS["abdomen"][0]),
        annotation(3, 0, "y", segmentation={"size": list(SHAPE[1:]), "counts": packed}),
    ]
    images = [
        {"id": id_, "file_name": f"alpha_{n}.PNG", "height": str(SHAPE[1]), "width": str(SHAPE[2])}
        for id_, n in (("x", 2), ("y", 3))
    ]
    file = coco(tmp_path / "a.json", entries, categories=(), images=images)
    content = json.loads(file.read_text()) | {"categories": [{"id": 0, "name": "Fetal abdomen"}]}
    file.write_text(json.dumps(content), encoding="utf-16")
    code, results, err = bring(file, "coco")
    assert (code, results["alpha"]["added"], results["alpha"]["left_out"]["joined"]) == (0, [2, 3], [2]), err
    masks, _ = stored(served)
    assert np.array_equal(masks[2] > 0, BOX | HEAD)
    assert np.array_equal(masks[3] > 0, ABDOMEN)


def nnunet(folder: Path, labels: dict[str, Any], picture: np.ndarray, name: str = "alpha_0002.png") -> Path:
    below = folder / "Dataset001_X" / "labelsTr"
    below.mkdir(parents=True)
    (below.parent / "dataset.json").write_text(json.dumps({"labels": labels}))
    if picture.ndim == 2:
        Image.fromarray(picture).save(below / name)
    else:
        write_volume(below / name, picture)
    return folder


@pytest.mark.parametrize("name", ["alpha_0002.png", "alpha_0002.TIF", "alpha_0002.bmp"])
def test_nnunet_labels_are_taken_by_name(served, bring, tmp_path, name):
    picture = values(a=(2, ABDOMEN), h=(1, HEAD))
    folder = nnunet(tmp_path / "n", {"background": 0, "head": 1, "abdomen": 2}, picture, name)
    code, results, _ = bring(folder, "nnunet")
    assert (code, results["alpha"]["left_out"]["classes"]) == (0, {"head": 1})
    masks_alone(served, 2, ABDOMEN)


def test_nnunet_regions_are_of_several_values(served, bring, tmp_path):
    picture = values(a=(2, ABDOMEN), h=(1, HEAD))
    folder = nnunet(tmp_path / "n", {"background": 0, "abdomen": [1, 2], "stomach": 1, "ignore": 3}, picture)
    assert bring(folder, "nnunet")[1]["alpha"]["left_out"]["classes"] == {"stomach": 1}
    masks_alone(served, 2, ABDOMEN | HEAD)


def test_nnunet_stacks_of_whole_cases_are_read(served, bring, tmp_path):
    stack = np.zeros(SHAPE, np.uint8)
    stack[2], stack[3] = values(a=(1, ABDOMEN), h=(2, HEAD)), values(h=(3, HEAD), a=(1, ABDOMEN))
    stack[4] = values(h=(2, HEAD))
    labels = {"background": 0, "abdomen": 1, "head": 2, "ignore": 3}
    folder = nnunet(tmp_path / "n", labels, stack, "alpha.nii.gz")
    code, results, _ = bring(folder, "nnunet")
    assert (code, results["alpha"]["added"]) == (0, [2])
    assert (results["alpha"]["left_out"]["ignored"], results["alpha"]["left_out"]["classes"]) == ([3], {"head": 2})
    masks_alone(served, 2, ABDOMEN)


def test_nnunets_older_way_to_name_labels_is_read(served, bring, tmp_path):
    picture = values(a=(2, ABDOMEN), h=(1, HEAD))
    assert (
        bring(nnunet(tmp_path / "n", {"0": "background", "1": "head", "2": "abdomen"}, picture), "nnunet")[0] == 0
    )
    masks_alone(served, 2, ABDOMEN)


def test_several_data_sets_are_not_read_as_one(bring, tmp_path):
    nnunet(tmp_path, {"abdomen": 1}, values(a=(1, ABDOMEN)))
    (tmp_path / "Dataset002_Y").mkdir()
    (tmp_path / "Dataset002_Y" / "dataset.json").write_text("{}")
    assert "holds 2 data sets" in bring(tmp_path, "nnunet")[2]


def test_a_frame_in_two_files_is_refused(bring, tmp_path):
    folder = nnunet(tmp_path / "n", {"abdomen": 1}, np.zeros(SHAPE, np.uint8), "alpha.nii.gz")
    Image.fromarray(values(a=(1, ABDOMEN))).save(folder / "Dataset001_X" / "labelsTr" / "alpha_0002.png")
    code, results, _ = bring(folder, "nnunet")
    assert (code, "alpha_0002.png: another file is of frame 2" in results["alpha"]["problem"]) == (2, True)


def test_a_stack_of_another_size_is_refused(served, bring, tmp_path):
    folder = nnunet(tmp_path / "n", {"abdomen": 1}, np.zeros((3, *SHAPE[1:]), np.uint8), "alpha.nii.gz")
    code, results, _ = bring(folder, "nnunet")
    assert code == 2
    assert "alpha.nii.gz: size 3 frames" in results["alpha"]["problem"]


def slicer(path: Path, *names: str) -> Path:
    """A segmentation of frame 2; segment n of value n + 1."""
    stack = np.zeros(SHAPE, np.uint8)
    stack[2] = values(a=(1, ABDOMEN), h=(2, HEAD))
    fields = {}
    for number, name in enumerate(names):
        fields |= {f"Segment{number}_ID": f"S{number}", f"Segment{number}_Name": name}
        fields |= {f"Segment{number}_LabelValue": str(number + 1), f"Segment{number}_Layer": "0"}
    write_volume(path, stack, fields)
    return path


def test_slicers_segments_are_taken_by_name(served, bring, tmp_path):
    code, results, _ = bring(slicer(tmp_path / "alpha.seg.nrrd", "Abdomen", "placenta"), "slicer")
    assert (code, results["alpha"]["left_out"]["classes"]) == (0, {"placenta": 1})
    masks_alone(served, 2, ABDOMEN)


def test_a_segmentation_whose_segments_tell_nothing_is_refused(served, bring, tmp_path):
    file = slicer(tmp_path / "alpha.seg.nrrd", "Segment_1", "Segment_2")
    code, results, _ = bring(file, "slicer")
    assert code == 2
    assert "'Segment_1' (1), 'Segment_2' (2)" in results["alpha"]["problem"]
    assert bring(file, "slicer", "--label", "Segment_2")[0] == 0
    masks_alone(served, 2, HEAD)


def test_slicers_terminology_tells_what_names_do_not(served, bring, tmp_path):
    file = slicer(tmp_path / "alpha.seg.nrrd", "Segment_1", "Segment_2")
    image = sitk.ReadImage(str(file))
    for number, kind in enumerate(("SCT^85756007^Tissue", "SCT^113345001^Abdomen")):
        terminology = f"TerminologyEntry:Categories~SCT^123037004^Anatomical Structure~{kind}~^^~Region~^^~^^|"
        image.SetMetaData(f"Segment{number}_Tags", terminology)
    sitk.WriteImage(image, str(file))
    assert bring(file, "slicer")[0] == 0
    masks_alone(served, 2, HEAD)


def test_a_damaged_segment_is_refused(bring, tmp_path):
    stack = np.zeros(SHAPE, np.uint8)
    fields = {"Segment0_ID": "a", "Segment0_Name": "abdomen", "Segment0_LabelValue": "1", "Segment0_Layer": "x"}
    write_volume(tmp_path / "alpha.seg.nrrd", stack, fields)
    code, results, _ = bring(tmp_path / "alpha.seg.nrrd", "slicer")
    assert (code, "has layer 'x'" in results["alpha"]["problem"]) == (2, True)


def test_pictures_of_one_case_may_have_any_name(served, bring, tmp_path):
    Image.fromarray(ABDOMEN.astype(np.uint8)).save(tmp_path / "frame_000002.png")
    Image.fromarray(ABDOMEN.astype(np.uint8)).save(tmp_path / "beta_0003.png")
    code, results, err = bring(tmp_path, "masks", "--case", "alpha")
    assert code == 0, err
    assert results[None]["files"] == ["beta_0003.png"], "it says that it is of another case"
    masks_alone(served, 2, ABDOMEN)
    assert bring(tmp_path, "masks", "--case", "alfa")[0] == 2


def test_a_picture_that_may_be_of_two_cases_is_imported_into_neither(served, bring, tmp_path):
    studies = tmp_path / "two"
    for case in ("x", "a1b2c3d4-x"):
        write_volume(studies / f"{case}.mha", frames_of(0))
    Image.fromarray(ABDOMEN.astype(np.uint8)).save(tmp_path / "a1b2c3d4-x_0002.png")
    code, results, _ = bring(tmp_path / "a1b2c3d4-x_0002.png", "masks", studies=studies)
    assert code == 2
    assert set(results) == {"x", "a1b2c3d4-x"}
    assert all("may mean" in result["problem"] for result in results.values())
    assert not (studies / "label-versions").exists()


def test_the_summary_says_what_was_left_out_and_that_nothing_changed(served, tmp_path, capsys):
    file = coco(tmp_path / "a.json", [annotation(1, 1), annotation(2, 2), annotation(3, 1, 2, iscrowd=1)])
    words = [
        "labels",
        "import",
        str(file),
        "--from",
        "coco",
        "--rater",
        "cleo",
        "--studies",
        str(served),
        "--quiet",
    ]
    assert main([*words, "--dry-run"]) == 0
    assert "nothing saved (dry run; 1 new, 0 unchanged)" in capsys.readouterr().out
    assert not (served / "label-versions").exists()
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "version 1 (1 new, 0 unchanged)" in out
    assert "other classes: 1 of 'fetal head'" in out
    assert "frames with an ignored region: 3" in out
    assert main(words) == 0
    assert "alpha, cleo: unchanged (0 new, 1 unchanged)" in capsys.readouterr().out


def test_bad_arguments_are_refused_before_anything_is_read(served, bring, tmp_path):
    (tmp_path / "a.json").write_text("{}")
    assert "{number} is not known" in bring(tmp_path / "a.json", "coco", "--pattern", "{number}")[2]
    assert "no such file or folder" in bring(tmp_path / "b.json", "coco")[2]
    assert "no such folder" in bring(tmp_path / "a.json", "coco", studies=tmp_path / "none")[2]
