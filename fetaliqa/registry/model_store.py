"""The model store, read: published bundles, candidates, and the version of each name that is in use.

::

    models/NAME/3/                  a published bundle; never changes
    models/NAME/current             the version in use
    models/NAME/candidates/4/       a bundle that is not published, with report.json

``publishing.py`` changes the store. Nothing here imports torch.
"""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

from fetaliqa.errors import BundleError, NotFoundError
from fetaliqa.model.bundle_names import CARD_FILE, valid_name
from fetaliqa.model.onnx_file import is_onnx_path
from fetaliqa.model.user_folders import SHIPPED, demo_folder, models_folder, shipped_folder

CURRENT_FILE = "current"
DEMO = "demo"
RESERVED_NAMES = (DEMO, *SHIPPED)  # that no published model may have
CANDIDATES = "candidates"  # folder of bundles that are not published
REPORT = "report.json"
LEADING_NUMBER = re.compile(r"[0-9]+")


def resolve_bundle(spec: str | Path) -> Path:
    """The folder of the bundle that ``spec`` names.

    Args:
        spec: ``abdomen``, ``head`` or ``demo``, which ship; a published ``NAME`` (its current version) or
            ``NAME@VERSION`` (a candidate too); or the path of a bundle folder.

    Raises:
        NotFoundError: when there is no such bundle.
        BundleError: when a name's current version is not recorded.
    """
    text = str(spec)
    if isinstance(spec, str):
        if text == DEMO:
            return _packaged(DEMO, demo_folder())
        if text in SHIPPED:
            return _packaged(text, shipped_folder(text))
        name, at, version = text.partition("@")
        if valid_name(name) and (not at or valid_name(version)) and (models_folder() / name).is_dir():
            return _published(name, version or None)
    folder = Path(spec).expanduser()
    if (folder / CARD_FILE).is_file():
        return folder
    if folder.is_dir():
        raise NotFoundError(f"{text}: a folder without {CARD_FILE}, so not a model bundle")
    known = [*RESERVED_NAMES, *published_names()]
    raise NotFoundError(f"no model bundle {text!r}: neither a known one ({', '.join(known)}) nor a folder")


def resolve_model(spec: str | Path) -> Path:
    """As :func:`resolve_bundle`, or the path of an ONNX file.

    Raises:
        NotFoundError, BundleError: when there is no such file or bundle.
    """
    path = Path(spec).expanduser()
    if not is_onnx_path(path) or path.is_dir():
        return resolve_bundle(spec)
    if not path.is_file():
        raise NotFoundError(
            f"{spec}: no such file; check the path, or export a model with `fetaliqa models export`"
        )
    return path


def _packaged(name: str, folder: Path) -> Path:
    if not (folder / CARD_FILE).is_file():
        raise NotFoundError(f"no {name} bundle in {folder}; install fetaliqa again")
    return folder


def _published(name: str, version: str | None) -> Path:
    chosen = version or current_version(name)
    if chosen is None:
        raise BundleError(f"no version of {name!r} is current; name one: {', '.join(published_versions(name))}")
    folder = models_folder() / name / chosen
    candidate = candidate_folder(name, chosen)
    if not (folder / CARD_FILE).is_file() and version is not None and (candidate / CARD_FILE).is_file():
        return candidate
    if not (folder / CARD_FILE).is_file():
        versions = ", ".join(published_versions(name)) or "none"
        raise NotFoundError(f"no version {chosen!r} of {name!r} is published; there are: {versions}")
    return folder


def published_names() -> list[str]:
    """Names with at least one published version."""
    folder = models_folder()
    names = [entry.name for entry in folder.iterdir() if valid_name(entry.name)] if folder.is_dir() else []
    return sorted(name for name in names if published_versions(name))


def published_versions(name: str) -> list[str]:
    """Versions of ``name``, oldest publication first."""
    folder = models_folder() / name
    if not valid_name(name) or not folder.is_dir():
        return []
    cards = [entry / CARD_FILE for entry in folder.iterdir() if valid_name(entry.name)]
    present = [card for card in cards if card.is_file()]
    return [
        card.parent.name for card in sorted(present, key=lambda card: (card.stat().st_mtime_ns, card.parent.name))
    ]


def current_version(name: str) -> str | None:
    """The version of ``name`` in use, or None."""
    try:
        version = (models_folder() / name / CURRENT_FILE).read_text(encoding="utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return version if valid_name(version) else None


def list_bundles() -> list[tuple[str, Path]]:
    """All bundles that have a name, as ``(spec, folder)``, the ones that ship first."""
    bundles = [(name, shipped_folder(name)) for name in SHIPPED if (shipped_folder(name) / CARD_FILE).is_file()]
    if (demo_folder() / CARD_FILE).is_file():
        bundles.append((DEMO, demo_folder()))
    for name in published_names():
        bundles.extend(
            (f"{name}@{version}", models_folder() / name / version) for version in published_versions(name)
        )
    return bundles


def candidate_folder(name: str, version: str) -> Path:
    """The folder of a candidate."""
    return models_folder() / name / CANDIDATES / version


def candidates(name: str) -> list[str]:
    """Versions of ``name`` that are not published, ascending."""
    folder = models_folder() / name / CANDIDATES
    if not valid_name(name) or not folder.is_dir():
        return []
    versions = [
        child.name for child in folder.iterdir() if (child / CARD_FILE).is_file() and valid_name(child.name)
    ]
    return sorted(versions, key=lambda version: (leading_number(version), version))


def version_folder(name: str, version: str) -> Path:
    """The folder of a version, published or a candidate.

    Raises:
        NotFoundError: when there is no such version.
    """
    if version in published_versions(name):
        return models_folder() / name / version
    if version in candidates(name):
        return candidate_folder(name, version)
    known = [*published_versions(name), *(f"{one} (candidate)" for one in candidates(name))]
    raise NotFoundError(f"{name} has no version {str(version)[:80]!r}; there are: {', '.join(known) or 'none'}")


def report_of(name: str, version: str) -> dict[str, Any]:
    """The report beside a version's bundle; empty when there is none."""
    for folder in (models_folder() / name / version, candidate_folder(name, version)):
        with contextlib.suppress(OSError, ValueError):
            report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
            if isinstance(report, dict):
                return report
    return {}


def leading_number(version: str) -> int:
    """The number that a version begins with; 0 without one."""
    match = LEADING_NUMBER.match(version)
    return int(match.group()) if match else 0
