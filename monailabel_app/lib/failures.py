"""Every error leaves the server as ``{"detail": sentence}``, never as a traceback."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from monailabel.interfaces.exception import ImageNotFoundException, LabelNotFoundException, MONAILabelException
from starlette.exceptions import HTTPException

from fetaliqa.errors import FetalIQAError
from monailabel_app.lib.shown_paths import without_folders

logger = logging.getLogger(__name__)


def _reply(status: int, sentence: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"detail": without_folders(sentence)}, status, headers)


async def _refused(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _reply(error.status_code, str(error.detail), error.headers)


async def _library(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, FetalIQAError)
    return _reply(error.http_status, str(error))


async def _monailabel(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, MONAILabelException)
    missing = isinstance(error, ImageNotFoundException | LabelNotFoundException)
    return _reply(404 if missing else 400, str(error.msg))


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    found = []
    for problem in error.errors():
        where = ".".join(str(part) for part in problem["loc"][1:]) or str(problem["loc"][0])
        found.append(f"{where}: {problem['msg'][:1].lower()}{problem['msg'][1:]}")
    return _reply(400, "; ".join(found))


async def _bug(request: Request, error: Exception) -> JSONResponse:
    return _reply(500, f"an internal error ({type(error).__name__}); the server's log has the details")


def add_error_replies(app: FastAPI) -> None:
    """Install the handlers."""
    app.add_exception_handler(HTTPException, _refused)
    app.add_exception_handler(FetalIQAError, _library)
    app.add_exception_handler(MONAILabelException, _monailabel)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _bug)
