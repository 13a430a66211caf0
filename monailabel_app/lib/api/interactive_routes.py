"""``/fetaliqa/v1/interactive``: a frame segmented by clicks, and a mask carried along a sweep."""

from __future__ import annotations

from typing import Any

import anyio
from fastapi import APIRouter, Request

from fetaliqa.inference.propagation import DIRECTIONS, MAX_LIMIT
from fetaliqa.inference.shared_requests import Stopped
from monailabel_app.lib.api.dependencies import USER, served
from monailabel_app.lib.http.disconnects import run_while_connected
from monailabel_app.lib.http.json_input import JsonObject, takes_json

router = APIRouter(prefix="/fetaliqa/v1/interactive", tags=["Interactive"])

MAX_CLICKED = 2  # requests at a time; they do not wait for assessments of whole cases
_limiter: anyio.CapacityLimiter | None = None

POINT = {"type": "array", "items": {"type": "number"}, "minItems": 2, "maxItems": 2}
MASK = {
    "type": "object",
    "description": "run lengths row by row, beginning with zeros",
    "properties": {
        "rows": {"type": "integer", "minimum": 1},
        "columns": {"type": "integer", "minimum": 1},
        "runs": {"type": "array", "items": {"type": "integer", "minimum": 0}},
    },
    "required": ["rows", "columns", "runs"],
    "additionalProperties": False,
}
FRAME = {"type": "integer", "minimum": 0}
SEGMENT = takes_json(
    {
        "frame": FRAME,
        "foreground": {"type": "array", "items": POINT},
        "background": {"type": "array", "items": POINT},
        "roi": {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4, "nullable": True},
        "mask": {**MASK, "nullable": True},
    },
    required=("frame",),
    others=False,
)
PROPAGATE = takes_json(
    {
        "frame": FRAME,
        "mask": MASK,
        "direction": {"type": "string", "enum": list(DIRECTIONS)},
        "limit": {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT},
    },
    required=("frame", "mask"),
    others=False,
)


def _clicks_limiter() -> anyio.CapacityLimiter:
    global _limiter
    if _limiter is None:
        _limiter = anyio.CapacityLimiter(MAX_CLICKED)
    return _limiter


@router.post("/segment", summary="Segment a frame by clicks, a box and a previous mask", openapi_extra=SEGMENT)
async def segment(http_request: Request, body: JsonObject, image: str, user: Any = USER) -> dict[str, Any]:
    """The mask of one frame, its expected Dice and its measurement (docs/interactive.md)."""
    app = served()

    def work(stopped: Stopped) -> dict[str, Any]:
        return app.segment(image, body, stopped)

    return await run_while_connected(http_request, work, _clicks_limiter())


@router.post("/propagate", summary="Carry a mask of a frame along its sweep", openapi_extra=PROPAGATE)
async def propagate(http_request: Request, body: JsonObject, image: str, user: Any = USER) -> dict[str, Any]:
    """Masks of the frames before and after, which are proposals until a person confirms them."""
    app = served()

    def work(stopped: Stopped) -> dict[str, Any]:
        return app.propagate(image, body, stopped)

    return await run_while_connected(http_request, work, _clicks_limiter())
