"""``/models``: versions of a model, the one in use, publication and rollback."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from fetaliqa.model.bundle_names import valid_name
from fetaliqa.model.user_folders import models_folder
from fetaliqa.registry.model_store import current_version, published_versions
from fetaliqa.registry.publishing import candidates, history, publish, report_of, rollback
from fetaliqa.registry.refused_candidates import Override, checked_reason
from monailabel_app.lib.api.dependencies import ADMIN, USER, served
from monailabel_app.lib.http.json_input import JsonObject, takes_json
from monailabel_app.lib.http.path_redaction import without_folders
from monailabel_app.lib.http.refusal import Refused, as_refusal
from monailabel_app.lib.startup.conf import SEG_MODEL
from monailabel_app.lib.tasks.inference_task import SweepTask, known_task

router = APIRouter(prefix="/models", tags=["Models"])

BODY = takes_json(
    {
        "version": {"type": ["string", "integer"]},
        "force": {"type": "boolean", "description": "publish a candidate that the gate refused"},
        "reason": {"type": "string", "description": "why, for the history; force needs one"},
    },
    required=("version",),
)


@router.get("/", summary="Versions of a model, and the one in use")
def list_versions(model: str = SEG_MODEL, user: Any = USER) -> dict[str, Any]:
    """``current`` is the published version, ``served`` the one in use, which ``--conf bundle`` may fix."""
    task = known_task(served()._infers, model)
    with as_refusal():
        states = [(version, True) for version in published_versions(model)]
        states += [(version, False) for version in candidates(model)]
        versions = [
            {"version": version, "published": published, **_judged(report_of(model, version))}
            for version, published in states
        ]
        return {
            "name": model,
            "current": current_version(model),
            **_served(task),
            "versions": versions,
        }


def _judged(report: dict[str, Any]) -> dict[str, Any]:
    """Result of a version's evaluation by the gate; ``refused`` is None where there was none."""
    gate = report.get("gate")
    passed = gate.get("passed") if isinstance(gate, dict) else None
    return {"sentence": report.get("sentence"), "refused": None if passed is None else not passed}


def _served(task: SweepTask) -> dict[str, Any]:
    """The model in use, loaded, and whether it follows publications."""
    return {"served": task.serving.current().model_info(), "follows": task.follows}


@router.get("/history", summary="Candidates, publications and rollbacks, oldest first")
def get_history(model: str = SEG_MODEL, user: Any = USER) -> list[dict[str, Any]]:
    """Each with time, version, the version it replaced, figures and reason; empty when there is none."""
    known_task(served()._infers, model)
    if not (models_folder() / model).is_dir():
        return []
    with as_refusal():
        return without_folders(history(model))


@router.post("/publish", summary="Use a candidate, or an earlier version, from now on", openapi_extra=BODY)
def publish_version(params: JsonObject, model: str = SEG_MODEL, user: Any = ADMIN) -> dict[str, Any]:
    """The next inference uses it, unless ``--conf bundle`` is set. 409 for a candidate that the gate refused.

    With ``force`` and a ``reason`` such a candidate is published nevertheless, which the history records.
    """
    task = known_task(served()._infers, model)
    version = params.get("version")
    name = str(version)
    if isinstance(version, bool) or not isinstance(version, str | int) or not valid_name(name):
        raise Refused(400, f"version {name[:80]!r} is not valid; GET /models/ lists them")
    force, reason = params.get("force", False), params.get("reason", "")
    if not isinstance(force, bool):
        raise Refused(400, f"force is {str(force)[:80]!r}; it must be true or false")
    if not isinstance(reason, str):
        raise Refused(400, f"reason is {str(reason)[:80]!r}; it must be text")
    with as_refusal():
        reason = checked_reason(reason)
        note = f"published by {user.username}" + (f": {reason}" if reason else "")
        override = Override(user.username, reason) if force else None
        changed = publish(model, name, reason=note, override=override)
    return {"name": model, "version": name, "changed": changed, **_served(task)}


@router.post("/rollback", summary="Roll back to the version in use before the current one")
def roll_back(model: str = SEG_MODEL, user: Any = ADMIN) -> dict[str, Any]:
    """409 when nothing is published. ``version`` null: the default model is served again."""
    task = known_task(served()._infers, model)
    if current_version(model) is None:
        raise Refused(409, f"no version of {model} is published, so there is nothing to roll back")
    with as_refusal():
        version = rollback(model)
    return {"name": model, "version": version, "changed": True, **_served(task)}
