"""``/activelearning``: the next case to label, and the suggested frames."""

from __future__ import annotations

import logging
import re
import time
from typing import Any

from fastapi import APIRouter, Request

from monailabel_app.lib.access.identity import Identity
from monailabel_app.lib.api.dependencies import ANNOTATOR, USER, served
from monailabel_app.lib.http.ids import check_known
from monailabel_app.lib.http.json_input import JsonObject, takes_json
from monailabel_app.lib.http.refusal import Refused
from monailabel_app.lib.tasks.active_learning import ANONYMOUS, rater_of

logger = logging.getLogger(__name__)
router = APIRouter(prefix="/activelearning", tags=["ActiveLearning"])

BODY = takes_json(
    {
        "user": {"type": "string"},
        "client_id": {"type": "string"},
        "frames": {"type": "integer", "minimum": 1},
        "per_sweep": {"type": "integer", "minimum": 1},
        "gap": {"type": "integer", "minimum": 0},
        "seed": {"type": "integer", "minimum": 0},
        "skip": {"type": "array", "items": {"type": "string"}},
        "lease_minutes": {"type": "number", "exclusiveMinimum": 0},
    }
)
EXHAUSTED = "nothing is left to label: every case is labelled, leased to another rater, or skipped"


@router.get("/", summary="Numbers of scored, labelled and leased cases")
def counts(user: Identity = USER) -> dict[str, int]:
    """Numbers of cases and frames."""
    return served().label_counts()


@router.delete("/lease", summary="End a lease")
def release(request: Request, user_name: str | None = None, user: Identity = ANNOTATOR) -> dict[str, str]:
    """End the lease of a rater's case."""
    rater = rater_of({"user": _authenticated(user) or user_name or _anonymous(request)})
    served().release_lease(rater)
    return {"released": rater}


@router.post("/{strategy}", summary="The next case to label, by a strategy", openapi_extra=BODY)
def next_sample(request: Request, params: JsonObject, strategy: str, user: Identity = ANNOTATOR) -> dict[str, Any]:
    """A case and its suggested frames; ``exhausted`` with a message when nothing is left."""
    request_options = dict(params)
    for name in (strategy, request_options.pop("strategy", strategy)):  # MONAI Label takes the body's
        strategy = check_known("strategy", str(name), served()._strategies)
    if name := _authenticated(user):
        request_options["user"] = name
    elif not request_options.get("user") and not request_options.get("client_id"):
        request_options["client_id"] = _anonymous(request)
    sample = served().next_sample({**request_options, "strategy": strategy})
    if not sample:
        return {"exhausted": True, "message": EXHAUSTED}
    # as in MONAI Label, but recorded image info does not override the sample
    return {**_note_strategy(sample["id"], strategy, rater_of(request_options)), **sample}


def _note_strategy(image_id: str, strategy: str, rater: str) -> dict[str, Any]:
    """Record which strategy gave an image to whom; returns what was recorded about the image before."""
    store = served().datastore()
    info = store.get_image_info(image_id)
    previous = info.get("strategy")
    entry = {strategy: {"ts": int(time.time()), "client_id": rater}}
    try:
        store.update_image_info(
            image_id, {"strategy": {**previous, **entry} if isinstance(previous, dict) else entry}
        )
    except (Refused, OSError) as problem:
        logger.warning("%s: its strategy cannot be recorded: %s", image_id, problem)
    return info


def _anonymous(request: Request) -> str:
    """A name for an anonymous rater, by address: two machines do not get the same case."""
    host = request.client.host if request.client else ""
    return "-".join([ANONYMOUS, *re.findall(r"[A-Za-z0-9.]+", host)])


def _authenticated(user: Identity) -> str | None:
    """The name of the logged-in user; None without authentication."""
    return user.username if user.signed_in else None
