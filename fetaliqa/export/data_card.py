"""The data card of an export (contents, selection, software) and the checksums of its files."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from fetaliqa import __version__
from fetaliqa.file_provenance import file_sha256
from fetaliqa.measure.anatomy import anatomy_named

Each = Callable[[Callable[[Path], str], Iterable[Path]], Iterable[str]]
SCHEMA = 1
README, CARD, CHECKSUMS = "README.md", "dataset.json", "checksums.sha256"
SOFTWARE = ("numpy", "SimpleITK", "opencv-python-headless", "pillow")
NO_LICENCE = "not stated; ask the owner of the data before you pass it on"
SYNTHETIC = "These are synthetic phantoms. Nothing measured on them says anything about patients."
PROPOSALS = (
    "Frames of state `proposed` carry an unconfirmed outline of a model. Their files, or segments, are "
    "called `..._proposed`. They are no ground truth."
)
RESEARCH = "For research, not for diagnosis."


def software() -> dict[str, str]:
    """Versions of the software that wrote the files."""
    return {"fetaliqa": __version__, "python": platform.python_version()} | {
        name: metadata.version(name) for name in SOFTWARE
    }


def write_checksums(folder: Path, each: Each = map) -> str:
    """Write the SHA-256 of every file but the card, as ``sha256sum -c`` reads it; returns the list's own."""
    own = (folder / CARD, folder / CHECKSUMS)
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and path not in own]
    digests = each(file_sha256, files)
    text = "".join(f"{one}  {path.relative_to(folder).as_posix()}\n" for path, one in zip(files, digests))
    (folder / CHECKSUMS).write_text(text, encoding="utf-8")
    return hashlib.sha256(text.encode()).hexdigest()


def write_card(folder: Path, about: dict[str, Any], each: Each = map) -> None:
    """Write checksums and ``dataset.json``; only its ``created`` contains the time of the export.

    Args:
        folder: of the export.
        about: contents of the card.
        each: calls a function with every item, in their order, as ``ExportContext.each`` does on several threads.
    """
    about = {"schema": SCHEMA, **about, "checksums_sha256": write_checksums(folder, each)}
    about["created"] = datetime.now(UTC).isoformat(timespec="seconds")
    text = json.dumps(about, indent=2, allow_nan=False, ensure_ascii=False)
    (folder / CARD).write_text(text + "\n", encoding="utf-8")


def readme_text(about: dict[str, Any]) -> str:
    """The card as Markdown, without the time."""
    counts, source = about["counts"], about["source"]
    lines = [f"# {about['name']}", ""]
    if source["synthetic"]:
        lines += [f"**{SYNTHETIC}**", ""]
    lines += [
        f"{counts['frames']} frames of {counts['cases']} cases ({counts['subjects']} subjects), "
        f"{counts['outlined']} of them with an outline of the {source['anatomy']}. "
        f"Format: `{about['format']}`. {RESEARCH}",
        "",
        f"- Licence: {about['licence']}",
        f"- Names: {'pseudonyms; the key stays with the owner' if about['pseudonyms'] else 'as in the source'}",
        f"- Outside of the ultrasound sector: {_blanking(about['blanking'])}",
        f"- Labels in masks: {_labels(about['labels'])}",
        *_line_text(source["anatomy"]),
        f"- Scored by: {_model(about['model'])}",
        f"- Written by: {', '.join(f'{name} {version}' for name, version in about['software'].items())}",
        "",
    ]
    if doubtful := about["doubtful_circumferences"]:
        lines += [
            f"**{doubtful} of these outlines or circumferences are doubtful**: the column `warning` of "
            "`manifest.csv` says why. Look at the frames before they are used.",
            "",
        ]
    if counts["states"].get("proposed"):
        lines += [PROPOSALS, ""]
    for title, key in (
        ("state", "states"),
        ("plane", "planes"),
        ("rater", "raters"),
        ("model", "models"),
        ("part", "parts"),
    ):
        if counts[key]:
            lines += [f"| {title} | frames |", "|---|---|"]
            lines += [f"| {_cell(name)} | {number} |" for name, number in counts[key].items()] + [""]
    lines += ["| case | frames | by sweep (counted from 0) |", "|---|---|---|"]
    for case, case_counts in counts["by_case"].items():
        sweeps = ", ".join(f"{sweep}: {number}" for sweep, number in case_counts["sweeps"].items())
        lines.append(f"| {_cell(case)} | {case_counts['frames']} | {sweeps} |")
    lines += ["", "Selection:", "", "```json", json.dumps(about["selection"], indent=2, ensure_ascii=False), "```"]
    if about["notes"]:
        lines += ["", "Notes:", "", *(f"- {note}" for note in about["notes"])]
    lines += [
        "",
        f"`manifest.csv` has a row for each frame, `{CARD}` this card for programs, and "
        f"`sha256sum -c {CHECKSUMS}` checks the files.",
    ]
    return "\n".join(lines) + "\n"


def _blanking(blanking: dict[str, Any] | None) -> str:
    if blanking is None:
        return "left as it is; text burned into the pixels there is still there"
    if blanking["whole_images"]:
        return f"blanked, except in {len(blanking['whole_images'])} cases whose sector fills the image (see notes)"
    return "blanked"


def _line_text(anatomy: str) -> list[str]:
    if not anatomy_named(anatomy).is_line:
        return []
    return [
        "- Each mask is the band of a line: its length (FL) is the column `length_mm` of `manifest.csv`, its "
        "width says nothing"
    ]


def _labels(labels: dict[str, int]) -> str:
    values = [f"{value} {name}" for name, value in labels.items()]
    if len(values) > 1:
        values[0] += " (on an optimal or ungraded plane)"
    return ", ".join(["0 background", *values])


def _model(model: dict[str, Any] | None) -> str:
    return "no model" if model is None else f"{model['name']} {model['version']}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
