"""Error handlers: every error is answered with ``{"detail": sentence}``, never with a traceback."""

from __future__ import annotations

import errno
import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from monailabel.interfaces.exception import ImageNotFoundException, LabelNotFoundException, MONAILabelException
from starlette.exceptions import HTTPException

from fetaliqa.atomic import why_not_written
from fetaliqa.errors import FetalIQAError
from monailabel_app.lib.http.path_redaction import without_folders
from monailabel_app.lib.http.refusal import Refused, retry_header

logger = logging.getLogger(__name__)

MAX_SENTENCE = 1000  # characters: a sentence repeats a value, which may be megabytes
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM)


def _reply(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    sentence = without_folders(sentence)
    if len(sentence) > MAX_SENTENCE:
        sentence = f"{sentence[: MAX_SENTENCE // 2]} […] {sentence[-MAX_SENTENCE // 2 :]}"
    # half of a surrogate pair cannot be sent
    readable = sentence.encode("utf-8", "backslashreplace").decode("utf-8")
    return JSONResponse({"detail": readable}, status, headers)


async def _library(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, FetalIQAError)
    return _reply(error.http_status, str(error), retry_header(error))


async def _monailabel(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, MONAILabelException)
    missing = isinstance(error, ImageNotFoundException | LabelNotFoundException)
    return _reply(404 if missing else 400, str(error.msg))


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    sentences = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"][1:]) or str(problem["loc"][0])
        sentences.append(f"{where}: {problem['msg'][:1].lower()}{problem['msg'][1:]}")
    return _reply(400, "; ".join(sentences))


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    cause = error.__cause__
    # raised while FastAPI wrote a form's files; a Refused names its disk itself
    if isinstance(cause, OSError) and cause.errno in DISK and not isinstance(error, Refused):
        return await _disk(request, cause)
    return _reply(error.status_code, str(error.detail), error.headers)


async def _disk(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, OSError)
    if error.errno not in DISK:
        logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return await _bug(request, error)
    logger.error("%s %s: the disk cannot be written: %s", request.method, request.url.path, error)
    return _reply(507, f"nothing was changed: {why_not_written(error, 'try')}")


async def _bug(request: Request, error: Exception) -> JSONResponse:
    return _reply(500, f"an internal error ({type(error).__name__}); the server's log has the details")


ERROR = {
    "type": "object",
    "properties": {"detail": {"type": "string"}},
    "required": ["detail"],
    "additionalProperties": False,
}
EVERYWHERE = {"4XX": "the request is refused, for the reason in ``detail``"}
WRITING = {"507": "the disk cannot be written; nothing was changed"}
UPLOADING = {"503": "too many uploads, out of device memory, or a model that cannot be used; retry later"}


def _describe_errors(document: dict[str, Any]) -> None:
    """Document each endpoint's errors, in place of FastAPI's 422, which is a 400 here."""
    for methods in document["paths"].values():
        for method, call in methods.items():
            call["responses"].pop("422", None)
            errors = dict(EVERYWHERE)
            if method in ("post", "put", "delete"):
                errors |= WRITING
            if "multipart/form-data" in call.get("requestBody", {}).get("content", {}):
                errors |= UPLOADING
            for status, description in errors.items():
                content = {"application/json": {"schema": ERROR}}
                call["responses"][status] = {"description": description, "content": content}


def _describe_login(document: dict[str, Any]) -> None:
    """Document the token of a client, which the pages of the documentation then ask for."""
    token = {"type": "http", "scheme": "bearer", "description": "of fetaliqa users token; see docs/access.md"}
    document.setdefault("components", {}).setdefault("securitySchemes", {})["token"] = token
    document["security"] = [{"token": []}]


def add_error_replies(app: FastAPI, login: bool = False) -> None:
    """Install the handlers, and document errors, and the token of a login, in the OpenAPI schema."""
    made = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            _describe_errors(made())
            if login:
                _describe_login(made())
        return made()

    app.openapi = described  # type: ignore[method-assign]
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(OSError, _disk)
    app.add_exception_handler(FetalIQAError, _library)
    app.add_exception_handler(MONAILabelException, _monailabel)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _bug)
