"""Files of a studies folder: which image, mask, frame record and subject belong together."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fetaliqa.case_names import canonical, is_case_name
from fetaliqa.datasets.csv_text import csv_text
from fetaliqa.errors import LabelDamaged, LabelError, NotFoundError, SweepError
from fetaliqa.labels import LabelStore
from fetaliqa.labels.frame_record import read_record_file, record_in_info
from fetaliqa.labels.label_store import FOLDER
from fetaliqa.sweep import MASK_SUFFIXES, case_id_of, is_sweep_path
from fetaliqa.sweep.case_paths import by_case, same_case

INDEX = "datastore_v2.json"  # of MONAI Label's studies folder
FINAL = "final"  # tag of labels that a person submitted; others are a model's
IMAGES = "images"
LABELS = ("labels", "masks")
RECORD_SUFFIX = ".frames.json"
SUBJECTS = "subjects.csv"
LABEL_SUFFIXES = (*MASK_SUFFIXES, ".nii", ".mhd", ".png")


@dataclass(frozen=True)
class Study:
    """A labelled case on disk.

    Attributes:
        case_id, subject_id: names.
        image, mask: files.
        record: its frame record as JSON gave it, None when there is none.
        pixels: which pixels were labelled (``pixels_sha256``), None when not known.
        problem: why the label cannot be used.
        withheld: why it may not train though it is readable: changes were requested.
        outlines_count: whether an outline without a record counts as a person's; true in a plain folder, while
            clients of MONAI Label may save an unchanged proposal.
    """

    case_id: str
    subject_id: str
    image: Path
    mask: Path | None
    record: Any
    pixels: str | None = None
    problem: str | None = None
    withheld: str | None = None
    outlines_count: bool = False


def is_studies(folder: Path) -> bool:
    """Whether a folder looks like MONAI Label's studies or has ``images`` beside ``labels`` or ``masks``."""
    folder = Path(folder)
    beside = (folder / IMAGES).is_dir() and any((folder / name).is_dir() for name in LABELS)
    return (folder / INDEX).is_file() or beside


def find_studies(folder: Path) -> list[Study]:
    """The cases of a folder that have a final label, by name.

    Raises:
        NotFoundError: when it is no studies folder.
        SweepError: when its index or its table of subjects cannot be used.
    """
    folder = Path(folder)
    if not is_studies(folder):
        raise NotFoundError(f"{folder}: neither {INDEX} nor {IMAGES}/ beside {' or '.join(LABELS)}/ in it")
    subjects = read_subjects(folder)
    cases = _indexed(folder, subjects) if (folder / INDEX).is_file() else _plain(folder, subjects)
    return sorted(cases, key=lambda study: study.case_id)


def find_images(folder: Path) -> dict[str, Path]:
    """Image of every case of a folder of studies, labelled or not, by name.

    Raises:
        NotFoundError: when it is no studies folder.
        SweepError: when its index cannot be used.
    """
    folder = Path(folder)
    if not is_studies(folder):
        raise NotFoundError(f"{folder}: neither {INDEX} nor {IMAGES}/ beside {' or '.join(LABELS)}/ in it")
    if not (folder / INDEX).is_file():
        images = (path for path in sorted((folder / IMAGES).iterdir()) if not path.name.startswith("."))
        return dict(sorted(by_case(filter(is_sweep_path, images)).items()))
    try:
        index = json.loads((folder / INDEX).read_bytes())
        below = _below(folder, index.get("images_dir") or ".")
        paths = {
            case_id: below / _plain_name(f"{case_id}{entry['image']['ext']}")
            for case_id, entry in index["objects"].items()
        }
    except (ValueError, KeyError, AttributeError, TypeError) as problem:
        raise _no_index(problem) from None
    return dict(sorted(paths.items()))


def _no_index(problem: Exception) -> SweepError:
    return SweepError(f"{INDEX}: not an index of MONAI Label ({problem}); let the server write it again")


def _indexed(folder: Path, subjects: dict[str, str]) -> Iterator[Study]:
    """Cases in the order of MONAI Label's index."""
    try:
        index = json.loads((folder / INDEX).read_bytes())
        objects = index["objects"].items()
        images, labels = (_below(folder, index.get(key) or ".") for key in ("images_dir", "labels_dir"))
        store = LabelStore(folder / FOLDER)
        for case_id, entry in objects:
            image = images / _plain_name(f"{case_id}{entry['image']['ext']}")
            if is_case_name(case_id) and store.latest(case_id, FINAL):
                # the index follows from the versions, and may be behind
                yield from _versioned(store, case_id, subject_of(case_id, subjects), image)
                continue
            label = entry["labels"].get(FINAL)
            if label is None:
                continue
            mask = labels / FINAL / _plain_name(f"{case_id}{label['ext']}")
            record = record_in_info(label.get("info") or {})
            yield Study(case_id, subject_of(case_id, subjects), image, mask, record)
    except (ValueError, KeyError, AttributeError, TypeError) as problem:
        raise _no_index(problem) from None


def _versioned(store: LabelStore, case_id: str, subject_id: str, image: Path) -> Iterator[Study]:
    try:
        version = store.current(case_id, FINAL)
    except LabelDamaged as problem:
        yield Study(case_id, subject_id, image, None, None, problem=str(problem))
        return
    if version is not None:
        record = None if version.record is None else version.record.to_json()
        last, withheld = version.review, None
        if last is not None and version.returned:
            withheld = f"version {version.version} has changes requested by {last.reviewer} ({last.comment})"
        yield Study(case_id, subject_id, image, version.mask, record, pixels=version.image, withheld=withheld)


def _plain(folder: Path, subjects: dict[str, str]) -> Iterator[Study]:
    labels = _LabelFiles(next(folder / name for name in LABELS if (folder / name).is_dir()))
    seen: dict[str, Path] = {}
    for image in sorted((folder / IMAGES).iterdir()):
        if image.name.startswith(".") or not is_sweep_path(image):
            continue
        case_id = case_id_of(image)
        if case_id in seen:
            raise SweepError(same_case(case_id, seen[case_id], image))
        seen[case_id] = image
        try:
            mask = labels.one(case_id, LABEL_SUFFIXES)
            record = labels.one(case_id, (RECORD_SUFFIX,))
        except LabelError as problem:
            yield Study(case_id, subject_of(case_id, subjects), image, None, None, problem=str(problem))
            continue
        if mask is None and record is None:
            continue
        try:
            content = None if record is None else read_record_file(record)
        except LabelError as problem:  # of one case; the others can be used
            yield Study(case_id, subject_of(case_id, subjects), image, mask, None, problem=str(problem))
            continue
        yield Study(case_id, subject_of(case_id, subjects), image, mask, content, outlines_count=True)


class _LabelFiles:
    """The files of a label folder by case.

    Suffixes count in upper and lower case, and names in any form of Unicode: a mask named on a Mac belongs to an
    image that was not.
    """

    def __init__(self, folder: Path) -> None:
        self._files: dict[str, list[Path]] = {}
        for path in sorted(folder.iterdir()):
            suffixes = [end for end in (*LABEL_SUFFIXES, RECORD_SUFFIX) if path.name.lower().endswith(end)]
            if suffixes and path.is_file() and not path.name.startswith("."):
                stem = path.name[: -len(max(suffixes, key=len))]
                self._files.setdefault(canonical(stem), []).append(path)

    def one(self, case_id: str, suffixes: tuple[str, ...]) -> Path | None:
        """The file of a case with one of the suffixes; None without one.

        Raises:
            LabelError: when there are several.
        """
        named = self._files.get(canonical(case_id), [])
        matching = [path for path in named if path.name.lower().endswith(suffixes)]
        matching = [
            path for path in matching if path.name.startswith(case_id)
        ] or matching  # prefer the exact spelling
        if len(matching) > 1:
            raise LabelError(
                f"{case_id}: {matching[0].name} and {matching[1].name} are both its label; remove one of them"
            )
        return matching[0] if matching else None


def subject_of(case_id: str, subjects: Mapping[str, str]) -> str:
    """The subject of a case in the table of ``read_subjects``; a case that is not in it is its own subject."""
    return subjects.get(canonical(case_id), case_id)


def read_subjects(folder: Path) -> dict[str, str]:
    """Subject of each case in ``subjects.csv``, for :func:`subject_of`; empty without that file.

    Raises:
        SweepError: when it cannot be used.
    """
    path = folder / SUBJECTS
    if not path.is_file():
        return {}
    subjects: dict[str, str] = {}
    with csv_text(path) as stream:
        reader = csv.DictReader(stream)
        if not {"case_id", "subject_id"} <= set(reader.fieldnames or ()):
            raise SweepError(f"{SUBJECTS}: columns {reader.fieldnames}; case_id and subject_id are needed")
        for row in reader:
            case_id, subject_id = ((row[key] or "").strip() for key in ("case_id", "subject_id"))
            if not case_id or not subject_id:
                raise SweepError(f"{SUBJECTS}, line {reader.line_num}: case_id and subject_id must both be given")
            if subjects.setdefault(canonical(case_id), subject_id) != subject_id:
                raise SweepError(f"{SUBJECTS}: case {case_id} has two subjects; keep one")
    return subjects


def _below(folder: Path, name: str) -> Path:
    """A folder named by the index, which must lie in the studies folder."""
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{name!r} lies outside of the studies folder")
    return path


def _plain_name(name: str) -> str:
    if Path(name).name != name or name.startswith("."):
        raise ValueError(f"{name!r} is no plain file name")
    return name
