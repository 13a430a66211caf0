"""``/datastore/worklist``: all cases with the state of one label, in one response."""

from __future__ import annotations

import logging
from typing import Any

from fastapi import APIRouter

from fetaliqa.errors import FetalIQAError
from fetaliqa.labels import LabelStore
from monailabel_app.lib.api.dependencies import USER, served
from monailabel_app.lib.http.ids import check_id

logger = logging.getLogger(__name__)
CLIENT_TEXTS = ("comment", "skipped")  # on the case, see docs/server.md
router = APIRouter(prefix="/datastore", tags=["Datastore"])


@router.get("/worklist", summary="All cases with the state of one label")
def get_worklist(tag: str = "final", user: Any = USER) -> dict[str, Any]:
    """Cases by id, each with its file suffix, the versions of its labels by tag, and the last version of label
    ``tag`` as in ``/datastore/label/history``, with ``comment`` and ``skipped`` of its client; null without one.
    """
    check_id("tag", tag)
    store = served().datastore()
    cases = [
        {
            "case": case,
            "ext": (entry.get("image") or {}).get("ext") or "",
            "labels": {
                name: (label.get("info") or {}).get("version") or 0
                for name, label in (entry.get("labels") or {}).items()
            },
        }
        for case, entry in sorted(store.json()["objects"].items())
    ]
    for case in cases:
        case["label"] = _last_version(store.labels, case["case"], tag) if tag in case["labels"] else None
    return {"tag": tag, "cases": cases}


def _last_version(labels: LabelStore, case: str, tag: str) -> dict[str, Any] | None:
    try:
        version = labels.current(case, tag)
    except FetalIQAError as problem:
        logger.error("%s", problem)
        return None
    if version is None:
        return None
    return {**version.summary(), **{name: version.info[name] for name in CLIENT_TEXTS if name in version.info}}
