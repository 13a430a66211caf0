"""The Markdown report of all experiments, with tables and figures as separate files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fetaliqa.atomic import atomic_path, write_json, write_text
from fetaliqa.datasets.splits import leak_report
from fetaliqa.lab.feature_figure import Picture
from fetaliqa.lab.paper.experiment_list import Outcome
from fetaliqa.lab.paper.model_tables import reading_notes
from fetaliqa.lab.paper.paper_study import Study
from fetaliqa.training.provenance import environment

README = "README.md"
PHANTOM_BANNER = (
    "**These are figures of reduced stand-in models on synthetic phantoms. They show that the code runs. They say "
    "nothing about patients, and nothing about the models of the paper.**"
)
SYNTHETIC_BANNER = "**The data are synthetic phantoms: these figures say nothing about patients.**"
REDUCED_BANNER = (
    "**The models are small stand-ins with random weights: these figures say nothing about the paper's.**"
)


def write_report(outcomes: Sequence[Outcome], out: Path, study: Study, command: str) -> Path:
    """Write ``README.md``, and each table as Markdown, JSON and CSV, each picture as PNG.

    Args:
        outcomes: in the order they are shown.
        out: folder; files of the same names are replaced.
        study: the study.
        command: how to run it again, without folders of this machine.

    Returns:
        The README's path.
    """
    notes = reading_notes(study)
    lines = ["# Reproduction of the paper's comparisons", ""]
    if banner := _banner(study):
        lines += [banner, ""]
    lines += [*_about(study, command), "", *(f"- {note}" for note in notes), "", *_times(outcomes), ""]
    for outcome in outcomes:
        if outcome.table is not None:
            outcome.table.write(out)
            lines += [outcome.table.to_markdown(known_notes=notes)]
        if outcome.picture is not None:
            lines += [_picture(outcome.picture, out)]
    write_json(out / "report.json", report_json(outcomes, study, command))
    target = out / README
    write_text(target, "\n".join(lines).rstrip() + "\n")
    return target


def report_json(outcomes: Sequence[Outcome], study: Study, command: str) -> dict[str, Any]:
    """All figures and their provenance, as JSON values."""
    return {
        "schema": 1,
        "synthetic": study.data.synthetic,
        "reduced": study.reduced,
        "command": command,
        "environment": environment(),
        "data": _data(study),
        "seeds": list(study.seeds),
        "settings": study.settings,
        "experiments": {
            one.name: {
                "ran": one.ran,
                "trials": one.trials,
                "trial_seconds": round(one.trial_seconds, 1),
                "seconds": round(one.seconds, 1),
                "table": None if one.table is None else one.table.to_json(),
                "notes": [] if one.picture is None else list(one.picture.notes),
                "not_run": {} if one.picture is None else one.picture.not_run,
            }
            for one in outcomes
        },
    }


def _banner(study: Study) -> str | None:
    if study.reduced and study.data.synthetic:
        return PHANTOM_BANNER
    return SYNTHETIC_BANNER if study.data.synthetic else REDUCED_BANNER if study.reduced else None


def _data(study: Study) -> dict[str, Any]:
    parts = {name: len(study.split.part(name)) for name in ("train", "validation", "test")}
    return {
        "name": study.data.name,
        "sha256": study.data.fingerprint(),
        "split": study.split.name,
        "split_unit": study.split.unit,
        "cases": parts,
        "grid": study.size,
    }


def _about(study: Study, command: str) -> list[str]:
    made, data = environment(), _data(study)
    leak = leak_report(study.split, study.data.entries())
    cases = ", ".join(f"{count} {name}" for name, count in data["cases"].items())
    revision = f"{str(made['git_revision'])[:12]}{' with local changes' if made['git_changed'] else ''}"
    packages = ", ".join(
        f"{name} {made['packages'][name]}" for name in ("torch", "lightning", "timm", "peft", "open_clip_torch")
    )
    devices = ", ".join(made["cuda_devices"]) or "no CUDA device"
    changes = ", ".join(f"{name}={value}" for name, value in study.settings.items()) or "none"
    return [
        f"- data: {data['name']}, fingerprint `{data['sha256'][:16]}`; cases: {cases} "
        f"(split {data['split']}, by {data['split_unit']}); frames on a grid of {data['grid']} pixels",
        f"- {leak['test_cases_with_subject_in_train']} of the {leak['test_cases']} test cases show a subject who "
        "is in a training case too",
        f"- seeds: {', '.join(map(str, study.seeds))}; changed with `--set`: {changes}",
        f"- machine: {made['processor']}, {made['threads']} threads, {devices}",
        f"- software: Python {made['python']}; {packages}",
        f"- code: fetaliqa {made['packages']['fetaliqa']}, git {revision}; {datetime.now(UTC):%Y-%m-%d} (UTC)",
        f"- run again: `{command}`",
    ]


def _times(outcomes: Sequence[Outcome]) -> list[str]:
    """Run times; a trial shared by several tables is counted in each."""
    lines = ["| experiment | trials | training and testing them | this run |", "|---|---|---|---|"]
    for one in outcomes:
        trials = f"{one.trials} | {_duration(one.trial_seconds)}" if one.trials else "- | -"
        lines.append(f"| {one.name} | {trials} | {_duration(one.seconds)} |")
    return [*lines, "", "Trials are cached and shared; earlier ones take no time in this run."]


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _picture(picture: Picture, out: Path) -> str:
    lines = [f"## {picture.title}", ""]
    if picture.png is not None:
        file = out / f"{picture.name}.png"
        with atomic_path(file) as temporary:
            temporary.write_bytes(picture.png)
        lines += [f"![{picture.title}]({file.name})", ""]
    lines += [f"- {label}: not run: {reason}" for label, reason in picture.not_run.items()]
    lines += [f"- {note}" for note in picture.notes]
    return "\n".join(lines) + "\n"
