"""Which files of a folder are offered as images, under which id, and why the others are not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from fetaliqa.case_names import canonical, name_problem, printable
from fetaliqa.sweep import is_sweep_path
from fetaliqa.sweep.case_paths import folders_of_sweeps, why_hidden, why_no_sweep
from fetaliqa.sweep.folder_contents import imageless_dicom, is_system_file
from monailabel_app.lib.files.uploaded_files import suffix_of, sweep_suffixes

Stamp = tuple[int, int, int]  # modification time (ns), size (bytes), inode
SUBFOLDER = "is a folder; only files that lie in the studies folder itself are offered"


class Verdict(NamedTuple):
    """Whether a file is offered as an image; ``reason`` is None where it is, or where nobody expects it to be."""

    reason: str | None
    is_image: bool


@dataclass
class ImageFiles:
    """The images of a folder. A file is examined once, and again after it changed.

    Attributes:
        rejected: reason by file name (printable form), for files that are not offered.
    """

    rejected: dict[str, str] = field(default_factory=dict)
    _verdicts: dict[str, tuple[Stamp, Verdict]] = field(default_factory=dict)

    def scan(self, folder: Path, indexed_suffix: Callable[[str], str | None] = lambda case: None) -> list[str]:
        """Names of the files that are offered, sorted.

        Args:
            folder: to list.
            indexed_suffix: suffix of the file that already has an id; another file with that id is rejected.
        """
        rejected: dict[str, str] = {}
        by_id: dict[str, list[str]] = {}
        verdicts: dict[str, tuple[Stamp, Verdict]] = {}
        for child in sorted(folder.iterdir()):
            stamp = _stamp_of(child)
            cached = self._verdicts.get(child.name)
            verdict = cached[1] if cached is not None and cached[0] == stamp else _examine(child)
            if stamp is not None:
                verdicts[child.name] = stamp, verdict
            if verdict.reason is not None:
                rejected[printable(child.name)] = verdict.reason
            elif verdict.is_image:
                by_id.setdefault(split_name(child.name)[0], []).append(child.name)
        for case, names in by_id.items():
            preferred = f"{case}{indexed_suffix(case)}"
            names.sort(key=lambda name: (name != preferred, name))
            for duplicate in names[1:]:
                rejected[duplicate] = f"{names[0]} has the same id; rename one of them"
        self.rejected, self._verdicts = rejected, verdicts
        return sorted(names[0] for names in by_id.values())

    def to_json(self) -> list[dict[str, str]]:
        """The files that are not offered, with the reason."""
        return [{"file": name, "reason": reason} for name, reason in sorted(self.rejected.items())]


def split_name(file: str) -> tuple[str, str]:
    """A file's id and suffix; a DICOM file without a suffix has its whole name, dots included, as id."""
    suffix = suffix_of(file, sweep_suffixes()) or ""
    return file[: len(file) - len(suffix)], suffix and file[-len(suffix) :]


def download_name(file: Path) -> str:
    """File name for a client, with a suffix by which programs recognise the format."""
    case, suffix = split_name(file.name)
    return case + (suffix.lower() or ".dcm")


def spelled_otherwise(case: str, cases: list[str]) -> str | None:
    """The one of ``cases`` that is ``case`` in another form of Unicode."""
    return next((other for other in cases if other != case and canonical(other) == canonical(case)), None)


def _stamp_of(child: Path) -> Stamp | None:
    try:
        status = child.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


def _examine(child: Path) -> Verdict:
    if is_system_file(child.name):
        return Verdict(None, False)
    if child.name.startswith("."):
        return Verdict(why_hidden(child), False)
    suffix = suffix_of(child.name, sweep_suffixes())
    if child.is_dir():
        return Verdict(SUBFOLDER if suffix is not None or folders_of_sweeps(child) else None, False)
    if not is_sweep_path(child):
        kind = imageless_dicom(child) if child.is_file() else None
        return Verdict(f"is {kind} and holds no image" if kind else why_no_sweep(child), False)
    problem = name_problem(split_name(child.name)[0])
    if problem is not None:
        return Verdict(f"its name {problem}; rename it", False)
    if child.stat().st_size == 0:
        return Verdict("is empty; copy or export it again", False)
    return Verdict(None, True)
