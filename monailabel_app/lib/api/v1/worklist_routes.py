"""``/fetaliqa/v1/worklist``: the cases with their state, best frame and lease; pictures of the best frames."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from typing import Annotated, Any

import cv2
import numpy as np
from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from fetaliqa.active.leases import Leases
from fetaliqa.errors import FetalIQAError
from fetaliqa.inference.case_result import AssessmentResult
from fetaliqa.measure.anatomy import anatomy_named
from fetaliqa.pictures.frame_picture import frame_picture
from fetaliqa.registry import AssessmentService
from fetaliqa.sweep.sweep_reader import open_image
from monailabel_app.lib.api.dependencies import USER, served
from monailabel_app.lib.api.v1 import PREFIX
from monailabel_app.lib.browser.case_summaries import CaseSummaries
from monailabel_app.lib.browser.decoded_sweeps import decoded_sweeps, file_version, jpeg, single_frame
from monailabel_app.lib.http.ids import check_id
from monailabel_app.lib.http.refusal import as_refusal
from monailabel_app.lib.startup.conf import SEG_MODEL

router = APIRouter(prefix=PREFIX, tags=["FetalIQA"])

WIDTH = 160  # pixels of a thumbnail
KEPT = 2000  # thumbnails in memory, 5 kB each
AT_ONCE = 1  # sweeps decoded for thumbnails, so that other requests do not wait
_summaries: dict[str, CaseSummaries] = {}
_thumbnails: OrderedDict[str, bytes] = OrderedDict()
_decoding = threading.Semaphore(AT_ONCE)


def service_in_use() -> AssessmentService | None:
    """The segmentation model's service, immediately; None on a server without one."""
    task = served()._infers.get(SEG_MODEL)
    return None if task is None else task.serving.peek()


def anatomy_in_use() -> dict[str, Any] | None:
    """What the model outlines, and how it is measured; None on a server without a segmentation model."""
    service = service_in_use()
    if service is None:
        return None
    anatomy = anatomy_named(service.card.anatomy)
    return {
        "anatomy": anatomy.name,
        "measurement": anatomy.measurement,
        "shape": anatomy.shape,
        "plausible_mm": list(anatomy.plausible_mm),
    }


def summaries() -> CaseSummaries:
    """Summaries of the served folder."""
    app = served()
    if app.studies not in _summaries:
        _summaries.clear()
        _summaries[app.studies] = CaseSummaries(app.datastore().labels)
    return _summaries[app.studies]


@router.get("/worklist", summary="All cases: state of a label, best frame, lease")
def worklist(tag: Annotated[str, Query(max_length=200)] = "final", user: Any = USER) -> dict[str, Any]:
    """``state`` of the label ``tag``: not started, submitted, accepted, changes requested.

    ``best`` is null for a case that was not assessed yet.
    """
    app, known = served(), summaries()
    check_id("tag", tag)
    store, service = app.datastore(), service_in_use()
    leases = Leases(app.studies).active()
    rows = []
    for case, source in sorted(store.sources().items()):
        lease = leases.get(case)
        rows.append(
            {
                "id": case,
                **known.row(case, tag),
                "best": known.best(case, store.image_path(case), source, service),
                "lease": None if lease is None else {"rater": lease.rater, "until": round(lease.until)},
            }
        )
    return {
        "cases": rows,
        "counts": _counts(rows),
        "not_offered": store.not_offered(),
        "model": anatomy_in_use(),
    }


def _counts(rows: list[dict[str, Any]]) -> dict[str, int]:
    states = [row["state"] for row in rows]
    return {
        "cases": len(rows),
        "assessed": sum(row["best"] is not None for row in rows),
        "frames": sum(row["annotated"] + row["empty"] for row in rows),
        **{state: states.count(state) for state in ("not started", "submitted", "accepted", "changes requested")},
    }


@router.get("/thumbnail", summary="A small picture of the best frame with its outline", response_class=Response)
def thumbnail(image: str, request: Request, user: Any = USER) -> Response:
    """JPEG; of a case that was not assessed yet, a frame from its middle."""
    path = served().datastore().image_path(image)
    with as_refusal():
        service = service_in_use()
        result = None if service is None else _assessed(service, path)
        best = None if result is None else result.assessment["best"]
        fingerprint = "" if service is None or result is None else service.fingerprint
        key = hashlib.sha256(f"{image}\n{file_version(path)}\n{fingerprint}\n{best}".encode()).hexdigest()[:32]
        etag = f'"{key}"'
        headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers=headers)
        picture = _thumbnails.get(key)
        if picture is None:
            picture = _thumbnails[key] = _picture(path, best, result)
            while len(_thumbnails) > KEPT:
                _thumbnails.popitem(last=False)
    return Response(picture, media_type="image/jpeg", headers=headers)


def _assessed(service: AssessmentService, path: Any) -> AssessmentResult | None:
    try:
        return service.cached(path)
    except (FetalIQAError, OSError):
        return None


def _picture(path: Any, best: int | None, result: AssessmentResult | None) -> bytes:
    number = open_image(path).pixels.shape[0] // 3 if best is None else best
    held = decoded_sweeps.held(path)
    if held is not None:
        frame = held.frame(number)
    else:
        with _decoding:
            frame = single_frame(path, number)
    mask = None
    if best is not None and result is not None:
        mask = next(mask for index, mask in enumerate(result.mask_frames()) if index == best)
    scale = WIDTH / frame.shape[1]
    size = (WIDTH, max(1, round(frame.shape[0] * scale)))
    small = cv2.resize(np.ascontiguousarray(frame), size, interpolation=cv2.INTER_AREA)
    outline = None if mask is None else cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)
    return jpeg(frame_picture(small, outline), 85)
