"""The simulated annotator: the loop end to end on a small scale, and what its report says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundle_cards import a_card

from fetaliqa.cli.main import main
from fetaliqa.lab.efficiency.annotation_simulation import FULL, Simulation, simulate
from fetaliqa.lab.efficiency.efficiency_report import draw_curves, summarise
from fetaliqa.lab.efficiency.simulation_data import (
    phantom_maker,
    prepare_cases,
    read_cases,
    subsample_case,
    subsampled_phantom,
)
from fetaliqa.model import (
    Architecture,
    BaseReference,
    DecoderConfig,
    VisionConfig,
    build_segmentation,
    save_bundle,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a tiny random encoder."""
    torch.manual_seed(0)
    vision = VisionConfig(image_size=64, patch_size=16, width=16, layers=4, heads=2, embed_dim=16, mlp_ratio=2.0)
    model = build_segmentation(
        Architecture("tiny", vision, DecoderConfig(taps=(1, 2, 3, 4), init_filters=2)),
        random_init=True,
        encoder="full",
    ).eval()
    folder = tmp_path_factory.mktemp("base") / "tiny"
    save_bundle(model, a_card(model, base=BaseReference("included", "")), folder)
    return folder


def settings(base: Path, **changes: Any) -> Simulation:
    values: dict[str, Any] = {
        "base": str(base),
        "pool": ("phantom-60000", "phantom-60001"),
        "test": ("phantom-61000",),
        "step": 8,
        "budgets": (6, 12),
        "seeds": 2,
        "strategies": ("fetaliqa", "random"),
        "frames": 3,
        "per_sweep": 1,
        "gap": 15,
        "steps": 2,
        "full_steps": 2,
    }
    return Simulation(**{**values, **changes})


def test_a_thinned_phantom_is_every_nth_frame_of_the_whole() -> None:
    thin = subsampled_phantom(60_000, 8)
    assert thin.case.frames.any(axis=(1, 2)).all(), "a black slot was kept"
    assert len(thin.case.frames) == thin.case.ranges[-1][1] == len(thin.numbers)
    for (start, stop), sweep in zip(thin.case.ranges, range(6)):
        assert thin.numbers[start:stop].tolist() == list(range(sweep * 140, sweep * 140 + 8 * (stop - start), 8))
    again = subsample_case(thin.case, 2)
    assert np.array_equal(again.case.masks[0], thin.case.masks[0])
    assert again.case.circumferences_mm == thin.case.circumferences_mm
    assert len(again.numbers) == sum(-(-(stop - start) // 2) for start, stop in thin.case.ranges)


def test_the_loop_spends_its_budget_and_goes_on_where_it_was(tmp_path: Path, base: Path) -> None:
    simulation = settings(base)
    prepare_cases(tmp_path / "cases", (*simulation.pool, *simulation.test), phantom_maker(8))
    thin = read_cases(tmp_path / "cases", simulation.test)[0]
    assert np.array_equal(thin.case.frames, subsampled_phantom(61_000, 8).case.frames)
    rows = simulate(tmp_path, simulation)
    assert len(rows) == 2 * (2 * 2 + 1)
    for row in rows:
        if row["strategy"] != FULL:
            assert row["frames"] == simulation.budgets[row["round"]]
        assert 0 <= row["f1"] <= 1
    file = tmp_path / "runs" / "random-1.json"
    before = file.read_bytes()
    file.unlink()
    seen: list[tuple[int, int]] = []
    again = simulate(tmp_path, simulation, progress=lambda *done: seen.append(done))
    assert seen == [(5, 6), (6, 6)], "more than what was missing was run"
    assert file.read_bytes() == before, "the same seed gave another run"
    assert again == rows


def test_areas_and_the_share_of_labels_by_hand() -> None:
    def row(strategy: str, number: int, frames: int, dice: float | None) -> dict[str, Any]:
        fields = {"strategy": strategy, "seed": 0, "round": number, "frames": frames, "outlined": 1, "cases": 1}
        return {**fields, "dice": dice, "f1": 0.5, "ac_error_mm": None, "challenge": 0.5}

    simulation = settings(Path("x"), budgets=(4, 8, 32), seeds=1, strategies=("random",))
    rows = [
        row("random", 0, 4, None),
        row("random", 1, 8, 0.4),
        row("random", 2, 32, 0.78),
        row(FULL, 0, 100, 0.8),
    ]
    summary = summarise(rows, simulation, 100)
    random_summary = summary["strategies"]["random"]
    # over log2 of the frames: 2, 3, 5
    assert random_summary["area"]["dice"]["mean"] == pytest.approx((0.2 * 1 + 0.59 * 2) / 3, abs=1e-4)
    assert random_summary["area"]["f1"]["mean"] == 0.5
    assert (random_summary["frames_to_95"], random_summary["share_to_95"]) == (32, 0.32)
    assert random_summary["curve"][0]["dice"] == {"mean": None, "std": None}
    assert draw_curves(summary, synthetic=True).startswith(b"\x89PNG")
    rows[2]["dice"] = 0.75
    assert summarise(rows, simulation, 100)["strategies"]["random"]["frames_to_95"] is None


def test_the_command_writes_a_report_that_says_phantom(
    tmp_path: Path, base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "curves"
    command = ["simulate", str(out), "--base", str(base), "--pool-cases", "1", "--test-cases", "1", "--step", "12"]
    command += ["--seeds", "1", "--budgets", "3,6", "--steps", "1", "--full-steps", "1"]
    command += ["--strategies", "strided,diversity"]
    assert main([*command, "--json"]) == 0
    output = json.loads(capsys.readouterr().out)
    assert output["synthetic"] is True
    assert set(output["strategies"]) == {"strided", "diversity"}
    text = (out / "README.md").read_text()
    assert "synthetic phantoms; they say nothing of patients" in text
    assert {path.name for path in out.iterdir()} >= {"README.md", "curves.png", "rows.csv", "summary.json"}
    assert main([*command, "--gap", "20"]) == 2
    assert "holds a simulation with other settings" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--budgets", "8,4"], "budgets are [8, 4]"),
        (["--budgets", "a"], "--budgets is 'a'"),
        (["--strategies", "best"], "unknown 'best'"),
        (["--seeds", "0"], "--seeds is 0"),
        (["--base", "nowhere"], "no model bundle 'nowhere'"),
        (["--data", "nowhere"], "nowhere"),
    ],
)
def test_what_cannot_be_simulated(
    tmp_path: Path, base: Path, arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = arguments if "--base" in arguments else [*arguments, "--base", str(base)]
    assert main(["simulate", str(tmp_path / "out"), *given]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert "Traceback" not in error
    assert not (tmp_path / "out").exists()
