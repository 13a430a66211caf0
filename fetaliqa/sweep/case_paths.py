"""Which cases a path given by a user stands for, and what of a folder is left out."""

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
PIXEL_SUFFIXES = (".raw", ".zraw", ".img")  # of the pixels of a header in another file
ACOUSLIC_IMAGES = Path("images") / "stacked_fetal_ultrasound"
OWN_FOLDERS = ("labels", "masks", "label-versions", "frame-profiles", "retraining")
"""Folders of labels and of what follows from them, beside the sweeps of a folder of studies."""

SUBFOLDER = "is a folder of its own; name it too to have its sweeps assessed"
NO_FRAME = "is no PNG or JPEG file, the kinds that frames can be read from"
SEARCHED = 2000  # entries below a folder that are looked at for sweeps


@dataclass(frozen=True)
class LeftOut:
    """Something in a folder that is not assessed though it may be meant to be.

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
    """Where the images of a folder lie in it: an ACOUSLIC-AI root has a place of its own for them."""
    return ACOUSLIC_IMAGES if (root / ACOUSLIC_IMAGES).is_dir() else Path(".")


def expand_cases(path: Path, *, each: bool = False) -> list[Path]:
    """The cases a path stands for, see :func:`look_into`."""
    return look_into(path, each=each)[0]


def look_into(path: Path, *, each: bool = False) -> tuple[list[Path], list[LeftOut]]:
    """The cases a path stands for, and what of a folder is left out.

    A file is one case. A folder with sweep files holds one case per file, and a still image beside them is a case
    of one frame; an ACOUSLIC-AI root stands for its ``images/stacked_fetal_ultrasound``; a folder of still images
    only, or of single-frame DICOM files only, is one sweep whose frames they are, or, with ``each``, one
    single-frame case per image.

    Files that other programs leave behind, hidden ones and documents are not mentioned. Folders in a folder are
    not looked into.

    Raises:
        NotFoundError: when the path does not exist.
        SweepError: when a folder holds nothing that can be read.
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
    """The cases among a folder's sweeps and still images, and the still images that are none."""
    if each:
        return sorted(stacks + stills), []
    if len(stacks) > 1 and all(map(is_single_frame_dicom, stacks)):
        return [folder], []  # beside still images it is refused when it is read, rather than taken apart
    frames = [still for still in stills if still.suffix.lower() in FRAME_SUFFIXES]
    others = [LeftOut(still, NO_FRAME) for still in stills if still not in frames]
    if stacks:
        named = {case_id_of(stack): stack.name for stack in stacks}  # a picture of a sweep is often called like it
        alike = [still for still in frames if case_id_of(still) in named]
        others += [
            LeftOut(one, f"{named[case_id_of(one)]} has the same name; rename one of them") for one in alike
        ]
        return sorted({*stacks, *frames} - {*alike}), others
    return ([folder], others if frames else []) if stills else ([], [])


def _why_not(child: Path, used: Iterable[Path]) -> str | None:
    """Why a file in a folder is no case; None when it is one, or when nobody takes it for one."""
    if child in used or is_system_file(child.name):
        return None
    if child.name.startswith("."):
        return why_hidden(child)
    return why_no_sweep(child)


def why_hidden(file: Path) -> str | None:
    """Why a file whose name begins with a dot is no case; None when nobody takes it for one."""
    sweep = sweep_suffix(file) is not None and not is_system_file(file.name) and not is_temporary(file.name)
    return "is hidden, since its name begins with a dot; rename it" if sweep and file.is_file() else None


def why_no_sweep(file: Path) -> str | None:
    """Why a visible file, which ``is_sweep_path`` is false for, is no sweep; None when nobody takes it for one."""
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
    return f"is of no kind that can be read; known are {', '.join(SWEEP_SUFFIXES)} and DICOM without a suffix"


def folders_of_sweeps(folder: Path) -> list[Path]:
    """Folders that sweeps or frames lie in, ``folder`` and below, as far as a bounded search finds; links are not
    followed, which may lead back up."""
    if folder.name.lower() in OWN_FOLDERS or folder.name.startswith(".") or is_system_file(folder.name):
        return []
    if folder.resolve() in (folder.parent.resolve(), *folder.parent.resolve().parents):
        return []  # a link back up

    def below(place: Path, depth: int) -> Iterator[Path]:
        with contextlib.suppress(OSError):
            for child in sorted(place.iterdir()):
                yield child
                if depth and child.is_dir() and not child.is_symlink():
                    yield from below(child, depth - 1)

    found: dict[Path, None] = {}
    for child in itertools.islice(below(folder, depth=8), SEARCHED):
        if child.parent in found or child.name.startswith("."):
            continue
        if child.is_file() and is_sweep_path(child):
            found[child.parent] = None
    return list(found)


def _nothing(path: Path, left_out: Sequence[LeftOut]) -> str:
    folders = [str(one.path.relative_to(path)) for one in left_out if one.reason == SUBFOLDER]
    if folders:
        named = ", ".join(folders[:3]) + (", ..." if len(folders) > 3 else "")
        return f"{path}: no sweep in this folder itself, but in folders below it; name them instead ({named})"
    said = f"{path}: no sweep or image file in this folder; give a file, or a folder that holds some"
    return said if not left_out else f"{said} ({left_out[0].path.name} {left_out[0].reason})"


def by_case(paths: Iterable[Path]) -> dict[str, Path]:
    """Files by the case that each is.

    Raises:
        SweepError: when two are one case: they differ in folder or suffix only.
    """
    found: dict[str, Path] = {}
    for path in paths:
        other = found.setdefault(case_id_of(path), path)
        if other != path:
            raise SweepError(same_case(case_id_of(path), other, path))
    return found


def same_case(case: str, first: Path, second: Path) -> str:
    """The sentence about two files that are one case."""
    names = (first.name, second.name) if first.name != second.name else (str(first), str(second))
    return f"{names[0]} and {names[1]} are of the same name {case!r}; rename one of them"
