"""``fetaliqa best`` as a user runs it."""

from __future__ import annotations

import json

import pytest
from PIL import Image

from fetaliqa.cli.main import main

pytestmark = pytest.mark.usefixtures("own_cache")


def test_the_best_frame_is_found_without_looking_at_all(sample_case, tmp_path, capsys):
    """Phantom only: the frame, and its picture, are those that a look at every frame gives."""
    assert main(["best", str(sample_case), "--quiet", "--json", "--out", str(tmp_path)]) == 0
    quick = json.loads(capsys.readouterr().out)
    assert quick["frames_looked_at"] <= 0.75 * quick["frames"]  # its sweeps are short: 40 frames, not 140
    with Image.open(quick.pop("picture")) as picture:
        assert picture.size[0] > 200
    assert [path.name for path in tmp_path.iterdir()] == [f"{sample_case.stem}_frame{quick['frame']}.png"]
    assert main(["best", str(sample_case), "--quiet", "--json", "--all-frames"]) == 0
    whole = json.loads(capsys.readouterr().out)
    assert whole["frames_looked_at"] == whole["frames"]
    assert whole["quality"] - quick["quality"] <= 0.01
    assert quick["circumference_mm"] == pytest.approx(whole["circumference_mm"], rel=0.03)
    assert main(["best", str(sample_case), "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert f"frame {whole['frame']} (sweep {whole['sweep']})" in printed  # who looked at all of them knows best
    assert "not for clinical use" in printed
    assert "no interval: " in printed  # the demo model is not calibrated
    assert whole["case_measurement"]["interval_absent"] in printed


def test_a_search_is_answered_by_a_whole_assessment_of_before(sample_case, capsys, monkeypatch):
    assert main(["best", str(sample_case), "--quiet", "--all-frames", "--json"]) == 0
    whole = json.loads(capsys.readouterr().out)
    monkeypatch.setattr(
        "fetaliqa.registry.assessment_service.assess", lambda *_args, **_kwargs: pytest.fail("computed again")
    )
    assert main(["best", str(sample_case), "--quiet", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == whole


def test_wrong_input_is_one_sentence(sample_case, tmp_path, capsys):
    wrong = tmp_path / "notes.mha"
    wrong.write_text("this is not an image\n")
    assert main(["best", str(wrong), str(sample_case), "--quiet"]) == 2
    captured = capsys.readouterr()
    assert "notes.mha" in captured.err
    assert "Traceback" not in captured.err
    assert sample_case.stem in captured.out
    assert main(["best", str(sample_case), str(sample_case), "--out", str(tmp_path / "out")]) == 2
    assert "would overwrite each other" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_sweep_without_anatomy_has_no_best_frame(tmp_path, capsys):
    import numpy as np
    import SimpleITK

    rng = np.random.default_rng(0)
    noise = rng.integers(1, 30, (30, 90, 120)).astype(np.uint8)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(noise), str(tmp_path / "noise.mha"))
    assert (
        main(["best", str(tmp_path / "noise.mha"), "--quiet", "--no-cache", "--out", str(tmp_path / "out")]) == 0
    )
    printed = capsys.readouterr().out
    assert "no frame;" in printed
    assert "  note: pixel spacing of exactly 1 x 1 mm" in printed  # what reading decided or found doubtful
    assert not (tmp_path / "out").exists()
