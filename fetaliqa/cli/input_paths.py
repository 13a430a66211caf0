"""Expansion of sweep paths on the command line: glob patterns, duplicates, and skipped files."""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fetaliqa.sweep.case_paths import LeftOut

NAMED = 5  # largest number of skipped files in a message
TABLE = re.compile(r"(summary|failed|left_out)(-\d+-of-\d+)?\.csv")  # files beside the results of cases


def sweeps_given(
    paths: Sequence[Path], verb: str, *, each: bool = False, out: Path | None = None
) -> tuple[list[Path], list[LeftOut]]:
    """The cases of paths without duplicates, and the skipped files, which are reported on stderr.

    Args:
        paths: paths and patterns such as ``*.mha``.
        verb: name of the command, for messages.
        each: see ``look_into``.
        out: folder of results, in which each case's results have its name.

    Raises:
        NotFoundError: when a path does not exist, or a pattern matches nothing.
        SweepError: when a folder holds no readable file.
        OptionError: when results would overwrite each other in ``out``.
    """
    from fetaliqa.errors import OptionError
    from fetaliqa.sweep.case_paths import LeftOut, look_into
    from fetaliqa.sweep.folder_contents import is_dicomdir, is_system_file

    cases: dict[Path, Path] = {}
    left_out: dict[Path, LeftOut] = {}
    duplicates: list[Path] = []
    for path in (match for pattern in paths for match in _matching(pattern)):
        if len(paths) > 1 and path.is_file() and (is_system_file(path.name) or is_dicomdir(path)):
            left_out[path] = LeftOut(path, "is a system file, not an image")  # matched by a shell's *
            continue
        found_cases, others = look_into(path, each=each)
        left_out.update((other.path, other) for other in others)
        for case in found_cases:
            if _place(case) in cases:
                duplicates.append(case)
            cases.setdefault(_place(case), case)
    selected = {path for case in cases for path in (case, *case.parents[:1])}
    skipped = [item for item in left_out.values() if _place(item.path) not in selected]
    if duplicates and out is not None:
        raise OptionError(
            f"{duplicates[0]} is given more than once, and results would overwrite each other in {out}; "
            "give it once"
        )
    if duplicates:
        _say(verb, f"given more than once, assessed once: {_listed(list(dict.fromkeys(map(_place, duplicates))))}")
    if out is not None:
        _check_names(list(cases.values()), out)
    for reason in dict.fromkeys(item.reason for item in skipped):
        _say(verb, f"skipped: {_listed([item.path for item in skipped if item.reason == reason])}: {reason}")
    return list(cases.values()), skipped


def _check_names(cases: Sequence[Path], out: Path) -> None:
    """Check that the results of cases do not overwrite each other.

    On case-insensitive file systems (macOS, Windows), names that differ only in upper and lower case or in Unicode
    normalization are equal.

    Raises:
        OptionError: naming two.
    """
    from fetaliqa.case_names import UNFINISHED, canonical
    from fetaliqa.errors import OptionError
    from fetaliqa.sweep import case_id_of

    case_insensitive = _is_case_insensitive(out)
    by_name: dict[str, Path] = {}
    for case in cases:
        name = case_id_of(case)
        if name == UNFINISHED or TABLE.fullmatch(name):
            raise OptionError(f"{case}: {name!r} is the name of another file or folder in {out}; rename it")
        first = by_name.setdefault(canonical(name).casefold() if case_insensitive else name, case)
        if first is not case:
            raise OptionError(
                f"{first} and {case} are both named {name!r} and would overwrite each other in {out}; assess them "
                "with separate --out folders, or rename one"
            )


def _is_case_insensitive(out: Path) -> bool:
    """Whether the file system of a folder (or its nearest existing parent) is case-insensitive."""
    place = next((folder for folder in (out.absolute(), *out.absolute().parents) if folder.is_dir()), None)
    if place is None or place.name == place.name.swapcase():
        return False
    return place.with_name(place.name.swapcase()).exists()


def _matching(pattern: Path) -> list[Path]:
    """Sorted matches of a glob pattern; a path that exists, or is not a pattern, is returned unchanged."""
    from fetaliqa.errors import NotFoundError

    if os.path.lexists(pattern) or not glob.has_magic(str(pattern)):
        return [pattern]
    matches = sorted(glob.glob(str(pattern)))
    if not matches:
        raise NotFoundError(f"{pattern}: no such file or folder, and nothing matches it as a pattern")
    return list(map(Path, matches))


def _place(path: Path) -> Path:
    """A path with its folder resolved; two links to one file stay two cases."""
    absolute = path.absolute()
    if absolute.name in ("", ".."):
        return Path(os.path.realpath(absolute))
    return Path(os.path.realpath(absolute.parent)) / absolute.name


def _listed(paths: Sequence[Path]) -> str:
    more = len(paths) - NAMED
    names = ", ".join(path.name for path in paths[:NAMED])
    return names + (f" and {more} more" if more > 0 else "")


def _say(verb: str, sentence: str) -> None:
    from fetaliqa.case_names import printable

    print(printable(f"fetaliqa {verb}: {sentence}"), file=sys.stderr)
