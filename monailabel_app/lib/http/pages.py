"""HTML pages that load nothing from other hosts: scripts and styles come from the installation."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from pathlib import Path

import fastapi_offline
from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse
from fastapi.staticfiles import StaticFiles

ASSETS = "/assets"
_INLINE = {kind: re.compile(rf"<{kind}>(.*?)</{kind}>", re.DOTALL) for kind in ("script", "style")}
_POLICY = (
    "default-src 'none'; script-src 'self'{script}; style-src 'self'{style}; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_LOG_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Log of the server</title>
<link rel="icon" href="{icon}">{refresh}
<style>body {{ display: flex; flex-direction: column-reverse; height: 100vh; margin: 0; overflow: auto }}
pre {{ margin: 0; padding: 1em; font-size: medium; white-space: pre-wrap; overflow-wrap: anywhere }}</style></head>
<body><pre>{text}</pre></body></html>
"""


def _page(content: str) -> HTMLResponse:
    """A page whose policy allows its own inline scripts and styles, by hash, and files of this server."""
    allowed = {}
    for kind, inline in _INLINE.items():
        digests = (hashlib.sha256(text.encode()).digest() for text in inline.findall(content))
        allowed[kind] = "".join(f" 'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return HTMLResponse(content, headers={"Content-Security-Policy": _POLICY.format(**allowed)})


def log_page(text: str, refresh: int, request: Request) -> HTMLResponse:
    """Lines of a log, the last ones in view.

    Args:
        text: the lines.
        refresh: seconds after which the page is loaded again, 0: never.
        request: to respond to.
    """
    again = f'<meta http-equiv="refresh" content="{refresh}">' if refresh else ""
    icon = html.escape(f"{_root(request)}{ASSETS}/favicon.png")
    return _page(_LOG_PAGE.format(text=html.escape(text), refresh=again, icon=icon))


def add_pages(app: FastAPI) -> None:
    """The API documentation (Swagger UI) at ``/docs``, and its files at ``/assets``.

    MONAI Label has ReDoc at ``/docs``, which loads an image from another host.
    """
    # only the files of FastAPI-offline: its own pages have no policy
    files = Path(fastapi_offline.__file__).parent / "static"
    app.mount(ASSETS, StaticFiles(directory=files), name="assets")

    @app.get("/docs", include_in_schema=False)
    def api_documentation(request: Request) -> HTMLResponse:
        root = _root(request)
        page = get_swagger_ui_html(
            openapi_url=f"{root}{app.openapi_url}",
            title=f"{app.title}: API",
            swagger_js_url=f"{root}{ASSETS}/swagger-ui-bundle.js",
            swagger_css_url=f"{root}{ASSETS}/swagger-ui.css",
            swagger_favicon_url=f"{root}{ASSETS}/favicon.png",
            # otherwise another site would validate the schema of a server that is not on localhost
            swagger_ui_parameters={"validatorUrl": None, "defaultModelsExpandDepth": -1},
        )
        return _page(bytes(page.body).decode())


def _root(request: Request) -> str:
    return str(request.scope.get("root_path", "")).rstrip("/")
