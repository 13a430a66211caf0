"""Errors with a message for the user: what failed, which value, what to do."""

from __future__ import annotations

from FetalIQALib.translation import translated


class FetalIQAError(Exception):
    """An error with a message for the user; the state before the failed action is kept."""

    def __str__(self) -> str:
        return translated(self.args[0]) if self.args else ""


class InvalidAction(FetalIQAError):
    """An action that is not possible now, such as accepting a missing proposal."""


class FileError(FetalIQAError):
    """A file that cannot be read or written."""


class RequestError(FetalIQAError):
    """A request without a usable response."""


class ServerUnreachable(RequestError):
    """No server responds at the address."""


class RequestTimeout(RequestError):
    """The server did not respond in time."""


class RequestCanceled(RequestError):
    """The user canceled the request."""


class InvalidResponse(RequestError):
    """The response does not have the expected format."""


class RequestRefused(RequestError):
    """The server refused the request.

    Attributes:
        status: HTTP status.
    """

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class AuthenticationRequired(RequestRefused):
    """The server requires a token (401), or the token lacks permission (403)."""


class NotFound(RequestRefused):
    """No such case, label or endpoint on this server (404)."""


class VersionConflict(RequestRefused):
    """Another version of the label was saved in the meantime (409)."""
