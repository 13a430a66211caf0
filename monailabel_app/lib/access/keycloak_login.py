"""MONAI Label's login by Keycloak (``MONAI_LABEL_AUTH_ENABLE``): its tokens, in front of all endpoints."""

from __future__ import annotations

import logging
from pathlib import Path

import requests
from jwt import InvalidTokenError
from monailabel.endpoints.user.auth import from_token
from starlette.datastructures import Headers

from monailabel_app.lib.access.audit_log import AuditLog
from monailabel_app.lib.access.identity import Identity, monailabel_roles
from monailabel_app.lib.access.login_service import BEARER, bearer_token
from monailabel_app.lib.access.role_names import ANYONE, rank
from monailabel_app.lib.http.refusal import Refused

logger = logging.getLogger(__name__)


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
            Refused: 401 for a token that is not valid, 503 when Keycloak cannot be asked for its key.
        """
        token = bearer_token(headers)
        if not token:
            return None
        try:
            user = from_token(token)
        except InvalidTokenError as problem:
            logger.info("a token is refused: %s", problem)
            raise Refused(401, "the token is not valid or has expired; sign in again", BEARER) from None
        except (requests.RequestException, KeyError, ValueError) as problem:
            logger.error("Keycloak does not respond as expected: %s", problem)
            raise Refused(
                503, "the login server (MONAI_LABEL_AUTH_REALM_URI) does not respond; try again later"
            ) from None
        names = monailabel_roles()
        role = max((names[role] for role in user.roles if role in names), key=rank, default=ANYONE)
        return Identity(str(user.username or ""), role)
