"""``/activelearning``: the next case to label, with the frames worth labelling and why."""

from __future__ import annotations

import logging
import re
import time
from typing import Any

from fastapi import APIRouter, Request

from monailabel_app.lib.api.common import USER, served
from monailabel_app.lib.ids import check_known
from monailabel_app.lib.json_input import JsonObject, takes_json
from monailabel_app.lib.refusal import Refused
from monailabel_app.lib.strategies import ANONYMOUS, rater_of

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
EXHAUSTED = (
    "nothing is left to label: every case has its frames labelled, is in another rater's hands, or was skipped"
)


@router.get("/", summary="How much is scored, labelled and in somebody's hands")
def counts(user: Any = USER) -> dict[str, int]:
    """Numbers of cases and frames."""
    return served().label_counts()


@router.delete("/lease", summary="Give a case back")
def release(request: Request, user_name: str | None = None, user: Any = USER) -> dict[str, str]:
    """Free the case that a rater has, for others to be handed."""
    rater = rater_of({"user": _authenticated(user) or user_name or _anonymous(request)})
    served().release_lease(rater)
    return {"released": rater}


@router.post("/{strategy}", summary="The next case to label, by a strategy", openapi_extra=BODY)
def next_sample(request: Request, params: JsonObject, strategy: str, user: Any = USER) -> dict[str, Any]:
    """A case and its frames worth labelling; ``exhausted`` with a sentence when nothing is left."""
    asked = dict(params)
    for name in (strategy, asked.pop("strategy", strategy)):  # MONAI Label takes the body's
        strategy = check_known("strategy", str(name), served()._strategies)
    if name := _authenticated(user):
        asked["user"] = name
    elif not asked.get("user") and not asked.get("client_id"):
        asked["client_id"] = _anonymous(request)
    found = served().next_sample({**asked, "strategy": strategy})
    if not found:
        return {"exhausted": True, "message": EXHAUSTED}
    # as MONAI Label's own endpoint, but what clients once told of an image does not stand in for the offer
    return {**_noted(found["id"], strategy, rater_of(asked)), **found}


def _noted(image_id: str, strategy: str, rater: str) -> dict[str, Any]:
    """What is known of an image, once it is noted who was handed it by which strategy."""
    store = served().datastore()
    info = store.get_image_info(image_id)
    before = info.get("strategy")
    handed = {strategy: {"ts": int(time.time()), "client_id": rater}}
    try:
        store.update_image_info(
            image_id, {"strategy": {**before, **handed} if isinstance(before, dict) else handed}
        )
    except (Refused, OSError) as problem:
        logger.warning("%s: who was handed it is not noted: %s", image_id, problem)
    return info


def _anonymous(request: Request) -> str:
    """A name for somebody who gave none: two machines are two raters, who are not handed the same case."""
    host = request.client.host if request.client else ""
    return "-".join([ANONYMOUS, *re.findall(r"[A-Za-z0-9.]+", host)])


def _authenticated(user: Any) -> str | None:
    """The name a person has logged in with; None where nobody needs to."""
    from monailabel.config import settings

    return str(user.username) if settings.MONAI_LABEL_AUTH_ENABLE else None
