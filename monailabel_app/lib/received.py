"""Files received from clients: which are taken, and how they are kept until the answer is sent."""

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
from monailabel_app.lib.refusal import Refused
from monailabel_app.lib.scratch import scratch

TEMPORARY_PREFIX = "fetaliqa-"  # of our files and folders in the temporary folder
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
    """A plain name to keep a client's file under.

    Only the suffix of what the client calls it matters: the file belongs to the id that comes with it.

    Args:
        name: as the client gives it.
        suffixes: that are known.
        kind: of the file, for messages.
        content: of the file; with it, DICOM files need no suffix.

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
    """Whether a file has the mark of DICOM; it is read from its beginning afterwards."""
    content.seek(0)
    marked = content.read(MARK_AT + len(MARK))[MARK_AT:] == MARK
    content.seek(0)
    return marked


def check_self_contained(path: Path) -> None:
    """Refuse an image header that points to other files for its pixels.

    Raises:
        Refused: 400 for a detached header (MetaImage ``ElementDataFile``, NRRD ``data file``).
    """
    if path.is_dir():
        for child in path.iterdir():
            check_self_contained(child)
        return
    # the readers' own view of the header decides: another parser could be told another story
    if not is_self_contained(path):
        raise Refused(
            400,
            f"{path.name}: the header does not say that its pixels follow in this file; send one complete file",
        )


@contextlib.contextmanager
def received_file(stream: BinaryIO, name: str) -> Iterator[Path]:
    """Keep a client's file under ``name`` in a private folder for the duration of the block."""
    with scratch.folder() as folder:
        path = folder / name
        with open(path, "wb") as target:
            shutil.copyfileobj(stream, target, 1 << 20)
        yield path


def is_stock_upload(value: str, session_store: str | None) -> bool:
    """True when ``value`` is a path that MONAI Label's own endpoints made of an upload or a session.

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
    """Suffixes of files that can be sweeps."""
    return tuple(SWEEP_SUFFIXES)
