"""The case that the server holds for a rater: given back when it is left, without anybody waiting for that."""

from __future__ import annotations

import threading
from contextlib import suppress

from FetalIQALib.client import Client
from FetalIQALib.failures import Failure
from FetalIQALib.http import Cancel

WAIT_SECONDS = 5.0  # of a request for the next case, for giving back the one before


class Lease:
    """At most one case, as on the server.

    Attributes:
        case: that is leased; empty for none.
    """

    def __init__(self) -> None:
        self.case = ""
        self._client: Client | None = None
        self._rater = ""
        self._giving_back: threading.Thread | None = None

    def taken(self, case: str, client: Client, rater: str) -> None:
        """The server leased a case; the lease on the one before ended by that."""
        self.case, self._client, self._rater = case, client, rater

    def left(self, now: str = "") -> None:
        """Another case, or none, is worked on now: give the leased one back, in a thread.

        Best effort: the server ends a lease by itself when its time is over.
        """
        client, rater = self._client, self._rater
        if client is None or self.case in ("", now):
            return
        self.case, self._client = "", None

        def give_back() -> None:
            with suppress(Failure):
                client.release_lease(rater, Cancel())

        self._giving_back = threading.Thread(target=give_back, name="FetalIQA lease", daemon=True)
        self._giving_back.start()

    def settle(self, seconds: float = WAIT_SECONDS) -> None:
        """Wait until a case is given back: what is asked for afterwards must not be given back with it."""
        if self._giving_back is not None:
            self._giving_back.join(seconds)
