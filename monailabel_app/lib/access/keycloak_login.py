"""MONAI Label's login by Keycloak (``MONAI_LABEL_AUTH_ENABLE``), in front of all endpoints.

Settings and roles are MONAI Label's. Its own check of a token names no algorithm, which PyJWT 2 refuses: no token
would be accepted. Tokens are checked here.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import jwt
import requests
from monailabel.config import settings
from monailabel.endpoints.user.auth import get_public_key
from starlette.datastructures import Headers

from monailabel_app.lib.access.audit_log import AuditLog
from monailabel_app.lib.access.identity import Identity, monailabel_roles
from monailabel_app.lib.access.login_service import BEARER, bearer_token
from monailabel_app.lib.access.role_names import ANYONE, rank
from monailabel_app.lib.http.refusal import Refused

logger = logging.getLogger(__name__)

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512")  # Keycloak's


class KeycloakLogin:
    """Tokens that Keycloak signed; roles by the names of ``MONAI_LABEL_AUTH_ROLE_*``.

    Args:
        studies: folder of the audit log.
    """

    required = True

    def __init__(self, studies: Path) -> None:
        self.audit: AuditLog | None = AuditLog(studies)

    def identify(self, headers: Headers) -> Identity | None:
        """Who sends a request; None without a token.

        Raises:
            Refused: 401 for a token that is not valid, 503 when Keycloak does not give its key.
        """
        token = bearer_token(headers)
        if not token:
            return None
        try:
            key = get_public_key(settings.MONAI_LABEL_AUTH_REALM_URI)
        except (requests.RequestException, KeyError, ValueError) as problem:
            logger.error("Keycloak does not give its key: %s", problem)
            raise Refused(
                503, "the login server (MONAI_LABEL_AUTH_REALM_URI) does not respond; try again later"
            ) from None
        try:
            claims = jwt.decode(token, key, algorithms=list(ALGORITHMS), options={"verify_aud": False})
        except (jwt.InvalidTokenError, jwt.InvalidKeyError) as problem:
            logger.info("a token is refused: %s", problem)
            raise Refused(401, "the token is not valid or has expired; sign in again", BEARER) from None
        name = claims.get(settings.MONAI_LABEL_AUTH_TOKEN_USERNAME)
        if not isinstance(name, str) or not name:
            raise Refused(401, f"the token has no {settings.MONAI_LABEL_AUTH_TOKEN_USERNAME}", BEARER)
        return Identity(name, _role(claims))


def _role(claims: dict[str, Any]) -> str:
    """The highest role in a token, of those at ``MONAI_LABEL_AUTH_TOKEN_ROLES`` (``realm_access#roles``)."""
    value: Any = claims
    for key in settings.MONAI_LABEL_AUTH_TOKEN_ROLES.split("#"):
        value = value.get(key) if isinstance(value, dict) else None
    names = monailabel_roles()
    given = value if isinstance(value, list) else []
    return max(
        (names[role] for role in given if isinstance(role, str) and role in names), key=rank, default=ANYONE
    )
