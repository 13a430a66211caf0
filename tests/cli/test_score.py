"""``fetaliqa score`` as a user runs it: real files, real demo model, wrong input."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys

import pytest
import SimpleITK
from PIL import Image

from fetaliqa.cli.main import main

pytestmark = pytest.mark.usefixtures("own_cache")


def test_a_sample_case_gives_masks_table_json_and_contact_sheet(sample_case, tmp_path, capsys):
    assert main(["score", str(sample_case), "--out", str(tmp_path), "--quiet"]) == 0
    assert "not for clinical use" in capsys.readouterr().out
    folder = tmp_path / sample_case.stem
    record = json.loads((folder / "assessment.json").read_text())
    assert record["schema"] == 1
    assert record["model"]["name"] == "demo"
    assert len(record["sweeps"]) == 2
    with open(folder / "frames.csv", newline="") as stream:
        assert len(list(csv.DictReader(stream))) == record["shape"][0]
    image, mask = SimpleITK.ReadImage(str(sample_case)), SimpleITK.ReadImage(str(folder / "masks.mha"))
    assert (mask.GetSize(), mask.GetSpacing()) == (image.GetSize(), image.GetSpacing())
    with Image.open(folder / "contact_sheet.png") as picture:
        assert min(picture.size) > 400


def test_the_demo_model_finds_the_abdomen_of_a_sample_case(sample_case, sample_data, capsys):
    """Phantom accuracy only: the outline overlaps the truth on annotated frames."""
    from fetaliqa.evaluation.frame_metrics import dice
    from fetaliqa.registry import AssessmentService

    result = AssessmentService("demo", device="cpu").assess(sample_case)
    truth = SimpleITK.GetArrayFromImage(
        SimpleITK.ReadImage(str(sample_data / "masks" / "stacked_fetal_abdomen" / sample_case.name))
    )
    annotated = [frame for frame in range(len(truth)) if truth[frame].any()]
    scores = [dice(result.masks[frame], truth[frame]) for frame in annotated]
    assert len(scores) >= 2
    assert sum(scores) / len(scores) > 0.85


def test_masks_of_a_slicer_sequence_are_a_sequence_on_its_grid(sample_case, tmp_path, capsys):
    """Computed, and from the cache, which does not read the file again."""
    frames = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(sample_case)))[:3]
    count, height, width = frames.shape
    header = (
        f"NRRD0005\ntype: uchar\ndimension: 4\nspace: RAS\nsizes: {count} {width} {height} 1\nencoding: raw\n"
        "kinds: list domain domain domain\nspace directions: none (0.3,0,0) (0,0.3,0) (0,0,1)\n"
        "space origin: (1,2,3)\n\n"
    )
    path = tmp_path / "first.seq.nrrd"
    path.write_bytes(header.encode() + frames.transpose(1, 2, 0).tobytes())
    for target in ("computed", "cached"):
        options = ["--out", str(tmp_path / target), "--mask-format", ".nrrd", "--quiet"]
        assert main(["score", str(path), *options]) == 0
        masks = next((tmp_path / target).rglob("masks.nrrd"))
        text = masks.read_bytes().split(b"\n\n")[0].decode()
        assert f"sizes: {width} {height} 1 {count}" in text
        assert "kinds: domain domain domain list" in text
        source, mask = SimpleITK.ReadImage(str(path)), SimpleITK.ReadImage(str(masks))
        assert mask.GetSize() == source.GetSize()  # to SimpleITK, frames are values of a pixel in both
        assert mask.GetOrigin() == source.GetOrigin() == (-1, -2, 3)
        assert mask.GetDirection() == source.GetDirection()


def test_json_is_one_object_per_case(sample_case, capsys):
    assert main(["score", str(sample_case), "--json", "--quiet"]) == 0
    assert json.loads(capsys.readouterr().out)["case_id"] == sample_case.stem


def test_a_frame_and_its_sweep_have_the_same_numbers_in_the_table_in_best_and_in_json(sample_case, capsys):
    assert main(["score", str(sample_case), "--json", "--quiet"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert main(["score", str(sample_case), "--quiet"]) == 0
    printed = capsys.readouterr().out
    rows = re.findall(r"^ +\d+ +(\d+) +(\d+) +0\.\d+", printed, re.MULTILINE)
    expected = [(frame, record["frames"][frame]["sweep"]) for frame in record["ranking"]]
    assert [(int(frame), int(sweep)) for frame, sweep in rows] == expected
    assert "counted from 0" in printed
    assert main(["best", str(sample_case), "--all-frames", "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "frame {} (sweep {})".format(*expected[0]) in printed
    assert "counted from 0" in printed
    assert main(["best", str(sample_case), "--all-frames", "--quiet", "--json"]) == 0
    best = json.loads(capsys.readouterr().out)
    assert (best["frame"], best["sweep"]) == expected[0]


def test_wrong_input_is_one_sentence_and_the_others_are_still_assessed(sample_case, tmp_path, capsys):
    wrong = tmp_path / "notes.mha"
    wrong.write_text("this is not an image\n")
    assert main(["score", str(wrong), str(sample_case), "--quiet"]) == 2
    captured = capsys.readouterr()
    assert "notes.mha" in captured.err
    assert "Traceback" not in captured.err
    assert sample_case.stem in captured.out


@pytest.mark.parametrize(
    ("arguments", "printed"),
    [
        (["nowhere.mha"], "no such file"),
        (["--top", "0", "."], "top_n"),
        (["--threshold", "7", "."], "threshold"),
        (["--model", "no-such-model", "CASE"], "no-such-model"),
        (["--device", "cuda:77", "--no-cache", "CASE"], "cuda:77"),
    ],
)
def test_a_wrong_argument_is_named_and_exits_with_2(arguments, printed, sample_case, capsys):
    arguments = [str(sample_case) if argument == "CASE" else argument for argument in arguments]
    assert main(["score", *arguments, "--quiet"]) == 2
    assert printed in capsys.readouterr().err


def test_what_the_system_refuses_is_one_sentence_too(sample_case, tmp_path, capsys):
    taken = tmp_path / "file"
    taken.write_text("not a folder")
    assert main(["score", str(sample_case), "--quiet", "--no-cache", "--out", str(taken)]) == 2
    printed = capsys.readouterr().err
    assert str(taken) in printed
    assert "check the path" in printed
    assert "Traceback" not in printed


def test_an_implausible_circumference_is_remarked_on(tmp_path, sample_case, capsys):
    image = SimpleITK.ReadImage(str(sample_case))
    image.SetSpacing((5.6, 5.6, 1.0))  # ten times too large
    SimpleITK.WriteImage(image, str(tmp_path / "huge.mha"), useCompression=True)
    assert (
        main(["score", str(tmp_path / "huge.mha"), "--quiet", "--no-cache", "--out", str(tmp_path / "out")]) == 0
    )
    assert "is outside the plausible" in capsys.readouterr().out
    assert "is outside the plausible" in (tmp_path / "out" / "summary.csv").read_text()
    assert "is outside the plausible" in (tmp_path / "out" / "huge" / "frames.csv").read_text()


def test_a_real_single_frame_is_assessed_without_pretending_to_know_millimetres(shared_data, capsys):
    """A software check: the demo model knows phantoms only."""
    path = shared_data / "acouslic" / "native_frame_A.png"
    assert main(["score", str(path), "--json", "--quiet"]) == 0
    (frame,) = json.loads(capsys.readouterr().out)["frames"]
    assert 0 <= frame["quality"] <= 1
    assert frame.get("circumference_mm") is None


def test_help_imports_neither_torch_nor_simpleitk():
    code = (
        "import sys; from fetaliqa.cli.main import build_parser; build_parser().format_help(); "
        "sys.exit(any(name in sys.modules for name in ('torch', 'SimpleITK', 'open_clip', 'monai')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0
