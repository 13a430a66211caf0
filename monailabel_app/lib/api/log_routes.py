"""``/logs``: the last lines of the server's log, as text or as a page."""

from __future__ import annotations

import shutil
import subprocess
from collections import deque
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import PlainTextResponse, Response
from monailabel.config import settings

from monailabel_app.lib.api.dependencies import ADMIN
from monailabel_app.lib.http.pages import log_page
from monailabel_app.lib.http.path_redaction import without_folders
from monailabel_app.lib.http.refusal import Refused
from monailabel_app.lib.startup.log_files import log_file

router = APIRouter(prefix="/logs", tags=["Others"])

LINES = 300
MAX_LINES = 100_000
MIN_REFRESH = 3  # s


@router.get("/", summary="The last lines of the server's log")
def log_lines(
    request: Request,
    lines: Annotated[int, Query(ge=0, le=MAX_LINES)] = LINES,
    html: bool = True,
    text: bool = False,
    refresh: Annotated[int, Query(ge=0, le=86400)] = 0,
    user: Any = ADMIN,
) -> Response:
    """A page, or with ``text`` plain text; ``lines`` 0 is as many as there can be. Folders are left out."""
    try:
        with open(log_file(settings.MONAI_LABEL_APP_DIR), encoding="utf-8", errors="replace") as log:
            last = "".join(deque(log, lines or MAX_LINES))
    except FileNotFoundError:
        raise Refused(404, "this server writes no log file") from None
    last = without_folders(last)
    if text or not html:
        return PlainTextResponse(last)
    again = max(refresh, MIN_REFRESH) if refresh else 0
    return log_page(last, again, request)


@router.get("/gpu", summary="What nvidia-smi says")
def gpu(user: Any = ADMIN) -> Response:
    """Text of nvidia-smi; 404 on a machine without it."""
    program = shutil.which("nvidia-smi")
    if program is None:
        raise Refused(404, "there is no nvidia-smi on this machine: no NVIDIA GPU, or its driver is not installed")
    shown = subprocess.run([program], capture_output=True, text=True, timeout=30, check=False)
    if shown.returncode:
        raise Refused(404, f"nvidia-smi failed with code {shown.returncode}; is the driver loaded?")
    return PlainTextResponse(shown.stdout)
