"""Of what was labelled elsewhere, the anatomy is imported; other classes and what nobody knows are left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from export_files import SHAPE, ellipse, frames_of, stored, write_volume
from PIL import Image

from fetaliqa.cli.main import main

ABDOMEN = ellipse(1) > 0
HEAD = np.zeros(SHAPE[1:], bool)
HEAD[10:30, 5:25] = True
POLYGONS = {"abdomen": [[30, 28, 90, 28, 90, 72, 30, 72]], "head": [[5, 10, 25, 10, 25, 30, 5, 30]]}
BOX = np.zeros(SHAPE[1:], bool)
BOX[28:72, 30:90] = True


def annotation(number: int, category: Any, image: Any = 1, **more: Any) -> dict[str, Any]:
    kind = "head" if category == 2 else "abdomen"
    told = {"id": number, "image_id": image, "category_id": category, "iscrowd": 0, "segmentation": POLYGONS[kind]}
    return told | more


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


def masks_alone(served: Path, frame: int, inside: np.ndarray) -> None:
    masks, frames = stored(served)
    assert [number for number, label in frames.items() if label.state == "annotated"] == [frame]
    assert np.array_equal(masks[frame] > 0, inside)


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
    return {int(n): told["state"] for n, told in json.loads(file.read_text())["record"]["frames"].items()}


def test_cvat_marks_brush_masks_as_crowds(served, bring, tmp_path):
    runs = {"size": list(SHAPE[1:]), "counts": runs_of(ABDOMEN)}
    file = coco(tmp_path / "a.json", [annotation(1, 1, segmentation=runs, iscrowd=1)])
    assert bring(file, "coco")[1]["alpha"]["left_out"]["ignored"] == [2]
    assert bring(file, "coco", "--crowd")[0] == 0
    masks_alone(served, 2, ABDOMEN)


def runs_of(mask: np.ndarray, order: str = "F") -> list[int]:
    flat = mask.ravel(order=order)
    borders = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    return np.diff(np.concatenate(([0], borders, [flat.size]))).tolist()


def test_boxes_are_no_outlines(served, bring, tmp_path):
    file = coco(tmp_path / "a.json", [annotation(1, 1, segmentation=[], bbox=[1, 1, 9, 9])])
    code, results, _ = bring(file, "coco", "--empty")
    assert (code, results["alpha"]["left_out"]["without_outline"]) == (0, [2])
    assert stored_states(served) == {3: "empty"}, "and no empty frame either"


def test_coco_as_other_programs_write_it(served, bring, tmp_path):
    """Ids and sizes as text, categories from 0, several polygons, flat ones, compressed run lengths, UTF-16."""
    from pycocotools import mask as coco_mask

    packed = coco_mask.encode(np.asfortranarray(ABDOMEN.astype(np.uint8)))["counts"].decode()
    told = [
        annotation(1, "0", "x", segmentation=[*POLYGONS["abdomen"], *POLYGONS["head"]]),
        annotation(2, "0", "x", segmentation=POLYGONS["abdomen"][0]),
        annotation(3, 0, "y", segmentation={"size": list(SHAPE[1:]), "counts": packed}),
    ]
    images = [
        {"id": id_, "file_name": f"alpha_{n}.PNG", "height": str(SHAPE[1]), "width": str(SHAPE[2])}
        for id_, n in (("x", 2), ("y", 3))
    ]
    file = coco(tmp_path / "a.json", told, categories=(), images=images)
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


def values(**inside: tuple[int, np.ndarray]) -> np.ndarray:
    picture = np.zeros(SHAPE[1:], np.uint8)
    for value, where in inside.values():
        picture[where] = value
    return picture


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


def test_a_damaged_segment_is_refused(bring, tmp_path):
    stack = np.zeros(SHAPE, np.uint8)
    fields = {"Segment0_ID": "a", "Segment0_Name": "abdomen", "Segment0_LabelValue": "1", "Segment0_Layer": "x"}
    write_volume(tmp_path / "alpha.seg.nrrd", stack, fields)
    code, results, _ = bring(tmp_path / "alpha.seg.nrrd", "slicer")
    assert (code, "has no layer x" in results["alpha"]["problem"]) == (2, True)


CVAT_XML = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version>
<meta><task><labels><label><name>abdomen</name></label><label><name>head</name></label></labels></task></meta>
<image id="0" name="job_3/alpha_0002.png" width="{w}" height="{h}">
  <polygon label="head" points="5,10;25,10;25,30;5,30" /><mask label="abdomen" rle="{rle}" left="30" top="28"
  width="60" height="44" /></image>
<image id="1" name="alpha_0003.png" width="{w}" height="{h}"><box label="abdomen" xtl="1" ytl="1" xbr="9"
  ybr="9"/></image>
<image id="2" name="alpha_0004.png" width="{w}" height="{h}"><tag label="ignore"/></image>
<image id="3" name="beta_0001.png" width="{w}" height="{h}"><ellipse label="abdomen" cx="60.5" cy="50.5" rx="30.5"
  ry="22.5" rotation="0" /></image>
</annotations>"""


def test_cvats_xml_is_read(served, bring, tmp_path):
    part = ABDOMEN[28:72, 30:90]
    rle = ", ".join(map(str, runs_of(part, "C")))
    (tmp_path / "annotations.xml").write_text(CVAT_XML.format(w=SHAPE[2], h=SHAPE[1], rle=rle))
    code, results, err = bring(tmp_path, "cvat", "--empty")
    assert code == 0, err
    left = results["alpha"]["left_out"]
    assert (left["classes"], left["without_outline"], left["ignored"]) == ({"head": 1}, [3], [4])
    masks_alone(served, 2, ABDOMEN & np.pad(np.ones_like(part), ((28, 24), (30, 30))))
    drawn = stored(served, "beta")[0][1] > 0
    assert np.count_nonzero(drawn ^ ABDOMEN) < 0.02 * np.count_nonzero(ABDOMEN)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("<annotations><track id='0' label='abdomen'/></annotations>", "has tracks of a video"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><annotations/>", "not XML"),
        ("<annotations>", "not XML"),
        ("<svg/>", "no annotations of CVAT"),
    ],
)
def test_other_xml_is_refused(bring, tmp_path, text, words):
    (tmp_path / "annotations.xml").write_text(text)
    code, _, err = bring(tmp_path, "cvat")
    assert (code, words in err) == (2, True), err


@pytest.mark.parametrize(
    ("name", "text"), [("data.yaml", b"names: [head, abdomen]\n"), ("classes.txt", b"head\r\nabdomen\r\n")]
)
def test_yolo_classes_are_taken_by_the_names_of_its_data(served, bring, tmp_path, name, text):
    (tmp_path / "labels" / "train").mkdir(parents=True)
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text)
    corners = " ".join(
        f"{value / side:.7g}" for value, side in zip(POLYGONS["abdomen"][0], [SHAPE[2], SHAPE[1]] * 4)
    )
    (tmp_path / "labels" / "train" / "alpha_0002.txt").write_text(f"1 {corners}\n0 0.1 0.1 0.2 0.1 0.2 0.2\n")
    (tmp_path / "labels" / "train" / "alpha_0003.txt").write_text("1 0.5 0.5 0.2 0.2\n")
    code, results, err = bring(tmp_path, "yolo")
    assert (code, results["alpha"]["left_out"]["without_outline"]) == (0, [3]), err
    assert results["alpha"]["left_out"]["classes"] == {"head": 1}
    masks_alone(served, 2, BOX)


def brush(mask: np.ndarray) -> list[int]:
    """What Label Studio writes for a painted mask: every run of equal words as one, lengths of 16 bits."""
    words = np.repeat(mask.ravel().astype(np.uint8) * 255, 4)
    bits = f"{len(words):032b}" + f"{7:05b}" + f"{15:04b}" * 4
    borders = np.concatenate(([0], np.flatnonzero(words[1:] != words[:-1]) + 1, [len(words)]))
    for first, last in zip(borders[:-1].tolist(), borders[1:].tolist()):
        while first < last:
            length = min(last - first, 1 << 16)
            bits += f"100{length - 1:016b}{words[first]:08b}"
            first += length
    bits += "0" * (-len(bits) % 8)
    return [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]


def label_studio(path: Path, *results: dict[str, Any], annotations: int = 1) -> Path:
    size = {"original_width": SHAPE[2], "original_height": SHAPE[1], "image_rotation": 0}
    told = [size | {"id": str(n)} | result for n, result in enumerate(results)]
    task = {"id": 5, "data": {"image": "/data/upload/1/a1b2c3d4-alpha_0002.png"}, "annotations": []}
    task["annotations"] = [{"id": 9, "was_cancelled": True, "result": []}, *[{"result": told}] * annotations]
    unseen = {"id": 6, "data": {"image": "/data/upload/1/a1b2c3d4-alpha_0003.png"}, "annotations": []}
    path.write_text(json.dumps([task, unseen]))
    return path


def region(kind: str, label: str, **value: Any) -> dict[str, Any]:
    return {"type": f"{kind}labels", "value": {f"{kind}labels": [label], **value}}


def test_label_studios_brush_is_read(served, bring, tmp_path):
    head = [[x / SHAPE[2] * 100, y / SHAPE[1] * 100] for x, y in ((5, 10), (25, 10), (25, 30), (5, 30))]
    painted = region("brush", "Abdomen", format="rle", rle=brush(ABDOMEN))
    file = label_studio(tmp_path / "export.json", painted, region("polygon", "Head", points=head))
    code, results, err = bring(file, "labelstudio", "--empty")
    assert (code, results["alpha"]["left_out"]["classes"]) == (0, {"Head": 1}), err
    masks_alone(served, 2, ABDOMEN)
    assert bring(file, "labelstudio", "--anatomy", "head", rater="dan")[0] == 0
    assert np.array_equal(stored(served, tag="dan")[0][2] > 0, HEAD)


def test_label_studio_as_it_cannot_be_used(bring, tmp_path):
    painted = region("brush", "Abdomen", format="rle", rle=brush(ABDOMEN)[:-4])
    code, results, _ = bring(label_studio(tmp_path / "export.json", painted), "labelstudio")
    assert (code, "brush mask is not of 96 x 120 pixels" in results["alpha"]["problem"]) == (2, True)
    twice = label_studio(tmp_path / "export.json", painted, annotations=2)
    assert "has 2 annotations" in bring(twice, "labelstudio")[1]["alpha"]["problem"]
    (tmp_path / "export.json").write_text('[{"image": "a.png", "tag": []}]')
    assert "not Label Studio's export `JSON`" in bring(tmp_path / "export.json", "labelstudio")[2]


def test_label_studios_brush_pictures_tell_the_class_by_name(served, bring, tmp_path):
    for label, where in (("Abdomen", ABDOMEN), ("Head", HEAD)):
        picture = Image.fromarray(where.astype(np.uint8) * 255)
        picture.save(tmp_path / f"task-2-annotation-9-by-1-tag-{label}-0.png")
    code, results, err = bring(
        tmp_path, "masks", "--case", "alpha", "--pattern", "task-{frame}-annotation-*-tag-{label}-*.png"
    )
    assert (code, results["alpha"]["left_out"]["classes"]) == (0, {"Head": 1}), err
    masks_alone(served, 2, ABDOMEN)


@pytest.mark.parametrize("mode", ["1", "L", "255", "P", "RGB", "I;16"])
def test_masks_of_inside_and_outside_are_read_however_they_are_written(served, bring, tmp_path, mode):
    picture = Image.fromarray(ABDOMEN.astype(np.uint8) * (255 if mode in ("255", "RGB", "1") else 1))
    if mode == "P":
        picture.putpalette([0, 0, 0, 200, 10, 10])
    elif mode == "I;16":
        picture = Image.fromarray(ABDOMEN.astype(np.uint16))
    elif mode not in ("L", "255"):
        picture = picture.convert(mode)
    picture.save(tmp_path / "alpha_0002.png")
    code, _, err = bring(tmp_path, "masks")
    assert code == 0, err
    masks_alone(served, 2, ABDOMEN)


def test_masks_of_several_values_are_refused_unless_one_is_named(served, bring, tmp_path):
    Image.fromarray(values(a=(1, ABDOMEN), h=(2, HEAD))).save(tmp_path / "alpha_0002.png")
    Image.fromarray(values(a=(1, ABDOMEN))).save(tmp_path / "beta_0002.png")  # 1 may be anything here too
    code, _, err = bring(tmp_path, "masks")
    assert (code, "value 1, value 2" in err) == (2, True), err
    code, results, _ = bring(tmp_path, "masks", "--label", "1")
    assert (code, results["alpha"]["left_out"]["classes"]) == (0, {"value 2": 1})
    masks_alone(served, 2, ABDOMEN)


def coloured(picture: Image.Image) -> Image.Image:
    return Image.merge("RGB", [picture, picture.point(lambda value: value // 2), picture])


def smaller(picture: Image.Image) -> Image.Image:
    return picture.resize((60, 48), Image.Resampling.NEAREST)


def pages(picture: Image.Image) -> list[Image.Image]:
    return [picture, picture]


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("alpha_0002.png", coloured, "is coloured"),
        ("alpha_0002.jpg", Image.Image.copy, "its compression changes values"),
        ("alpha_0002.tif", pages, "holds 2 pages"),
        ("alpha_0002.png", smaller, "48 x 60 pixels, but frames of alpha have 96 x 120"),
    ],
)
def test_pictures_that_are_no_masks_are_refused_by_name(bring, tmp_path, name, make, words):
    made = make(Image.fromarray(ABDOMEN.astype(np.uint8) * 255))
    first, *others = made if isinstance(made, list) else [made]
    first.save(tmp_path / name, **({"save_all": True, "append_images": others} if others else {}))
    code, results, _ = bring(tmp_path, "masks")
    assert code == 2
    assert name in results["alpha"]["problem"]
    assert words in results["alpha"]["problem"]


def test_stacks_of_masks_are_read(served, bring, tmp_path):
    stack = np.zeros(SHAPE, np.uint8)
    stack[2] = ABDOMEN
    write_volume(tmp_path / "alpha.nrrd", stack)
    assert bring(tmp_path, "stacks")[0] == 0
    masks_alone(served, 2, ABDOMEN)
    stack[2][HEAD] = 2
    write_volume(tmp_path / "alpha.nrrd", stack)
    code, _, err = bring(tmp_path, "stacks", rater="dan")
    assert (code, "value 1, value 2" in err) == (2, True), err


def test_colours_of_cvat_are_classes(served, bring, tmp_path):
    (tmp_path / "SegmentationClass" / "job_7").mkdir(parents=True)
    (tmp_path / "labelmap.txt").write_bytes(
        b"\xef\xbb\xbf# label:color_rgb:parts:actions\nabdomen:1,2,3::\nbackground:0,0,0::\nhead:9,8,7::\n"
    )
    picture = np.zeros((*SHAPE[1:], 3), np.uint8)
    picture[ABDOMEN], picture[HEAD] = (1, 2, 3), (9, 8, 7)
    cv2.imwrite(str(tmp_path / "SegmentationClass" / "job_7" / "alpha_0002.png"), picture[..., ::-1])
    code, results, _ = bring(tmp_path, "cvat")
    assert (code, results["alpha"]["left_out"]["classes"]) == (0, {"head": 1})
    masks_alone(served, 2, ABDOMEN)


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
    assert "nothing saved (dry run; 1 new, 0 the same)" in capsys.readouterr().out
    assert not (served / "label-versions").exists()
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "version 1 (1 new, 0 the same)" in out
    assert "other classes: 1 of 'fetal head'" in out
    assert "of which nothing is known: 3" in out
    assert main(words) == 0
    assert "alpha, cleo: unchanged (0 new, 1 the same)" in capsys.readouterr().out


def test_bad_arguments_are_refused_before_anything_is_read(served, bring, tmp_path):
    (tmp_path / "a.json").write_text("{}")
    assert "{number} is not known" in bring(tmp_path / "a.json", "coco", "--pattern", "{number}")[2]
    assert "no such file or folder" in bring(tmp_path / "b.json", "coco")[2]
    assert "no such file or folder" in bring(tmp_path / "a.json", "coco", studies=tmp_path / "none")[2]
