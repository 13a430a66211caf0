"""Expansion of a path into cases, with the reasons for files and folders that are skipped."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from fetaliqa.case_names import printable
from fetaliqa.errors import NotFoundError, SweepError
from fetaliqa.sweep import SWEEP_SUFFIXES, case_id_of, is_single_frame_dicom, is_sweep_path
from fetaliqa.sweep.folder_contents import imageless_dicom, is_document, is_system_file, is_temporary
from fetaliqa.sweep.sweep_reader import sweep_suffix

FRAME_SUFFIXES = (".png", ".jpg", ".jpeg")
STILL_SUFFIXES = (*FRAME_SUFFIXES, ".bmp", ".tif", ".tiff")
PIXEL_SUFFIXES = (".raw", ".zraw", ".img")  # pixel files with a separate header
ACOUSLIC_IMAGES = Path("images") / "stacked_fetal_ultrasound"
OWN_FOLDERS = ("labels", "masks", "label-versions", "frame-profiles", "retraining")
"""Folders of labels and derived data in a folder of studies."""

SUBFOLDER = "is a subfolder; give it too to assess its sweeps"
NO_FRAME = "is not a PNG or JPEG file; frames are read from these formats only"
SEARCHED = 2000  # largest number of entries below a folder that are searched for sweeps


@dataclass(frozen=True)
class LeftOut:
    """A file or folder that is skipped, though the user may expect it to be assessed.

    Attributes:
        path: the file or folder.
        reason: why, as the second half of a sentence.
    """

    path: Path
    reason: str

    def to_json(self) -> dict[str, str]:
        """JSON values; the path as text that can be printed."""
        return {"path": printable(str(self.path)), "reason": self.reason}


def _is_still(path: Path) -> bool:
    return path.suffix.lower() in STILL_SUFFIXES


def images_below(root: Path) -> Path:
    """Subfolder of a folder's images: ``images/stacked_fetal_ultrasound`` of an ACOUSLIC-AI root, else ``.``."""
    return ACOUSLIC_IMAGES if (root / ACOUSLIC_IMAGES).is_dir() else Path(".")


def expand_cases(path: Path, *, each: bool = False) -> list[Path]:
    """The cases of a path, see :func:`look_into`."""
    return look_into(path, each=each)[0]


def look_into(path: Path, *, each: bool = False) -> tuple[list[Path], list[LeftOut]]:
    """The cases of a path, and the skipped files and folders.

    A file is one case. A folder with sweep files has one case per file, and a still image beside them is a case of
    one frame. For an ACOUSLIC-AI root, its ``images/stacked_fetal_ultrasound`` is used. A folder with still images
    only, or with single-frame DICOM files only, is one sweep of these frames, or, with ``each``, one single-frame
    case per image.

    System files, hidden files and documents are skipped without a reason. Subfolders are not searched for cases.

    Raises:
        NotFoundError: when the path does not exist.
        SweepError: when a folder holds no readable file.
    """
    path = Path(path)
    if not path.exists():
        raise NotFoundError(f"{path}: no such file or folder; check the path")
    if path.is_file():
        return [path], []
    if (path / ACOUSLIC_IMAGES).is_dir():
        return look_into(path / ACOUSLIC_IMAGES, each=each)
    files = sorted(child for child in path.iterdir() if child.is_file() and not child.name.startswith("."))
    stills = [child for child in files if _is_still(child)]
    stacks = [child for child in files if not _is_still(child) and is_sweep_path(child)]
    cases, left_out = _chosen(path, stacks, stills, each)
    used = {*stacks, *stills}
    for child in sorted(path.iterdir()):
        if child.is_dir():
            left_out += [LeftOut(place, SUBFOLDER) for place in folders_of_sweeps(child)]
        elif reason := _why_not(child, used):
            left_out.append(LeftOut(child, reason))
    if not cases:
        raise SweepError(_nothing(path, left_out))
    return cases, left_out


def _chosen(folder: Path, stacks: list[Path], stills: list[Path], each: bool) -> tuple[list[Path], list[LeftOut]]:
    """The cases among a folder's sweeps and still images, and the skipped still images."""
    if each:
        return sorted(stacks + stills), []
    if len(stacks) > 1 and all(map(is_single_frame_dicom, stacks)):
        return [folder], []  # with still images beside them, reading the folder raises an error
    frames = [still for still in stills if still.suffix.lower() in FRAME_SUFFIXES]
    others = [LeftOut(still, NO_FRAME) for still in stills if still not in frames]
    if stacks:
        sweeps = {case_id_of(stack): stack.name for stack in stacks}
        same_name = [still for still in frames if case_id_of(still) in sweeps]  # often an image of that sweep
        others += [
            LeftOut(still, f"{sweeps[case_id_of(still)]} has the same name; rename one of them")
            for still in same_name
        ]
        return sorted({*stacks, *frames} - {*same_name}), others
    return ([folder], others if frames else []) if stills else ([], [])


def _why_not(child: Path, used: Iterable[Path]) -> str | None:
    """Why a file in a folder is not a case; None when it is one, or when no reason is needed."""
    if child in used or is_system_file(child.name):
        return None
    if child.name.startswith("."):
        return why_hidden(child)
    return why_no_sweep(child)


def why_hidden(file: Path) -> str | None:
    """Why a file whose name begins with a dot is not a case; None when no reason is needed."""
    sweep = sweep_suffix(file) is not None and not is_system_file(file.name) and not is_temporary(file.name)
    return "is hidden, since its name begins with a dot; rename it" if sweep and file.is_file() else None


def why_no_sweep(file: Path) -> str | None:
    """Why a visible file for which ``is_sweep_path`` is false is not a sweep; None when no reason is needed."""
    if is_system_file(file.name) or is_document(file):
        return None
    if not file.exists():
        return "is a link to a file that is not there" if file.is_symlink() else None
    if not file.is_file():
        return None
    if file.suffix.lower() in PIXEL_SUFFIXES:
        headers = (file.with_suffix(suffix) for suffix in (".mhd", ".nhdr", ".hdr"))
        return None if any(map(Path.exists, headers)) else "holds pixels whose header is not there"
    kind = imageless_dicom(file)
    if kind is not None:
        return f"is {kind} and holds no image"
    try:
        if file.stat().st_size == 0:
            return "is empty; copy or export it again"
        with open(file, "rb"):
            pass
    except OSError as problem:
        return f"cannot be read ({problem.strerror}); check its permissions"
    return f"has an unsupported format; supported are {', '.join(SWEEP_SUFFIXES)} and DICOM without a suffix"


def folders_of_sweeps(folder: Path) -> list[Path]:
    """Folders with sweeps or frames, ``folder`` and below, in a bounded search that follows no links."""
    if folder.name.lower() in OWN_FOLDERS or folder.name.startswith(".") or is_system_file(folder.name):
        return []
    if folder.resolve() in (folder.parent.resolve(), *folder.parent.resolve().parents):
        return []  # a link to a parent folder

    def below(place: Path, depth: int) -> Iterator[Path]:
        with contextlib.suppress(OSError):
            for child in sorted(place.iterdir()):
                yield child
                if depth and child.is_dir() and not child.is_symlink():
                    yield from below(child, depth - 1)

    folders: dict[Path, None] = {}
    for child in itertools.islice(below(folder, depth=8), SEARCHED):
        if child.parent in folders or child.name.startswith("."):
            continue
        if child.is_file() and is_sweep_path(child):
            folders[child.parent] = None
    return list(folders)


def _nothing(path: Path, left_out: Sequence[LeftOut]) -> str:
    folders = [str(one.path.relative_to(path)) for one in left_out if one.reason == SUBFOLDER]
    if folders:
        names = ", ".join(folders[:3]) + (", ..." if len(folders) > 3 else "")
        return f"{path}: no sweep in this folder itself, but in folders below it; give them instead ({names})"
    message = f"{path}: no sweep or image file in this folder; give a file, or a folder that holds some"
    return message if not left_out else f"{message} ({left_out[0].path.name} {left_out[0].reason})"


def by_case(paths: Iterable[Path]) -> dict[str, Path]:
    """Files by case name.

    Raises:
        SweepError: when two have the same case name: they differ in folder or suffix only.
    """
    cases: dict[str, Path] = {}
    for path in paths:
        first = cases.setdefault(case_id_of(path), path)
        if first != path:
            raise SweepError(same_case(case_id_of(path), first, path))
    return cases


def same_case(case: str, first: Path, second: Path) -> str:
    """The message about two files with the same case name."""
    names = (first.name, second.name) if first.name != second.name else (str(first), str(second))
    return f"{names[0]} and {names[1]} have the same name {case!r}; rename one of them"
