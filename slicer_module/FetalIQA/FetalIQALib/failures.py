"""What can go wrong, as sentences for the status line: what, which value, what to do."""

from __future__ import annotations


class Failure(Exception):
    """Something the user is told in one sentence; what was there before still stands."""


class NotPossible(Failure):
    """An action that makes no sense now, such as accepting a proposal that is not there."""


class FileFailure(Failure):
    """A file that cannot be read or written."""


class ServerFailure(Failure):
    """A request that brought no usable answer."""


class Unreachable(ServerFailure):
    """No server answers at the address."""


class TooSlow(ServerFailure):
    """The server did not answer in time."""


class Canceled(ServerFailure):
    """The user gave the request up."""


class BadReply(ServerFailure):
    """The server answered with something that is not what the call promises."""


class Refused(ServerFailure):
    """The server said no.

    Attributes:
        status: HTTP status.
    """

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class NeedsLogin(Refused):
    """The server wants a token (401), or another one (403)."""


class NotThere(Refused):
    """There is no such case, label or call on this server (404)."""


class Conflict(Refused):
    """Somebody else saved this label meanwhile (409)."""
