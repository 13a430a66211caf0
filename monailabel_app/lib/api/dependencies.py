"""Dependencies of the endpoints: the app, and roles."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Query
from monailabel.interfaces.utils.app import app_instance

from monailabel_app.lib.access import role_names
from monailabel_app.lib.access.identity import RequiredRole

# the least role of an endpoint; who sends the request is its parameter ``user`` (an ``Identity``)
ANYONE = Depends(RequiredRole(role_names.ANYONE))
USER = Depends(RequiredRole(role_names.USER))
ANNOTATOR = Depends(RequiredRole(role_names.ANNOTATOR))
REVIEWER = Depends(RequiredRole(role_names.REVIEWER))
ADMIN = Depends(RequiredRole(role_names.ADMIN))

MAX_COUNT = 2**31 - 1  # of numbers in a query; larger ones would overflow
Version = Annotated[int, Query(ge=0, le=MAX_COUNT)]


def served() -> Any:
    """The FetalIQAApp of this process."""
    return app_instance()
