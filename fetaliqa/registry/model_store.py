"""Published bundles: immutable folders ``models/NAME/VERSION``, and a ``current`` pointer per name.

What moves the pointer, and candidates that are not published yet: ``publishing.py``.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from fetaliqa.atomic import atomic_directory
from fetaliqa.errors import BundleError, NotFoundError
from fetaliqa.model.bundle_names import CARD_FILE, STUDENT_FOLDER, valid_name
from fetaliqa.model.user_folders import SHIPPED, demo_folder, models_folder, shipped_folder

if TYPE_CHECKING:
    from fetaliqa.model.bundle import Bundle
    from fetaliqa.registry.refused_candidates import Override

CURRENT_FILE = "current"
DEMO = "demo"
RESERVED_NAMES = (DEMO, *SHIPPED)  # that no published model may have
CANDIDATES = "candidates"  # folder of bundles that are not published


def resolve_bundle(spec: str | Path) -> Path:
    """The folder of the bundle meant by ``spec``.

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
            return _demo()
        if text in SHIPPED:
            return _shipped(text)
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


def _demo() -> Path:
    folder = demo_folder()
    if not (folder / CARD_FILE).is_file():
        raise NotFoundError(f"no demo bundle in {folder}; install fetaliqa again")
    return folder


def _shipped(name: str) -> Path:
    folder = shipped_folder(name)
    if not (folder / CARD_FILE).is_file():
        raise NotFoundError(f"no {name} bundle in {folder}; install fetaliqa again")
    return folder


def _published(name: str, version: str | None) -> Path:
    chosen = version or current_version(name)
    if chosen is None:
        raise BundleError(f"no version of {name!r} is current; name one: {', '.join(published_versions(name))}")
    folder = models_folder() / name / chosen
    waiting = models_folder() / name / CANDIDATES / chosen
    if not (folder / CARD_FILE).is_file() and version is not None and (waiting / CARD_FILE).is_file():
        return waiting
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
    """Everything that can be asked for by name: ``(spec, folder)``, those that ship first."""
    found = [(name, shipped_folder(name)) for name in SHIPPED if (shipped_folder(name) / CARD_FILE).is_file()]
    if (demo_folder() / CARD_FILE).is_file():
        found.append((DEMO, demo_folder()))
    for name in published_names():
        found.extend(
            (f"{name}@{version}", models_folder() / name / version) for version in published_versions(name)
        )
    return found


def publish_bundle(
    directory: str | Path, *, make_current: bool = True, override: Override | None = None
) -> Bundle:
    """Copy a bundle into the store under its card's name and version.

    Args:
        directory: a complete bundle; its hashes are checked first.
        make_current: use it from now on when only its name is given.
        override: publish it though the gate refused a candidate with the same weights.

    Raises:
        GateRefused: when it did, and there is no override.
        BundleError: when the bundle is damaged, its name is that of one that ships, or the version is published
            already.
    """
    # here: publishing builds on this module, and a bundle on torch, which resolving a name does not need
    from fetaliqa.model.bundle import Bundle
    from fetaliqa.registry.publishing import RESERVED, candidates, changing, check_not_refused

    source = Bundle.open(directory)
    source.check_files()
    name, version = source.card.name, source.card.version

    if name in RESERVED_NAMES or version in RESERVED:
        names, versions = (", ".join(map(repr, some)) for some in (RESERVED_NAMES, RESERVED))
        raise BundleError(f"{name}@{version}: the names {names} and the versions {versions} are reserved")

    check_not_refused(source, override)
    if version in candidates(name):
        raise BundleError(
            f"{name}@{version} is a candidate's version: publish the candidate by that name, or raise the version"
        )
    target = models_folder() / name / version
    try:
        with changing(name), atomic_directory(target) as temporary:
            for file in (CARD_FILE, *sorted(source.card.files)):
                shutil.copyfile(source.directory / file, temporary / file)
            if (source.directory / STUDENT_FOLDER).is_dir():
                shutil.copytree(source.directory / STUDENT_FOLDER, temporary / STUDENT_FOLDER)
            published = Bundle.open(temporary)
            published.check_files()
    except FileExistsError:
        raise BundleError(f"{name}@{version} is published already and never changes; raise the version") from None
    if make_current:
        set_current(name, version, override=override)
    return Bundle.open(target)


def set_current(name: str, version: str, *, override: Override | None = None) -> None:
    """Make a published version the one in use, at once for everybody who resolves the name after this.

    Raises:
        NotFoundError: when it is not published.
    """
    if not valid_name(name) or version not in published_versions(name):
        raise NotFoundError(f"no published bundle {name}@{version} to make current")
    from fetaliqa.registry.publishing import record_current  # here: it builds on this module

    record_current(name, version, override)
