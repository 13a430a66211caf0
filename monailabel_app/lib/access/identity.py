"""The identity of who sends a request, and the dependency of endpoints that checks its role."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from monailabel.config import settings
from monailabel.endpoints.user.auth import DEFAULT_USER

from monailabel_app.lib.access.role_names import ADMIN, ANNOTATOR, ANYONE, REVIEWER, USER, rank
from monailabel_app.lib.http.refusal import Refused

IDENTITY = "fetaliqa.identity"  # in the scope of a request
# who sends the request that this task or thread works on, for what lies below the endpoints
sender: ContextVar[Identity | None] = ContextVar("sender", default=None)


def monailabel_roles() -> dict[str, str]:
    """Roles by the names that MONAI Label gives them (``MONAI_LABEL_AUTH_ROLE_*``)."""
    return {
        settings.MONAI_LABEL_AUTH_ROLE_USER: USER,
        settings.MONAI_LABEL_AUTH_ROLE_ANNOTATOR: ANNOTATOR,
        settings.MONAI_LABEL_AUTH_ROLE_REVIEWER: REVIEWER,
        settings.MONAI_LABEL_AUTH_ROLE_ADMIN: ADMIN,
    }


@dataclass(frozen=True)
class Identity:
    """Who sends a request.

    Attributes:
        username: name; recorded as the rater of what is saved.
        role: one of ``ROLES``, or ``ANYONE``.
        signed_in: whether name and role were checked.
        details: of this request, for the audit log.
    """

    username: str
    role: str
    signed_in: bool = True
    details: dict[str, Any] = field(default_factory=dict, compare=False)

    def may(self, role: str) -> bool:
        """Whether this role includes another."""
        return rank(self.role) >= rank(role)

    @property
    def roles(self) -> list[str]:
        """Its roles by MONAI Label's names: the role, and those that it includes."""
        return [name for name, role in monailabel_roles().items() if self.may(role)]

    def model_dump(self) -> dict[str, Any]:
        """As MONAI Label's user."""
        return {"username": self.username, "email": None, "name": None, "roles": self.roles}

    def note(self, **details: Any) -> None:
        """Add details to the entry of this request in the audit log."""
        self.details.update(details)


def nobody() -> Identity:
    """Who is not signed in, on a server that requires it."""
    return Identity("", ANYONE, signed_in=False)


def local_user() -> Identity:
    """Everybody, on a server without a login; the name is MONAI Label's."""
    return Identity(DEFAULT_USER.username, ADMIN, signed_in=False)


class RequiredRole:
    """FastAPI dependency: the identity of who sends the request, if the role suffices.

    ``AccessGate`` has checked it before the request's body was read; this is the declaration that it reads.

    Args:
        role: least role.
    """

    def __init__(self, role: str) -> None:
        self.role = role

    async def __call__(self, request: Request) -> Identity:
        """Return the identity.

        Raises:
            Refused: 403.
        """
        identity = request.scope.get(IDENTITY)
        if not isinstance(identity, Identity) or not identity.may(self.role):
            raise Refused(403, refusal(self.role, identity))
        return identity


def refusal(role: str, identity: Identity | None) -> str:
    """Sentence of a refusal for lack of a role."""
    who = (
        f"{identity.username} has the role {identity.role}"
        if identity and identity.username
        else "nobody is signed in"
    )
    return f"this needs the role {role}, and {who}; an administrator can change it (fetaliqa users role)"
