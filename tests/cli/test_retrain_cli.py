"""What ``fetaliqa retrain`` hands on to the library."""

import pytest

from fetaliqa.cli.main import main


@pytest.mark.parametrize(("options", "deterministic"), [([], True), (["--nondeterministic"], False)])
def test_kernels_are_repeatable_unless_faster_ones_are_allowed(
    options, deterministic, tmp_path, monkeypatch, capsys
):
    given = []
    monkeypatch.setattr(
        "fetaliqa.retraining.pipeline.retrain",
        lambda *_, machine, **__: given.append(machine) or {"sentence": "done"},
    )
    assert main(["retrain", str(tmp_path), "--accelerator", "cpu", *options]) == 0
    assert capsys.readouterr().out == "done\n"
    assert [machine.deterministic for machine in given] == [deterministic]
