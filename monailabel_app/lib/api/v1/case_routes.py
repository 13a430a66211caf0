"""``/fetaliqa/v1/case``: what the page shows of one case: frames as pictures, sweeps, the model's assessment."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Annotated, Any

import anyio
import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from fetaliqa.inference import AssessOptions
from fetaliqa.inference.shared_requests import Stopped
from fetaliqa.measure.field_of_view import field_of_view
from fetaliqa.measure.outline import BORDER_PX, away_from_border
from monailabel_app.lib.api.dependencies import MAX_COUNT, USER, served
from monailabel_app.lib.api.inference_routes import inference_limiter
from monailabel_app.lib.api.v1 import PREFIX
from monailabel_app.lib.api.v1.worklist_routes import anatomy_in_use, service_in_use, summaries
from monailabel_app.lib.browser.assessed_case import assessed_case
from monailabel_app.lib.browser.decoded_sweeps import decoded_sweeps, file_version, jpeg
from monailabel_app.lib.browser.mask_runs import runs_of
from monailabel_app.lib.http.disconnects import run_while_connected
from monailabel_app.lib.http.refusal import as_refusal
from monailabel_app.lib.startup.conf import SEG_MODEL
from monailabel_app.lib.tasks.inference_task import known_task

router = APIRouter(prefix=f"{PREFIX}/case", tags=["FetalIQA"])

MAX_BATCH = 64  # frames of one response, 4 MB
YEAR = 365 * 24 * 3600  # s
FrameNumber = Annotated[int, Query(ge=0, le=MAX_COUNT)]


@router.get("", summary="Frames, size and pixel spacing of a case")
def case(image: str, user: Any = USER) -> dict[str, Any]:
    """Read from the header, without waiting for the pixels. ``version`` changes when the image file does; ``best``
    is known where the case was assessed before.
    """
    store = served().datastore()
    path = store.image_path(image)
    with as_refusal():
        sweep = decoded_sweeps.get(path)
        if sweep.shape[0] == 1:
            sweep.sweep()  # a still may be turned upright
        frames, rows, columns = sweep.shape
        known = summaries()
        return {
            "id": image,
            "version": file_version(path),
            "frames": frames,
            "rows": rows,
            "columns": columns,
            "spacing_mm": None if sweep.spacing is None else list(sweep.spacing),
            "best": known.best(image, path, store.sources().get(image, ""), service_in_use()),
            "model": anatomy_in_use(),
            "labels": {tag: store.labels.latest(image, tag) for tag in known.row(image, "final")["tags"]},
        }


@router.get("/layout", summary="Sweeps, black frames and field of view of a case")
def layout(image: str, user: Any = USER) -> dict[str, Any]:
    """Waits for all pixels. ``field_of_view`` and ``measurable`` are masks as run lengths: an outline is measured
    within the first, by its points within the second.
    """
    with as_refusal():
        sweep = decoded_sweeps.get(served().datastore().image_path(image)).sweep()
        sector = field_of_view(sweep.frames)
        shape = sector.shape
        return {
            "frames": sweep.frame_count,
            "rows": shape[0],
            "columns": shape[1],
            "sweeps": [list(span) for span in sweep.ranges],
            "padding": np.flatnonzero(sweep.padding).tolist(),
            "field_of_view": runs_of(sector),
            "measurable": runs_of(away_from_border(shape, sector, BORDER_PX)),
            "notes": list(sweep.notes),
        }


@router.get("/frame", summary="One frame as JPEG", response_class=Response)
def frame(image: str, frame: FrameNumber, request: Request, version: str = "", user: Any = USER) -> Response:
    """With the case's ``version`` it may be kept by the browser."""
    path = served().datastore().image_path(image)
    with as_refusal():
        headers = _caching(path, version, f"{frame}")
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        picture = jpeg(decoded_sweeps.get(path).frame(frame))
    return Response(picture, media_type="image/jpeg", headers=headers)


@router.get("/frames", summary="Consecutive frames as JPEG", response_class=Response)
def frames(
    image: str,
    first: FrameNumber,
    count: Annotated[int, Query(ge=1, le=MAX_BATCH)] = 16,
    version: str = "",
    user: Any = USER,
) -> Response:
    """Each frame is preceded by its number of bytes, 4 bytes, little-endian. There are fewer than ``count`` at the
    end of the case.
    """
    path = served().datastore().image_path(image)
    with as_refusal():
        sweep = decoded_sweeps.get(path)
        sweep.frame(first)
        numbers = range(first, min(first + count, sweep.shape[0]))
        pictures = [jpeg(sweep.frame(number)) for number in numbers]
    content = b"".join(struct.pack("<I", len(one)) + one for one in pictures)
    headers = _caching(path, version, f"{first}-{count}")
    return Response(content, media_type="application/octet-stream", headers=headers)


def _caching(path: Path, version: str, part: str) -> dict[str, str]:
    now = file_version(path)
    lasting = f"private, max-age={YEAR}, immutable" if version == now else "private, no-cache"
    return {"ETag": f'"{now}-{part}"', "Cache-Control": lasting}


@router.get("/assessment", summary="The model's assessment with its masks")
async def assessment(request: Request, image: str, search: bool = False, user: Any = USER) -> dict[str, Any]:
    """Computed where it is not cached, and cancelled when the client disconnects. With ``search`` only the frames
    that may be best are evaluated.
    """
    app = served()
    path = app.datastore().image_path(image)
    task = known_task(app._infers, SEG_MODEL)
    options = AssessOptions(search=search)

    def cached() -> dict[str, Any] | None:
        with as_refusal():
            result = task.serving.current().cached(path, options)
            return None if result is None else assessed_case(result)

    def work(stopped: Stopped) -> dict[str, Any]:
        with as_refusal():
            return assessed_case(task.serving.current().assess(path, options, stopped=stopped))

    known = await anyio.to_thread.run_sync(cached)
    if known is None:
        known = await run_while_connected(request, work, inference_limiter())
    return {**known, "id": image}
