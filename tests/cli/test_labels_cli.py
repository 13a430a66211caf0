"""``fetaliqa labels``: what it prints, and with which exit code."""

import json

import numpy as np
import pytest
import SimpleITK as sitk

from fetaliqa.cli.main import main
from fetaliqa.labels import FrameLabel, FrameRecord, LabelStore


@pytest.fixture
def studies(tmp_path):
    """One case of four frames that two raters outlined; anna twice."""
    folder = tmp_path / "studies"
    folder.mkdir()
    frames = np.random.default_rng(0).integers(30, 200, (4, 48, 64)).astype(np.uint8)
    image = sitk.GetImageFromArray(frames)
    image.SetSpacing((0.5, 0.5, 1.0))
    sitk.WriteImage(image, str(folder / "case-1.mha"))
    store = LabelStore(folder / "label-versions")
    for tag, side in (("anna", 10), ("anna", 12), ("bo", 12)):
        masks = np.zeros_like(frames)
        masks[1, 10 : 10 + side, 10 : 10 + side] = 1
        mask = sitk.GetImageFromArray(masks)
        mask.CopyInformation(image)
        sitk.WriteImage(mask, str(tmp_path / "mask.nii.gz"))
        record = FrameRecord({1: FrameLabel("annotated", "optimal", tag), 2: FrameLabel("empty", rater=tag)})
        store.save("case-1", tag, tmp_path / "mask.nii.gz", record, {"user": tag})
    return folder


@pytest.fixture
def labels(studies, capsys):
    def call(*words):
        code = main(["labels", words[0], "--studies", str(studies), *words[1:]])
        return code, *capsys.readouterr()

    return call


def test_labels_and_their_versions_are_listed(labels):
    code, out, _ = labels("list")
    assert code == 0
    assert [line.split("  ")[:3] for line in out.splitlines()] == [["case-1", "anna", "2"], ["case-1", "bo", "1"]]
    assert "1 annotated, 1 empty" in out
    _, out, _ = labels("list", "case-1", "--tag", "anna", "--json")
    assert [one["version"] for one in json.loads(out)] == [1, 2]
    code, _, err = labels("list", "case-1")
    assert code == 2
    assert "no label with tag 'final'; its tags: anna, bo" in err


def test_proposed_frames_are_confirmed_in_one_step(labels, studies, tmp_path):
    store = LabelStore(studies / "label-versions")
    masks = np.zeros((4, 48, 64), np.uint8)
    masks[:3, 10:20, 10:20] = 1
    sitk.WriteImage(sitk.GetImageFromArray(masks), str(tmp_path / "stock.nii.gz"))
    record = FrameRecord({0: FrameLabel("proposed", model="demo"), 1: FrameLabel("annotated", rater="anna")})
    store.save("case-1", "final", tmp_path / "stock.nii.gz", record, {"user": "stock"})
    code, out, _ = labels("confirm", "case-1", "--reviewer", "bo", "--frames", "0,3")
    assert (code, out) == (0, "case-1, final: version 2 confirms 2 frame(s) of version 1\n")
    frames = store.current("case-1", "final").record.frames
    assert {number: (one.state, one.rater, one.model) for number, one in frames.items()} == {
        0: ("annotated", "bo", "demo"),
        1: ("annotated", "anna", None),
        3: ("empty", "bo", None),
    }
    code, out, _ = labels("confirm", "case-1", "--version", "2", "--json")  # a mask that no record names
    assert json.loads(out)["frames"] == {"annotated": 3, "empty": 1}
    for words, problem in (
        (("case-1",), "version 3 has no proposed frame to confirm"),
        (("case-1", "--version", "1"), "version 3 was saved meanwhile"),
        (("case-1", "--version", "9"), "there is no version 9"),
        (("case-1", "--frames", "4"), "there is no frame 4; its frames are 0 to 3"),
        (("case-1", "--frames", "2-"), "frames '2-'; numbers from 0 and ranges"),
        (("case-2",), "case-2, final: there is no version 0"),
    ):
        code, _, err = labels("confirm", *words)
        assert (code, problem in err) == (2, True), (words, err)
    assert store.latest("case-1", "final") == 3


def test_an_earlier_version_is_restored(labels, studies):
    code, out, _ = labels("restore", "case-1", "1", "--tag", "anna")
    assert (code, out) == (0, "case-1, anna: version 3 restores version 1\n")
    assert LabelStore(studies / "label-versions").current("case-1", "anna").restored_from == 1
    code, _, err = labels("restore", "case-1", "9", "--tag", "anna")
    assert code == 2
    assert "there is no version 9; there are versions 1 to 3" in err


def test_raters_are_compared(labels):
    code, out, _ = labels("agreement", "case-1", "anna", "bo", "--json")
    agreement = json.loads(out)
    assert code == 0
    assert (agreement["frames"], agreement["outlined_by_both"], agreement["dice"], agreement["kappa"]) == (
        2,
        1,
        1.0,
        1.0,
    )
    code, out, _ = labels("agreement", "case-1", "anna", "bo")
    assert "Dice: 1.000" in out
    code, out, _ = labels("agreement", "anna", "bo")
    assert code == 0
    assert "case-1: 1 of 2 frames outlined by both, Dice 1.000, circumference 0.0%" in out
    assert "1 cases: anna and bo both labelled 2 frames, both outlined 1" in out
    agreement = json.loads(labels("agreement", "anna", "bo", "--json")[1])
    assert (agreement["frames"], agreement["cases"]["case-1"]["dice"]) == (2, 1.0)
    code, _, err = labels("agreement", "anna", "carla")
    assert (code, "no case has labels of both anna and carla; tags: anna, bo" in err) == (2, True), err
    assert labels("agreement", "case-1", "anna", "carla")[0] == 2
    assert "no image of this name" in labels("agreement", "case-2", "anna", "bo")[2]


def test_damage_is_a_problem(labels, studies):
    code, out, _ = labels("check")
    assert (code, "problem" in out) == (0, False)
    (studies / "label-versions/case-1/bo/000001/mask.nii.gz").write_bytes(b"x")
    code, out, _ = labels("check")
    assert code == 1
    assert "case-1, bo, version 1: its mask was changed after it was saved" in out


def test_a_folder_without_labels_is_said_so(tmp_path, capsys):
    assert main(["labels", "list", "--studies", str(tmp_path)]) == 2
    assert "no labels saved by a FetalIQA server" in capsys.readouterr().err
    assert main(["labels", "check", "--studies", str(tmp_path / "x")]) == 2
    assert "no such folder" in capsys.readouterr().err
