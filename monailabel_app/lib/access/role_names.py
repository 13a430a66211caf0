"""Names of the roles, in the order of what they may do."""

from __future__ import annotations

ANYONE = "anyone"  # also who is not signed in
USER, ANNOTATOR, REVIEWER, ADMIN = "user", "annotator", "reviewer", "admin"
ROLES = (USER, ANNOTATOR, REVIEWER, ADMIN)  # each may do what those before it may do


def rank(role: str) -> int:
    """Place of a role; 0 for anyone, and for a text that is no role."""
    return ROLES.index(role) + 1 if role in ROLES else 0
