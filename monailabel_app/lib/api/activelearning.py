"""``/activelearning``: the next case to label, with the frames worth labelling and why."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Body
from monailabel.endpoints.activelearning import sample

from monailabel_app.lib.api.common import USER, served
from monailabel_app.lib.ids import check_known
from monailabel_app.lib.refusal import Refused
from monailabel_app.lib.strategies import rater_of

router = APIRouter(prefix="/activelearning", tags=["ActiveLearning"])

NO_BODY = Body(default=None)
EXHAUSTED = (
    "nothing is left to label: every case has its frames labelled, is in another rater's hands, or was skipped"
)


@router.get("/", summary="How much is scored, labelled and in somebody's hands")
def counts(user: Any = USER) -> dict[str, int]:
    """Numbers of cases and frames."""
    return served().label_counts()


@router.delete("/lease", summary="Give a case back")
def release(user_name: str | None = None, user: Any = USER) -> dict[str, str]:
    """Free the case that a rater has, for others to be handed."""
    rater = rater_of({"user": _authenticated(user) or user_name})
    served().release_lease(rater)
    return {"released": rater}


@router.post("/{strategy}", summary="The next case to label, by a strategy")
def next_sample(strategy: str, params: Any = NO_BODY, user: Any = USER) -> dict[str, Any]:
    """A case and its frames worth labelling; ``exhausted`` with a sentence when nothing is left."""
    if params is not None and not isinstance(params, dict):
        raise Refused(400, f"the body must be a JSON object like {{}}, not {type(params).__name__}")
    asked = dict(params or {})
    for name in (strategy, asked.pop("strategy", strategy)):  # MONAI Label takes the body's
        strategy = check_known("strategy", str(name), served()._strategies)
    if name := _authenticated(user):
        asked["user"] = name
    found = sample(strategy, asked, rater_of(asked))
    return found if found else {"exhausted": True, "message": EXHAUSTED}


def _authenticated(user: Any) -> str | None:
    """The name a person has logged in with; None where nobody needs to."""
    from monailabel.config import settings

    return str(user.username) if settings.MONAI_LABEL_AUTH_ENABLE else None
