"""Files uploaded by clients: checks, and temporary storage until the response is sent."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from fetaliqa.case_names import is_case_name
from fetaliqa.sweep import DETACHED_SUFFIXES, MASK_SUFFIXES, SWEEP_SUFFIXES, is_self_contained
from fetaliqa.sweep.folder_contents import MARK, MARK_AT
from monailabel_app.lib.files.scratch import scratch
from monailabel_app.lib.http.refusal import Refused

TEMPORARY_PREFIX = "fetaliqa-"  # of the app's files and folders in the temporary folder
LABEL_SUFFIXES = (*MASK_SUFFIXES, ".nii")
# MONAI Label's own infer endpoint stores an upload under such a name in the temporary folder
_STOCK_UPLOAD = re.compile(r"tmp[a-z0-9_]{8}(\.[A-Za-z0-9._-]*)?")


def suffix_of(name: str, suffixes: tuple[str, ...]) -> str | None:
    """The longest of ``suffixes`` that ``name`` ends with (any case), or None."""
    fitting = [suffix for suffix in suffixes if name.lower().endswith(suffix)]
    return max(fitting, key=len) if fitting else None


def last_part(name: str | None) -> str:
    """The last part of a file name that may be a path, as MONAI Label's own client sends."""
    return re.split(r"[/\\]", name or "")[-1]


def check_file_name(
    name: str | None, suffixes: tuple[str, ...], kind: str, content: BinaryIO | None = None
) -> str:
    """A safe name for a client's file.

    Only the suffix of the client's name matters: the id comes separately.

    Args:
        name: from the client.
        suffixes: of accepted formats.
        kind: of the file, for messages.
        content: of the file; when given, DICOM files need no suffix.

    Raises:
        Refused: 400 when the suffix is not accepted.
    """
    last = last_part(name)
    accepted = tuple(suffix for suffix in suffixes if suffix not in DETACHED_SUFFIXES)
    suffix = suffix_of(last, accepted)
    if suffix is None and suffix_of(last, suffixes) is None and content is not None and _is_dicom(content):
        suffix = ""
    if suffix is None:
        raise Refused(
            400, f"file name of the {kind} {last[-80:]!a}: the suffix must be one of {', '.join(sorted(accepted))}"
        )
    return last if is_case_name(last[: len(last) - len(suffix)]) else f"{kind}{suffix}"


def _is_dicom(content: BinaryIO) -> bool:
    """Whether a file has the DICOM magic bytes; the stream is rewound."""
    content.seek(0)
    magic = content.read(MARK_AT + len(MARK))[MARK_AT:] == MARK
    content.seek(0)
    return magic


def check_self_contained(path: Path) -> None:
    """Refuse an image header whose pixels lie in another file.

    Raises:
        Refused: 400 for a detached header (MetaImage ``ElementDataFile``, NRRD ``data file``).
    """
    if path.is_dir():
        for child in path.iterdir():
            check_self_contained(child)
        return
    # the readers' own parser decides: another one could interpret a crafted header differently
    if not is_self_contained(path):
        raise Refused(
            400,
            f"{path.name}: the pixels do not follow the header in this file; send one self-contained file",
        )


@contextlib.contextmanager
def received_file(stream: BinaryIO, name: str) -> Iterator[Path]:
    """Store a client's file as ``name`` in a private folder for the duration of the block."""
    with scratch.folder() as folder:
        path = folder / name
        with open(path, "wb") as target:
            shutil.copyfileobj(stream, target, 1 << 20)
        yield path


def is_stock_upload(value: str, session_store: str | None) -> bool:
    """True when ``value`` is a path that MONAI Label's own endpoints made for an upload or a session.

    Those endpoints put a path where an image id belongs, so an app on the plain server cannot otherwise
    tell an uploaded file from a path that a client wrote.
    """
    path = Path(value)
    if not path.is_absolute() or not path.exists():
        return False
    real = path.resolve()
    if real.parent == Path(tempfile.gettempdir()).resolve():
        return real.is_file() and _STOCK_UPLOAD.fullmatch(real.name) is not None
    return session_store is not None and Path(session_store).resolve() in real.parents


def sweep_suffixes() -> tuple[str, ...]:
    """Suffixes of files that may be sweeps."""
    return tuple(SWEEP_SUFFIXES)
