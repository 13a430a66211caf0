"""Labels as CVAT, Label Studio, YOLO tools and picture editors write them."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from export_files import SHAPE, stored, write_volume
from import_files import ABDOMEN, BOX, BOX_CORNERS, HEAD, masks_alone, runs_of, values
from PIL import Image

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
    corners = " ".join(f"{value / side:.7g}" for value, side in zip(BOX_CORNERS, [SHAPE[2], SHAPE[1]] * 4))
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


def literal_brush(mask: np.ndarray) -> list[int]:
    """The same, written word by word."""
    words = np.repeat(mask.ravel().astype(np.uint8) * 255, 4)
    head = f"{len(words):032b}" + f"{7:05b}" + f"{15:04b}" * 4
    bits = head + "".join(
        f"000{len(part) - 1:016b}" + "".join(f"{word:08b}" for word in part)
        for part in np.split(words, range(50_000, len(words), 50_000))
    )
    bits += "0" * (-len(bits) % 8)
    return [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]


def label_studio(path: Path, *results: dict[str, Any], annotations: int = 1) -> Path:
    size = {"original_width": SHAPE[2], "original_height": SHAPE[1], "image_rotation": 0}
    shapes = [size | {"id": str(n)} | result for n, result in enumerate(results)]
    task = {"id": 5, "data": {"image": "/data/upload/1/a1b2c3d4-alpha_0002.png"}, "annotations": []}
    task["annotations"] = [{"id": 9, "was_cancelled": True, "result": []}, *[{"result": shapes}] * annotations]
    unseen = {"id": 6, "data": {"image": "/data/upload/1/a1b2c3d4-alpha_0003.png"}, "annotations": []}
    path.write_text(json.dumps([task, unseen]))
    return path


def region(kind: str, label: str, **value: Any) -> dict[str, Any]:
    return {"type": f"{kind}labels", "value": {f"{kind}labels": [label], **value}}


@pytest.mark.parametrize("written", [brush, literal_brush])
def test_label_studios_brush_is_read(served, bring, tmp_path, written):
    head = [[x / SHAPE[2] * 100, y / SHAPE[1] * 100] for x, y in ((5, 10), (25, 10), (25, 30), (5, 30))]
    painted = region("brush", "Abdomen", format="rle", rle=written(ABDOMEN))
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


def test_a_packed_export_is_to_be_unpacked(bring, tmp_path):
    with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
        archive.writestr("labelmap.txt", "abdomen:1,2,3::")
    assert "export.zip: is packed; unpack it" in bring(tmp_path / "export.zip", "cvat")[2]


def test_what_a_model_drew_in_cvat_is_proposed_and_a_tag_is_no_empty_frame(served, bring, tmp_path):
    size = f'width="{SHAPE[2]}" height="{SHAPE[1]}"'
    corners = 'points="30,28;90,28;90,72;30,72"'
    (tmp_path / "annotations.xml").write_text(
        f'<annotations><image name="alpha_0002.png" {size}><polygon label="abdomen" source="auto" {corners}/>'
        f'</image><image name="alpha_0003.png" {size}><polygon label="abdomen" source="semi-auto" {corners}/>'
        f'</image><image name="alpha_0004.png" {size}><tag label="abdomen"/></image></annotations>'
    )
    code, results, err = bring(tmp_path, "cvat", "--empty")
    assert (code, results["alpha"]["left_out"]["without_outline"]) == (0, [4]), err
    assert {number: label.state for number, label in stored(served)[1].items()} == {2: "proposed", 3: "annotated"}


@pytest.mark.parametrize("kind", ["bitmask", "vector", "video"])
def test_regions_of_label_studio_that_cannot_be_read_are_no_empty_frames(served, bring, tmp_path, kind):
    choice = {"type": "choices", "value": {"choices": ["unclear"]}}
    file = label_studio(tmp_path / "export.json", choice, region(kind, "Abdomen"))
    code, results, _ = bring(file, "labelstudio", "--empty")
    assert (code, f"type '{kind}labels' cannot be read" in results["alpha"]["problem"]) == (2, True)
    assert not (served / "label-versions").exists()
