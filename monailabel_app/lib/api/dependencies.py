"""Dependencies of the endpoints: the app, and roles."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Query
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC
from monailabel.interfaces.utils.app import app_instance

# MONAI Label's roles; checked only when MONAI_LABEL_AUTH_ENABLE is set
USER = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
ANNOTATOR = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR))
ADMIN = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ADMIN))

MAX_COUNT = 2**31 - 1  # of numbers in a query; larger ones would overflow
Version = Annotated[int, Query(ge=0, le=MAX_COUNT)]


def served() -> Any:
    """The FetalIQAApp of this process."""
    return app_instance()
