"""MONAI Label's own endpoints that are unchanged, but run off the event loop.

MONAI Label declares its endpoints ``async`` and blocks in them, so that one long request stops the server. None of
the endpoints here awaits anything, so each can run in a thread.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter, Depends, Response
from fastapi.routing import APIRoute
from monailabel.config import settings
from monailabel.endpoints import info, login, model

from monailabel_app.lib.api import login_routes
from monailabel_app.lib.api.dependencies import served
from monailabel_app.lib.http.path_redaction import shown_task
from monailabel_app.lib.http.refusal import Refused
from monailabel_app.lib.tasks.inference_task import known_task


def in_thread(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """A plain function, which FastAPI runs in a thread, from a coroutine function that never awaits."""
    if not inspect.iscoroutinefunction(endpoint):
        return endpoint

    def run(**arguments: Any) -> Any:
        coroutine = endpoint(**arguments)
        try:
            coroutine.send(None)
        except StopIteration as finished:
            return finished.value if isinstance(finished.value, Response) else shown_task(finished.value)
        coroutine.close()
        raise RuntimeError(f"{endpoint.__name__} awaits something; it cannot run in a thread")

    run.__name__ = endpoint.__name__
    run.__doc__ = endpoint.__doc__
    run.__signature__ = inspect.signature(endpoint)  # type: ignore[attr-defined]
    return run


def threaded(
    router: APIRouter,
    check: Callable[..., None] | None = None,
    methods: Sequence[str] = ("GET", "POST", "PUT", "DELETE"),
) -> APIRouter:
    """A router with the same routes, run in threads; ``check`` runs first on routes that have its parameter."""
    copy = APIRouter()
    needed = set(inspect.signature(check).parameters) if check else set()
    for route in router.routes:
        if not isinstance(route, APIRoute):
            continue
        route_methods = sorted(set(route.methods or ()).intersection(methods))
        if not route_methods:
            continue
        checked = check is not None and needed <= set(inspect.signature(route.endpoint).parameters)
        copy.add_api_route(
            route.path,
            in_thread(route.endpoint),
            methods=route_methods,
            summary=route.summary,
            tags=list(route.tags),
            include_in_schema=route.include_in_schema,
            dependencies=[Depends(check)] if checked else None,
        )
    return copy


def _known_model(model: str) -> None:
    known_task(served()._infers, model)


others = APIRouter(tags=["Others"])


@others.api_route("/reload", methods=["GET", "POST", "PUT", "DELETE"], include_in_schema=False)
def reload() -> None:
    """Refused: MONAI Label's endpoint needs no login, and leaves the replaced app running."""
    raise Refused(
        404, "the app cannot be reloaded by a request; new studies and models are detected, otherwise restart it"
    )


def routers() -> list[APIRouter]:
    """Routers of MONAI Label's API that this package does not replace.

    Left out: ``/proxy`` and ``/ohif`` (fetch and serve for DICOMweb viewers), ``/infer/wsi*`` (whole-slide
    pathology), replacing or deleting model files (bundles are published by the library, never by upload), and
    ``/reload`` (published models and changed studies are followed without it).
    """
    used = [
        others,
        threaded(info.router),
        threaded(model.router, _known_model, methods=("GET",)),
    ]
    used.append(login.router if settings.MONAI_LABEL_AUTH_ENABLE else login_routes.monailabel_login)
    return used
