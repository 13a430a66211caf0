"""Which files of a folder are offered as images, under which id, and why the others are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fetaliqa.case_names import canonical, name_problem, printable
from fetaliqa.sweep import is_sweep_path
from fetaliqa.sweep.case_paths import folders_of_sweeps, why_hidden, why_no_sweep
from fetaliqa.sweep.folder_contents import imageless_dicom, is_system_file
from monailabel_app.lib.received import suffix_of, sweep_suffixes

State = tuple[int, int, int]
SUBFOLDER = "is a folder; only files that lie in the studies folder itself are offered"


@dataclass
class OfferedFiles:
    """What a folder offers; it remembers what it saw in a file until that changes.

    Attributes:
        left_out: why a file is not offered, by its name as it can be shown.
    """

    left_out: dict[str, str] = field(default_factory=dict)
    _seen: dict[str, tuple[State, str | None, bool]] = field(default_factory=dict)

    def find(self, folder: Path, known: Callable[[str], str | None] = lambda case: None) -> list[str]:
        """Names of the files that are offered, in order.

        Args:
            folder: to look into.
            known: the suffix under which a case is known already: another file of that name does not replace it.
        """
        left_out: dict[str, str] = {}
        found: dict[str, list[str]] = {}
        seen: dict[str, tuple[State, str | None, bool]] = {}
        for child in sorted(folder.iterdir()):
            state = _state(child)
            before = self._seen.get(child.name)
            if before is None or before[0] != state or state is None:
                reason, sweep = _verdict(child)
            else:
                reason, sweep = before[1:]
            if state is not None:
                seen[child.name] = (state, reason, sweep)
            if reason is not None:
                left_out[printable(child.name)] = reason
            elif sweep:
                found.setdefault(split_name(child.name)[0], []).append(child.name)
        for case, names in found.items():
            preferred = f"{case}{known(case)}"
            names.sort(key=lambda name: (name != preferred, name))
            for other in names[1:]:
                left_out[other] = f"{names[0]} has the same id; rename one of them"
        self.left_out, self._seen = left_out, seen
        return sorted(names[0] for names in found.values())

    def to_json(self) -> list[dict[str, str]]:
        """The files that are not offered, with the reason."""
        return [{"file": name, "reason": reason} for name, reason in sorted(self.left_out.items())]


def split_name(file: str) -> tuple[str, str]:
    """A file's id and suffix; a DICOM file without a suffix has the id that it is called, dots and all."""
    suffix = suffix_of(file, sweep_suffixes()) or ""
    return file[: len(file) - len(suffix)], suffix and file[-len(suffix) :]


def download_name(file: Path) -> str:
    """What a client is told a file is called: with a suffix by which its programs know what to do with it."""
    case, suffix = split_name(file.name)
    return case + (suffix.lower() or ".dcm")


def spelled_otherwise(case: str, cases: list[str]) -> str | None:
    """The one of ``cases`` that is ``case`` in another form of Unicode."""
    return next((other for other in cases if other != case and canonical(other) == canonical(case)), None)


def _state(child: Path) -> State | None:
    try:
        found = child.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _verdict(child: Path) -> tuple[str | None, bool]:
    """Why something is not offered (None when it is, or when nobody expects it to be), and whether it is."""
    if is_system_file(child.name):
        return None, False
    if child.name.startswith("."):
        return why_hidden(child), False
    suffix = suffix_of(child.name, sweep_suffixes())
    if child.is_dir():
        return (SUBFOLDER, False) if suffix is not None or folders_of_sweeps(child) else (None, False)
    if not is_sweep_path(child):
        kind = imageless_dicom(child) if child.is_file() else None
        return (f"is {kind} and holds no image" if kind else why_no_sweep(child)), False
    case = split_name(child.name)[0]
    problem = name_problem(case)
    if problem is not None:
        return f"its name {problem}; rename it", False
    if child.stat().st_size == 0:
        return "is empty; copy or export it again", False
    return None, True
