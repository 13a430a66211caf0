"""What the endpoints share: the app, bodies of JSON, and who may call."""

from __future__ import annotations

import json
from typing import Any

from fastapi import Depends
from monailabel.config import settings
from monailabel.endpoints.user.auth import RBAC
from monailabel.interfaces.utils.app import app_instance

from monailabel_app.lib.refusal import Refused

# MONAI Label's roles; they bind only when MONAI_LABEL_AUTH_ENABLE is set
USER = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_USER))
ANNOTATOR = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR))
ADMIN = Depends(RBAC(settings.MONAI_LABEL_AUTH_ROLE_ADMIN))


def served() -> Any:
    """The FetalIQAApp of this process."""
    return app_instance()


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def json_object(field: str, text: str | None) -> dict[str, Any]:
    """Parse a form field that holds a JSON object.

    Raises:
        Refused: 400 when it does not.
    """
    try:
        value = json.loads(text or "{}", parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"form field {field} is not JSON: {error}") from None
    if not isinstance(value, dict):
        raise Refused(400, f"form field {field} must be a JSON object like {{}}, not {type(value).__name__}")
    return value
