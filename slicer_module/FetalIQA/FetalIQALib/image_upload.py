"""Upload of an image file with progress, in a task's thread."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO
from urllib.parse import quote, urlencode

from FetalIQALib.case_names import checked_case
from FetalIQALib.client_errors import FetalIQAError, NotFound, RequestCanceled
from FetalIQALib.http_client import COMPUTE_SECONDS, Cancel, HttpClient
from FetalIQALib.server_responses import expect
from FetalIQALib.translation import _

SUFFIXES = (
    *(".nii.gz", ".nii", ".mha", ".seq.nrrd", ".nrrd", ".dcm", ".dicom", ".png", ".jpeg", ".jpg"),
    *(".mp4", ".mov", ".avi", ".mkv"),
)
DETACHED = (".mhd", ".nhdr", ".hdr")  # headers whose pixels lie in another file
MAGIC_AT, MAGIC = 128, b"DICM"  # DICOM PS3.10, section 7.1


def split_suffix(name: str) -> tuple[str, str]:
    """Name and suffix of a file; the suffix is empty if it is not one of an image."""
    suffix = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)], suffix


def checked_file(path: Path) -> str:
    """The suffix under which a file can be sent.

    Raises:
        FetalIQAError: if it is not an image file of one piece.
    """
    if not path.is_file():
        raise FetalIQAError(_("There is no file {path}.").format(path=path))
    if path.suffix.lower() in DETACHED:
        raise FetalIQAError(
            _("{name} is a header; its pixels lie in another file. Save it as one file, such as .mha.").format(
                name=path.name
            )
        )
    suffix = split_suffix(path.name)[1]
    try:
        dicom = is_dicom(path)
    except OSError as problem:
        raise FetalIQAError(
            _("{name} cannot be read ({reason}).").format(name=path.name, reason=problem.strerror)
        ) from None
    if suffix:
        return suffix
    if not dicom:
        raise FetalIQAError(
            _("{name} is not an image file; the suffix must be one of {suffixes}, or the file DICOM.").format(
                name=path.name, suffixes=" ".join(SUFFIXES)
            )
        )
    return ".dcm"


def is_dicom(path: Path) -> bool:
    """Whether a file has the mark of DICOM files.

    Raises:
        OSError: if it cannot be read.
    """
    with open(path, "rb") as file:
        file.seek(MAGIC_AT)
        return file.read(len(MAGIC)) == MAGIC


def case_name(path: Path) -> str:
    """The name that a file suggests for its case."""
    return split_suffix(path.name)[0].strip()


class MultipartFile:
    """Body of a multipart request with one file, read piece by piece.

    Args:
        path: the file.
        filename: under which it is sent; ASCII.
        progress: called with the number of bytes sent, and of all.
        cancel: set to cancel the request.
    """

    def __init__(self, path: Path, filename: str, progress: Callable[[int, int], None], cancel: Cancel) -> None:
        boundary = uuid.uuid4().hex
        disposition = f'Content-Disposition: form-data; name="file"; filename="{filename}"'
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._head = f"--{boundary}\r\n{disposition}\r\nContent-Type: application/octet-stream\r\n\r\n".encode()
        self._tail = f"\r\n--{boundary}--\r\n".encode()
        self._file: BinaryIO = path.open("rb")
        self._size = path.stat().st_size
        self._total = len(self._head) + self._size + len(self._tail)
        self._sent = 0
        self._progress = progress
        self._cancel = cancel

    def __enter__(self) -> MultipartFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def __len__(self) -> int:
        return self._total

    def read(self, size: int = -1) -> bytes:
        """The next bytes, at most ``size``.

        Raises:
            RequestCanceled: if the request was canceled.
        """
        if self._cancel.is_set():
            raise RequestCanceled(_("Canceled."))
        start, end = self._sent, self._total if size < 0 else min(self._sent + size, self._total)
        head, body = len(self._head), len(self._head) + self._size
        part = self._head[start:end]
        if end > head and start < body:
            part += self._file.read(min(end, body) - max(start, head))
        if end > body:
            part += self._tail[max(start - body, 0) : end - body]
        self._sent += len(part)
        self._progress(min(max(self._sent - head, 0), self._size), self._size)
        return part


def upload_image(
    http: HttpClient,
    path: Path,
    suffix: str,
    case: str,
    cancel: Cancel,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> str:
    """Send a file to the server as a new case; returns the case.

    Args:
        http: of the server.
        path: the file.
        suffix: of its format.
        case: name of the new case.
        cancel: set to cancel the upload; the server then stores nothing.
        progress: called with the number of bytes sent, and of all.

    Raises:
        FetalIQAError: if the name is invalid or taken, or the server refuses the file.
    """
    checked_case(case)
    query = urlencode({"image": case}, quote_via=quote)
    try:
        http.json("GET", f"/datastore/image/info?{query}", cancel)
    except NotFound:
        pass
    else:
        raise FetalIQAError(_("The server already has a case {case}; choose another name.").format(case=case))
    with MultipartFile(path, f"image{suffix}", progress, cancel) as body:
        headers = {"Content-Type": body.content_type}
        reply: Any = http.json(
            "PUT", f"/datastore/image?{query}", cancel, data=body, headers=headers, seconds=COMPUTE_SECONDS
        )
    return checked_case(expect(expect(reply, dict, "the image").get("image"), str, "the image"))
