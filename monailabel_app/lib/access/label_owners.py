"""Labels belong to who is signed in: the rater of what is saved, and the tags that are other people's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from monailabel_app.lib.access.identity import Identity
from monailabel_app.lib.access.login_service import OwnLogin, current_login
from monailabel_app.lib.datastore.label_attribution import attributed_info
from monailabel_app.lib.http.ids import check_id
from monailabel_app.lib.http.refusal import Refused, as_refusal


def signed_rater(user: Identity) -> str | None:
    """The name of who is signed in; None where nobody has to be."""
    return user.username if user.signed_in else None


def signed_info(user: Identity, info: Mapping[str, Any]) -> dict[str, Any]:
    """Information that a client sends along, with the name of who sends it."""
    return attributed_info(info, user.username) if user.signed_in else {**info, "user": user.username}


def check_tag(user: Identity, tag: str, unless: str | None = None) -> str:
    """A tag that this person may save labels under: not another person's name.

    Args:
        user: who saves.
        tag: of the label.
        unless: role that may, nevertheless.

    Raises:
        Refused: 400 for a text that is no tag, 403 for the tag of another person.
    """
    check_id("tag", tag)
    login = current_login()
    if not user.signed_in or not isinstance(login, OwnLogin) or (unless is not None and user.may(unless)):
        return tag
    with as_refusal():
        owner = login.accounts.find(tag)
    if owner is not None and owner.name != user.username:
        raise Refused(403, f"label {tag} is of {owner.name}; save yours as 'final', or under {user.username}")
    return tag
