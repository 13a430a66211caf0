"""Responses with files; temporary ones are streamed and removed."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import quote

from fastapi.responses import FileResponse, JSONResponse, Response, StreamingResponse
from monailabel.utils.others.generic import get_mime_type
from requests_toolbelt import MultipartEncoder

from monailabel_app.lib.files.scratch import scratch
from monailabel_app.lib.files.uploaded_files import LABEL_SUFFIXES, suffix_of

_CHUNK = 1 << 20  # bytes


class AnyJSONResponse(JSONResponse):
    """JSON responses for any content, such as text and numbers read from files."""

    def render(self, content: Any) -> bytes:
        """JSON text; NaN and infinite numbers become null, half of a surrogate pair an escape."""
        try:
            return super().render(content)
        except ValueError:
            return super().render(_sendable(content))


def _sendable(value: Any) -> Any:
    if isinstance(value, dict):
        return {_sendable(key): _sendable(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_sendable(one) for one in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value.encode("utf-8", "backslashreplace").decode("utf-8") if isinstance(value, str) else value


def _drained(source: Any, file: BinaryIO, path: Path) -> Iterator[bytes]:
    try:
        while chunk := source.read(_CHUNK):
            yield chunk
    finally:
        file.close()
        scratch.discard(path)


def _open_unlinked(path: Path) -> BinaryIO:
    """Open a temporary file and unlink it; where an open file cannot be unlinked, ``_drained`` removes it."""
    file = open(path, "rb")  # noqa: SIM115 (closed by the generator that sends it)
    scratch.discard(path)  # on POSIX the open file stays readable, and nothing is left if the client disconnects
    return file


def disposition(name: str) -> str:
    """The header ``Content-Disposition`` of a file: its name in ASCII, and in UTF-8 if different (RFC 6266)."""
    plain = plain_name(name)
    escaped = "" if plain == name else f"; filename*=UTF-8''{quote(name, safe='')}"
    return f'attachment; filename="{plain}"{escaped}'


def plain_name(name: str) -> str:
    """A file's name with an underscore for all but letters, digits, dot, underscore and hyphen."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", name)


def sent_file(path: Path, name: str) -> FileResponse:
    """Send a file under the name ``name``."""
    headers = {"Content-Disposition": disposition(name)}
    return FileResponse(path, media_type=get_mime_type(path.name), headers=headers)


def vanishing_file(path: Path, name: str) -> Response:
    """Send a temporary file under the name ``name`` and remove it."""
    file = _open_unlinked(path)
    headers = {
        "Content-Length": str(os.fstat(file.fileno()).st_size),
        "Content-Disposition": disposition(name),
    }
    return StreamingResponse(_drained(file, file, path), media_type=get_mime_type(name), headers=headers)


def streamed_file(path: Path, name: str) -> Response:
    """Send a file under the name ``name``, completely even if it is removed meanwhile.

    Raises:
        FileNotFoundError: when it is removed already.
    """
    file = open(path, "rb")  # noqa: SIM115 (closed by the generator that sends it)
    headers = {
        "Content-Length": str(os.fstat(file.fileno()).st_size),
        "Content-Disposition": disposition(name),
    }
    return StreamingResponse(_read(file), media_type=get_mime_type(name), headers=headers)


def _read(file: BinaryIO) -> Iterator[bytes]:
    with file:
        while chunk := file.read(_CHUNK):
            yield chunk


def mask_reply(path: str | None, params: dict[str, Any], output: str | None, name: str) -> Response:
    """The answer of an inference.

    Args:
        path: temporary mask file, removed by the reply; None when there is none.
        params: JSON part.
        output: ``json`` (params alone), ``image`` (the file alone), or ``all``/None (multipart of both).
        name: file name told to the client, without suffix.
    """
    if path is None or output == "json":
        if path is not None:
            scratch.discard(Path(path))
        return JSONResponse(params)
    mask = Path(path)
    file_name = f"{name}{suffix_of(mask.name, LABEL_SUFFIXES)}"
    if output == "image":
        return vanishing_file(mask, file_name)
    file_name = plain_name(file_name)  # clients save the part under this name, whatever their disk takes
    file = _open_unlinked(mask)
    encoder = MultipartEncoder(
        fields={
            "params": (None, json.dumps(params, allow_nan=False), "application/json"),
            "image": (file_name, file, get_mime_type(file_name)),
        }
    )
    headers = {"Content-Length": str(encoder.len)}
    return StreamingResponse(_drained(encoder, file, mask), media_type=encoder.content_type, headers=headers)
