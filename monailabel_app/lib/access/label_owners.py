"""Labels belong to who is signed in: the name of the rater, and the tags that are other people's."""

from __future__ import annotations

from monailabel_app.lib.access.identity import sender
from monailabel_app.lib.access.login_service import OwnLogin, current_login
from monailabel_app.lib.http.refusal import Refused, as_refusal


def signed_in_name() -> str | None:
    """The name of who sends this request; None where nobody has to be signed in, and outside of requests."""
    identity = sender.get()
    return identity.username if identity is not None and identity.signed_in else None


def check_owner(tag: str, unless: str | None = None) -> None:
    """Refuse to save a label under the name of another user.

    Args:
        tag: of the label.
        unless: role that may, nevertheless.

    Raises:
        Refused: 403.
    """
    identity, login = sender.get(), current_login()
    if identity is None or not identity.signed_in or not isinstance(login, OwnLogin):
        return
    if unless is not None and identity.may(unless):
        return
    with as_refusal():
        owner = login.accounts.find(tag)
    if owner is not None and owner.name != identity.username:
        raise Refused(403, f"label {tag} is of {owner.name}; save yours as 'final', or under {identity.username}")
