"""Files received from clients: which are taken, and how they are kept until the answer is sent."""

from __future__ import annotations

import contextlib
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from fetaliqa.sweep import DETACHED_SUFFIXES, MASK_SUFFIXES, SWEEP_SUFFIXES, is_self_contained
from monailabel_app.lib.ids import check_id
from monailabel_app.lib.refusal import Refused
from monailabel_app.lib.scratch import scratch

LABEL_SUFFIXES = (*MASK_SUFFIXES, ".nii")
# MONAI Label's own infer endpoint stores an upload under such a name in the temporary folder
_STOCK_UPLOAD = re.compile(r"tmp[a-z0-9_]{8}(\.[A-Za-z0-9._-]*)?")


def suffix_of(name: str, suffixes: tuple[str, ...]) -> str | None:
    """The longest of ``suffixes`` that ``name`` ends with (any case), or None."""
    fitting = [suffix for suffix in suffixes if name.lower().endswith(suffix)]
    return max(fitting, key=len) if fitting else None


def check_file_name(name: str | None, suffixes: tuple[str, ...], kind: str) -> str:
    """Return the client's file name when it is one plain name with an accepted suffix.

    Raises:
        Refused: 400 otherwise.
    """
    accepted = tuple(suffix for suffix in suffixes if suffix not in DETACHED_SUFFIXES)
    check_id(f"file name of the {kind}", name or "")
    if suffix_of(str(name), accepted) is None:
        raise Refused(
            400, f"file name of the {kind} {name!r}: the suffix must be one of {', '.join(sorted(accepted))}"
        )
    return str(name)


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
