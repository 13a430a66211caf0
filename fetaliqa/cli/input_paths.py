"""Sweeps that a command line names: patterns of a shell that expands none, paths given twice, what is left out."""

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

NAMED = 5  # of what is left out, in the sentence
TABLE = re.compile(r"(summary|failed|left_out)(-\d+-of-\d+)?\.csv")  # beside the cases' folders of results


def sweeps_given(
    paths: Sequence[Path], verb: str, *, each: bool = False, out: Path | None = None
) -> tuple[list[Path], list[LeftOut]]:
    """The cases that paths stand for, each once, and what is left out of folders; says on stderr what is.

    Args:
        paths: as given; a pattern such as ``*.mha`` that is no path stands for what it matches.
        verb: of the command, for messages.
        each: see ``look_into``.
        out: where each case's results are written to, by its name.

    Raises:
        NotFoundError: when there is no such path, or nothing matches a pattern.
        SweepError: when a folder holds nothing that can be read.
        OptionError: when results would overwrite each other in ``out``.
    """
    from fetaliqa.errors import OptionError
    from fetaliqa.sweep.case_paths import LeftOut, look_into
    from fetaliqa.sweep.folder_contents import is_dicomdir, is_system_file

    cases: dict[Path, Path] = {}
    left_out: dict[Path, LeftOut] = {}
    twice: list[Path] = []
    for path in (one for given in paths for one in _matching(given)):
        if len(paths) > 1 and path.is_file() and (is_system_file(path.name) or is_dicomdir(path)):
            left_out[path] = LeftOut(path, "is a file of the system, no image")  # as a shell's * names it too
            continue
        found, others = look_into(path, each=each)
        left_out.update((other.path, other) for other in others)
        for case in found:
            if _place(case) in cases:
                twice.append(case)
            cases.setdefault(_place(case), case)
    named = {path for case in cases for path in (case, *case.parents[:1])}
    remaining = [one for one in left_out.values() if _place(one.path) not in named]
    if twice and out is not None:
        raise OptionError(
            f"{twice[0]} is named more than once, and results would overwrite each other in {out}; name it once"
        )
    if twice:
        _say(verb, f"named more than once, and assessed once: {_listed(list(dict.fromkeys(map(_place, twice))))}")
    if out is not None:
        _check_names(list(cases.values()), out)
    for reason in dict.fromkeys(one.reason for one in remaining):
        _say(verb, f"left out: {_listed([one.path for one in remaining if one.reason == reason])}: {reason}")
    return list(cases.values()), remaining


def _check_names(cases: Sequence[Path], out: Path) -> None:
    """Refuse cases whose results would overwrite each other.

    Names that differ in upper and lower case or in Unicode's form only are one name on the disks of Macs and of
    Windows: they are refused where ``out`` is on such a disk.

    Raises:
        OptionError: naming two.
    """
    from fetaliqa.case_names import UNFINISHED, canonical
    from fetaliqa.errors import OptionError
    from fetaliqa.sweep import case_id_of

    alike = _one_name_on_disk(out)
    known: dict[str, Path] = {}
    for case in cases:
        name = case_id_of(case)
        if name == UNFINISHED or TABLE.fullmatch(name):
            raise OptionError(f"{case}: {name!r} is the name of another file or folder in {out}; rename it")
        other = known.setdefault(canonical(name).casefold() if alike else name, case)
        if other is not case:
            raise OptionError(
                f"{other} and {case} are both called {name!r} and would overwrite each other in {out}; "
                "give them apart, each with an --out of its own, or rename one"
            )


def _one_name_on_disk(out: Path) -> bool:
    """Whether the disk of a folder takes ``a`` and ``A`` for one name; asked of the nearest folder there is."""
    place = next((folder for folder in (out.absolute(), *out.absolute().parents) if folder.is_dir()), None)
    if place is None or place.name == place.name.swapcase():
        return False
    return place.with_name(place.name.swapcase()).exists()


def _matching(given: Path) -> list[Path]:
    """What a pattern matches, in order, where a path is one; else the path."""
    from fetaliqa.errors import NotFoundError

    if os.path.lexists(given) or not glob.has_magic(str(given)):
        return [given]
    found = sorted(glob.glob(str(given)))
    if not found:
        raise NotFoundError(f"{given}: no such file or folder, and nothing matches it as a pattern")
    return list(map(Path, found))


def _place(path: Path) -> Path:
    """One spelling of a path, whatever leads to its folder; two links to one file are two cases."""
    whole = path.absolute()
    if whole.name in ("", ".."):
        return Path(os.path.realpath(whole))
    return Path(os.path.realpath(whole.parent)) / whole.name


def _listed(paths: Sequence[Path]) -> str:
    more = len(paths) - NAMED
    shown = ", ".join(path.name for path in paths[:NAMED])
    return shown + (f" and {more} more" if more > 0 else "")


def _say(verb: str, sentence: str) -> None:
    from fetaliqa.case_names import printable

    print(printable(f"fetaliqa {verb}: {sentence}"), file=sys.stderr)
