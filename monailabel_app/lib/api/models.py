"""``/models``: which versions there are, what is in use, publishing and going back."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from fetaliqa.model.bundle_names import valid_name
from fetaliqa.model.user_folders import models_folder
from fetaliqa.registry.model_store import current_version, published_versions
from fetaliqa.registry.publishing import candidates, history, publish, report_of, rollback
from fetaliqa.registry.refused_candidates import Override, checked_reason
from monailabel_app.lib.api.common import ADMIN, USER, served
from monailabel_app.lib.conf import SEG_MODEL
from monailabel_app.lib.infers import SweepTask, known_task
from monailabel_app.lib.json_input import JsonObject, takes_json
from monailabel_app.lib.refusal import Refused, as_refusal
from monailabel_app.lib.shown_paths import without_folders

router = APIRouter(prefix="/models", tags=["Models"])

BODY = takes_json(
    {
        "version": {"type": ["string", "integer"]},
        "force": {"type": "boolean", "description": "publish a candidate that the gate refused"},
        "reason": {"type": "string", "description": "why, for the history; force needs one"},
    },
    required=("version",),
)


@router.get("/", summary="Versions of a model, and which one is served")
def list_versions(model: str = SEG_MODEL, user: Any = USER) -> dict[str, Any]:
    """``current`` is what is published, ``served`` what answers: another where the server was told a bundle."""
    task = known_task(served()._infers, model)
    with as_refusal():
        kept = [(version, True) for version in published_versions(model)]
        kept += [(version, False) for version in candidates(model)]
        versions = [
            {"version": version, "published": published, **_judged(report_of(model, version))}
            for version, published in kept
        ]
        return {
            "name": model,
            "current": current_version(model),
            **_served(task),
            "versions": versions,
        }


def _judged(report: dict[str, Any]) -> dict[str, Any]:
    """What came of a version's comparison; ``refused`` is None where there was none."""
    gate = report.get("gate")
    passed = gate.get("passed") if isinstance(gate, dict) else None
    return {"sentence": report.get("sentence"), "refused": None if passed is None else not passed}


def _served(task: SweepTask) -> dict[str, Any]:
    """What answers the next request, loaded by now, and whether that follows what is published."""
    return {"served": task.serving.current().model_info(), "follows": task.follows}


@router.get("/history", summary="Candidates, publications and returns, oldest first")
def get_history(model: str = SEG_MODEL, user: Any = USER) -> list[dict[str, Any]]:
    """Each with time, version, the version it replaced, figures and reason; empty when nothing was ever made."""
    known_task(served()._infers, model)
    if not (models_folder() / model).is_dir():
        return []
    with as_refusal():
        return without_folders(history(model))


@router.post("/publish", summary="Use a candidate, or an earlier version, from now on", openapi_extra=BODY)
def publish_version(params: JsonObject, model: str = SEG_MODEL, user: Any = ADMIN) -> dict[str, Any]:
    """The next inference uses it, unless the server was told a bundle. 409 for a candidate that the gate refused.

    With ``force`` and a ``reason`` such a candidate is published all the same; the history says by whom and why.
    """
    task = known_task(served()._infers, model)
    version = params.get("version")
    wanted = str(version)
    if isinstance(version, bool) or not isinstance(version, str | int) or not valid_name(wanted):
        raise Refused(400, f"version {wanted[:80]!r} cannot be one; GET /models/ lists them")
    force, reason = params.get("force", False), params.get("reason", "")
    if not isinstance(force, bool):
        raise Refused(400, f"force is {str(force)[:80]!r}; it must be true or false")
    if not isinstance(reason, str):
        raise Refused(400, f"reason is {str(reason)[:80]!r}; it must be text")
    with as_refusal():
        reason = checked_reason(reason)
        told = f"published by {user.username}" + (f": {reason}" if reason else "")
        override = Override(user.username, reason) if force else None
        changed = publish(model, wanted, reason=told, override=override)
    return {"name": model, "version": wanted, "changed": changed, **_served(task)}


@router.post("/rollback", summary="Go back to what was in use before the current version")
def roll_back(model: str = SEG_MODEL, user: Any = ADMIN) -> dict[str, Any]:
    """409 when nothing is published. ``version`` null: the default model is served again."""
    task = known_task(served()._infers, model)
    if current_version(model) is None:
        raise Refused(409, f"no version of {model} is published, so there is nothing to go back from")
    with as_refusal():
        version = rollback(model)
    return {"name": model, "version": version, "changed": True, **_served(task)}
