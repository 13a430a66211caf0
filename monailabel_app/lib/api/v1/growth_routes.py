"""``/fetaliqa/v1``: the gestational age that somebody gave for a case, and growth figures of a measurement."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query

from fetaliqa.labels.given_ages import GIVEN, GivenAge, GivenAges
from fetaliqa.measure.case_growth import case_growth
from fetaliqa.measure.fetal_growth import GestationalAge
from monailabel_app.lib.access.identity import Identity
from monailabel_app.lib.api.dependencies import ANNOTATOR, MAX_COUNT, USER, served
from monailabel_app.lib.api.v1 import PREFIX
from monailabel_app.lib.http.json_input import JsonObject, takes_json
from monailabel_app.lib.http.refusal import Refused, as_refusal

router = APIRouter(prefix=PREFIX, tags=["FetalIQA"])

MAX_NAME = 200  # characters, as of a rater in a frame record
BODY = takes_json({"days": {"type": "integer", "nullable": True}, "rater": {"type": "string"}}, required=("days",))


def _ages() -> GivenAges:
    return GivenAges(Path(served().studies))


def _answer(given: GivenAge | None) -> dict[str, Any]:
    return {"days": None, "user": None, "time": None} if given is None else asdict(given)


@router.get("/case/age", summary="The gestational age that was given for a case")
def age(image: str, user: Any = USER) -> dict[str, Any]:
    """``days`` is null where nobody gave one."""
    served().datastore().image_path(image)
    with as_refusal():
        return _answer(_ages().get(image))


@router.put("/case/age", summary="Give the gestational age of a case", openapi_extra=BODY)
def give_age(image: str, body: JsonObject, user: Identity = ANNOTATOR) -> dict[str, Any]:
    """``{"days": 171}``, by dates or an earlier scan; null: it is not known. ``rater`` is who says so, where the
    server has no login.
    """
    app = served()
    app.datastore().image_path(image)
    app.datastore().index.check_not_read_only()
    days = body.get("days")
    if "days" not in body or isinstance(days, bool) or not isinstance(days, int | None):
        raise Refused(400, "days must be a whole number, or null")
    rater = user.username if user.signed_in else body.get("rater", "")
    if not isinstance(rater, str) or len(rater) > MAX_NAME:
        raise Refused(400, f"rater must be text of at most {MAX_NAME} characters")
    user.note(image=image)
    with as_refusal():
        return _answer(_ages().give(image, days, rater))


@router.get("/growth", summary="Age, centile and weight of a circumference")
def growth(
    measurement: Literal["AC", "HC", "FL"],
    mm: Annotated[float, Query(gt=0, le=10_000)],
    days: Annotated[int | None, Query(ge=0, le=MAX_COUNT)] = None,
    user: Any = USER,
) -> dict[str, Any]:
    """``growth`` of docs/assessment.md, each value with its formula; a centile only with a given age, in ``days``.
    Not for clinical use.
    """
    with as_refusal():
        given = None if days is None else GestationalAge(days, GIVEN)
        return case_growth({"name": measurement, "mm": mm}, given) or {}
