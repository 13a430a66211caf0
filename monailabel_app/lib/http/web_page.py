"""The workplace in the browser at ``/``: static files of the package, with a policy that allows nothing else."""

from __future__ import annotations

import html
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from fastapi.staticfiles import StaticFiles

WEB = "/web"
FOLDER = Path(__file__).resolve().parents[2] / "web"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"
)
TYPES = {".js": "text/javascript", ".css": "text/css", ".json": "application/json", ".svg": "image/svg+xml"}


class WebFiles(StaticFiles):
    """Files with fixed types, which a system's registry may spell otherwise; asked for again after an update."""

    def file_response(self, full_path: Any, *arguments: Any, **options: Any) -> Response:
        response = super().file_response(full_path, *arguments, **options)
        kind = TYPES.get(Path(full_path).suffix)
        if kind is not None and "content-type" in response.headers:
            response.headers["content-type"] = f"{kind}; charset=utf-8"
        response.headers["cache-control"] = "no-cache"
        return response


def add_web_page(app: FastAPI, api: str) -> None:
    """Serve the page.

    Args:
        app: to add it to.
        api: prefix of the API's paths.
    """
    app.mount(WEB, WebFiles(directory=FOLDER), name="web")

    @app.get("/", include_in_schema=False)
    def page(request: Request) -> HTMLResponse:
        root = str(request.scope.get("root_path", "")).rstrip("/")
        text = (FOLDER / "index.html").read_text(encoding="utf-8")
        filled = text.replace("{root}", html.escape(root)).replace("{api}", html.escape(root + api))
        headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
        return HTMLResponse(filled, headers=headers)
