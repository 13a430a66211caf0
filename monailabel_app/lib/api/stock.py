"""The rest of MONAI Label's own endpoints: unchanged in what they do, moved off the event loop.

MONAI Label declares its endpoints ``async`` and works inside them, so one long call stops the server for
everybody. None of those taken over here ever waits for anything, so each can run to its end in a thread.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import APIRouter, Depends, Response
from fastapi.routing import APIRoute
from monailabel.config import settings
from monailabel.endpoints import info, login, model

from monailabel_app.lib.api.common import served
from monailabel_app.lib.infers import known_task
from monailabel_app.lib.refusal import Refused
from monailabel_app.lib.shown_paths import shown_task


def in_thread(endpoint: Callable[..., Any]) -> Callable[..., Any]:
    """A plain function, which FastAPI runs in a thread, from a coroutine function that never waits."""
    if not inspect.iscoroutinefunction(endpoint):
        return endpoint

    def run(**arguments: Any) -> Any:
        coroutine = endpoint(**arguments)
        try:
            coroutine.send(None)
        except StopIteration as finished:
            return finished.value if isinstance(finished.value, Response) else shown_task(finished.value)
        coroutine.close()
        raise RuntimeError(f"{endpoint.__name__} waits for something; it cannot run in a thread")

    run.__name__ = endpoint.__name__
    run.__doc__ = endpoint.__doc__
    run.__signature__ = inspect.signature(endpoint)  # type: ignore[attr-defined]
    return run


def taken_over(
    router: APIRouter,
    check: Callable[..., None] | None = None,
    methods: Sequence[str] = ("GET", "POST", "PUT", "DELETE"),
) -> APIRouter:
    """A router with the same routes, in threads; ``check`` runs first on every route that has its parameter."""
    ours = APIRouter()
    needed = set(inspect.signature(check).parameters) if check else set()
    for route in router.routes:
        if not isinstance(route, APIRoute):
            continue
        kept = sorted(set(route.methods or ()).intersection(methods))
        if not kept:
            continue
        checked = check is not None and needed <= set(inspect.signature(route.endpoint).parameters)
        ours.add_api_route(
            route.path,
            in_thread(route.endpoint),
            methods=kept,
            summary=route.summary,
            tags=list(route.tags),
            include_in_schema=route.include_in_schema,
            dependencies=[Depends(check)] if checked else None,
        )
    return ours


def _known_model(model: str) -> None:
    known_task(served()._infers, model)


others = APIRouter(tags=["Others"])


@others.api_route("/reload", methods=["GET", "POST", "PUT", "DELETE"], include_in_schema=False)
def reload() -> None:
    """MONAI Label's call, open to everybody, which leaves what it replaces running."""
    raise Refused(
        404, "the app cannot be loaded again by a request; new studies and models are noticed, else restart it"
    )


def routers() -> list[APIRouter]:
    """Everything of MONAI Label's API that our own modules do not replace.

    Left out: ``/proxy`` and ``/ohif`` (fetch and serve for DICOMweb viewers), ``/infer/wsi*`` (whole-slide
    pathology), replacing or deleting model files (bundles are published by the library, never by upload), and
    ``/reload`` (published models and changed studies are followed without it).
    """
    kept = [
        others,
        taken_over(info.router),
        taken_over(model.router, _known_model, methods=("GET",)),
    ]
    if settings.MONAI_LABEL_AUTH_ENABLE:
        kept.append(login.router)
    return kept
