"""Reading of sweeps from files and folders of all supported formats."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from fetaliqa.case_names import case_name
from fetaliqa.errors import NotFoundError, OptionError, SweepError
from fetaliqa.size_limits import check_unpacked_size
from fetaliqa.sweep import image_folder, metaimage, nrrd
from fetaliqa.sweep.folder_contents import MARK, MARK_AT, imageless_dicom, is_dicomdir, is_system_file
from fetaliqa.sweep.metaimage import files_of_metaimage, open_metaimage
from fetaliqa.sweep.nifti import open_nifti
from fetaliqa.sweep.nrrd import files_of_nrrd, open_nrrd
from fetaliqa.sweep.pixel_conversion import Decoded, to_uint8
from fetaliqa.sweep.sweep_ranges import SweepsOption, checked_ranges, parse_ranges
from fetaliqa.sweep.sweep_types import Sweep, build_sweep
from fetaliqa.sweep.video import VIDEO_SUFFIXES, open_video
from fetaliqa.sweep.volume_file import NO_SPACING_NOTE, RANGES_KEY, UNIT_SPACING_NOTE, OpenImage

DETACHED_SUFFIXES = (".mhd", ".nhdr")  # headers with detached pixel files
DICOM_SUFFIXES = (".dcm", ".dicom")
_OPENERS: dict[str, Callable[[Path], OpenImage]] = {
    ".mha": open_metaimage,
    ".mhd": open_metaimage,
    ".nii": open_nifti,
    ".nii.gz": open_nifti,
    ".nrrd": open_nrrd,
    **dict.fromkeys(VIDEO_SUFFIXES, open_video),
    ".nhdr": open_nrrd,
}
_OTHER_WAY = {
    ".hdr": "pairs of .hdr and .img cannot be read; convert it to .nii.gz",
    ".img": "pairs of .hdr and .img cannot be read; convert it to .nii.gz",
    **dict.fromkeys((".tif", ".tiff", ".gif", ".webp", ".bmp"), "images can be read as .png or .jpg; convert it"),
}
"""Unsupported formats that are common beside sweeps, and how to convert them."""

SWEEP_SUFFIXES = (*_OPENERS, *DICOM_SUFFIXES, *image_folder.IMAGE_SUFFIXES)
"""Suffixes (lower case) of files that can be read as a sweep."""


def sweep_suffix(path: Path) -> str | None:
    """Return the longest of ``SWEEP_SUFFIXES`` that ``path`` ends in, ignoring case."""
    name = path.name.lower()
    endings = [suffix for suffix in SWEEP_SUFFIXES if name.endswith(suffix) and len(name) > len(suffix)]
    return max(endings, key=len, default=None)


def case_id_of(path: Path) -> str:
    """Return the case name of a file or folder: its name without the suffix, see ``case_names.case_name``."""
    suffix = sweep_suffix(path)
    if suffix and not path.is_dir():
        return case_name(path.name[: -len(suffix)])
    name = path.name if path.name not in ("", "..") else path.resolve().name  # a link keeps its own name
    return case_name(name or "root")


def is_self_contained(path: Path) -> bool:
    """Whether a file holds its own pixels; False for a header with detached pixel files, or an unreadable one."""
    suffix = path.suffix.lower()
    if suffix in DETACHED_SUFFIXES:
        return False
    readers = {".mha": metaimage.is_local, ".nrrd": nrrd.is_local}
    try:
        return readers[suffix](path) if suffix in readers else path.is_file()
    except (OSError, SweepError):
        return False


def files_of(path: Path) -> list[Path]:
    """All files that are read for ``path``: itself, its pixel files, or the frames in a folder.

    Raises:
        SweepError: when a header cannot be read, or its pixel file is missing.
        OSError: when the path does not exist or is not readable.
    """
    if path.is_dir():
        return _visible_files(path)
    suffix = path.suffix.lower()
    pixels = [path]
    if suffix in (".mha", ".mhd"):
        pixels = files_of_metaimage(path)
    elif suffix in (".nrrd", ".nhdr"):
        pixels = files_of_nrrd(path)
    return [path, *(file for file in pixels if file.resolve() != path.resolve())]


def dicom_files_of(path: Path) -> list[Path]:
    """DICOM files that hold the frames of a case, in frame order; none of a case that is not DICOM.

    Raises:
        SweepError: when the files of a folder do not belong together.
        OSError: when the path does not exist or is not readable.
    """
    if path.is_dir():
        files = _dicom_files(path)
    else:
        other = sweep_suffix(path) in (*_OPENERS, *image_folder.IMAGE_SUFFIXES)
        files = [] if other or not _is_dicom(path) else [path]
    if len(files) < 2:
        return files
    from fetaliqa.sweep.dicom_sweep import frame_files

    return frame_files(files, path.name)


def is_sweep_path(path: str | Path) -> bool:
    """Whether ``path`` is a file of a supported format, or a folder of frames (images or DICOM).

    Decided by names and the DICOM prefix; the file may still be damaged. A folder with sweep files (.mha, ...) is
    not a sweep itself.
    """
    path = Path(path)
    try:
        if path.is_dir():
            return not _volume_files(path) and bool(image_folder.image_files(path) or _dicom_files(path))
        if not path.is_file():
            return False
        return _is_dicom_image(path) if _is_dicom(path) else sweep_suffix(path) is not None
    except OSError:
        return False


def _is_dicom(path: Path) -> bool:
    """Decided by the suffix, or without a known one by the prefix after the preamble (PS3.10 section 7.1)."""
    suffix = sweep_suffix(path)
    if suffix is not None:
        return suffix in DICOM_SUFFIXES
    with open(path, "rb") as file:
        return file.read(MARK_AT + len(MARK))[MARK_AT:] == MARK


def _is_dicom_image(path: Path) -> bool:
    """Whether a file is DICOM with an image, not the index of a medium, a report or another object."""
    return _is_dicom(path) and imageless_dicom(path) is None


def is_single_frame_dicom(path: Path) -> bool:
    """Whether a file is DICOM with a single frame."""
    try:
        if not _is_dicom(path):
            return False
    except OSError:
        return False
    from fetaliqa.sweep.dicom_sweep import holds_one_frame

    return holds_one_frame(path)


def _visible_files(folder: Path) -> list[Path]:
    files = (path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return sorted(files, key=image_folder.natural_key)


def _volume_files(folder: Path) -> list[Path]:
    return [path for path in _visible_files(folder) if sweep_suffix(path) in _OPENERS]


def _dicom_files(folder: Path) -> list[Path]:
    return [path for path in _visible_files(folder) if _is_dicom_image(path)]


def _open_dicom(paths: list[Path], name: str) -> OpenImage:
    from fetaliqa.sweep.dicom_sweep import open_dicom

    image = open_dicom(paths, name)
    check_unpacked_size(name, math.prod(image.pixels.shape), sum(path.stat().st_size for path in paths))
    return image


def _open_folder(path: Path) -> OpenImage:
    volumes = _volume_files(path)
    if volumes:
        raise SweepError(f"{path.name}: a folder of sweeps ({volumes[0].name}, ...); give one of the files in it")
    images, dicoms = image_folder.image_files(path), _dicom_files(path)
    if images and dicoms:
        raise SweepError(
            f"{path.name}: holds both images ({images[0].name}, ...) and DICOM files; keep the frames of one "
            "sweep in a folder, or assess each file as a case (--each)"
        )
    if not images and not dicoms:
        raise SweepError(
            f"{path.name}: the folder holds no PNG, JPEG or DICOM frames; give a sweep file or a folder of frames"
        )
    if dicoms:
        image = _open_dicom(dicoms, path.name)
        others = {file.name: kind for file in _visible_files(path) if (kind := imageless_dicom(file))}
        notes = (f"skipped: {name}, which is {kind}" for name, kind in others.items() if not is_system_file(name))
        return replace(image, pixels=replace(image.pixels, notes=(*image.pixels.notes, *notes)))
    return image_folder.open_images(images, path.name)


def _unreadable(path: Path, error: OSError) -> SweepError:
    if isinstance(error, PermissionError):
        return SweepError(f"{path.name}: not readable; change the file's permissions")
    return SweepError(f"{path.name}: cannot be read ({error.strerror}); check the path and the disk")


def open_image(path: Path) -> OpenImage:
    """Read the header of ``path`` (a file or a folder) in any supported format.

    Raises:
        NotFoundError: when there is no such path.
        SweepError: when it cannot be read, or exceeds the size limit.
    """
    try:
        if path.is_dir():
            return _open_folder(path)
        if not path.is_file():
            raise NotFoundError(f"{path}: there is no such file or folder; check the path")
        if path.stat().st_size == 0:
            raise SweepError(f"{path.name}: the file is empty; copy or export it again")
        suffix = sweep_suffix(path)
        if suffix in _OPENERS:
            return _OPENERS[suffix](path)
        if suffix in image_folder.IMAGE_SUFFIXES:
            return image_folder.open_images([path], path.name)
        if _is_dicom(path):
            if is_dicomdir(path):
                raise SweepError(
                    f"{path.name}: is the index of a DICOM medium, not an image; give the files it lists"
                )
            return _open_dicom([path], path.name)
    except OSError as error:
        raise _unreadable(path, error) from None
    if path.suffix.lower() in _OTHER_WAY:
        raise SweepError(f"{path.name}: {_OTHER_WAY[path.suffix.lower()]}")
    raise SweepError(f"{path.name}: unsupported format; supported are {', '.join(SWEEP_SUFFIXES)}")


def read_sweep(path: str | Path, *, sweeps: SweepsOption = None) -> Sweep:
    """Read a sweep.

    Pixels are streamed: peak memory is the uint8 stack and a few MB.

    Parameters
    ----------
    path
        A .mha, .mhd, .nii, .nii.gz, .nrrd, DICOM, video, PNG or JPEG file, or a folder of PNG, JPEG or
        single-frame DICOM frames (in natural order of their names, or by instance number).
    sweeps
        How many equal sweeps the frames hold, or the half-open frame range of each; None to take the file's
        ``SweepRanges`` header field or else infer the ranges from black tails.

    Returns
    -------
    Sweep
        Its ``frames`` are uint8 [T, H, W], its ``spacing`` is (row, column) in mm or None.

    Raises
    ------
    NotFoundError
        When there is no such path.
    SweepError
        When it cannot be read as a sweep.
    OptionError
        When ``sweeps`` does not fit the number of frames.

    Examples
    --------
    >>> import fetaliqa
    >>> folder = "sample-data/images/stacked_fetal_ultrasound"
    >>> sweep = fetaliqa.read_sweep(f"{folder}/f0d494c1-9ae1-4d45-a20e-fcaf30c2e979.mha")
    >>> sweep.shape, sweep.spacing, sweep.ranges
    ((96, 281, 372), (0.56, 0.56), ((0, 48), (48, 96)))
    """
    path = Path(path)
    return decode_image(open_image(path), path, sweeps)


def decode_image(
    image: OpenImage, path: Path, sweeps: SweepsOption = None, decoded: Decoded | None = None
) -> Sweep:
    """Read the pixels of an opened image.

    Args:
        image: the header of ``path``.
        path: its file or folder.
        sweeps: as for ``read_sweep``.
        decoded: called with the stack and the number of frames that it holds so far.

    Raises:
        SweepError, OptionError: as ``read_sweep``.
    """
    case_id = case_id_of(path)
    try:
        frames, notes = to_uint8(image.pixels, path.name, decoded)
    except OSError as error:
        raise _unreadable(path, error) from None
    if sweeps is None and image.ranges is not None:
        try:
            sweeps = checked_ranges(parse_ranges(image.ranges), len(frames), case_id)
        except OptionError as error:
            raise SweepError(f"{path.name}: its {RANGES_KEY} header field is invalid ({error})") from None
    notes = (*notes, *image.notes)
    if image.spacing == (1.0, 1.0):
        notes = (*notes, UNIT_SPACING_NOTE)
    elif image.spacing is None and not any("in mm" in note for note in notes):
        notes = (*notes, NO_SPACING_NOTE)
    return build_sweep(frames, image.spacing, sweeps, grid=image.grid, source=path, case_id=case_id, notes=notes)
