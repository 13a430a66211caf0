"""Lease of the case that the server reserves for a rater; released in the background."""

from __future__ import annotations

import threading
from contextlib import suppress

from FetalIQALib.client_errors import FetalIQAError
from FetalIQALib.http_client import Cancel
from FetalIQALib.server_client import ServerClient

WAIT_SECONDS = 5.0  # that a request for the next case waits for the release of the previous one


class CaseLease:
    """The lease of at most one case, as on the server.

    Attributes:
        case: the leased case; empty for none.
    """

    def __init__(self) -> None:
        self.case = ""
        self._client: ServerClient | None = None
        self._rater = ""
        self._release_thread: threading.Thread | None = None

    def set(self, case: str, client: ServerClient, rater: str) -> None:
        """Record the lease of a case; it replaces the previous one on the server."""
        self.case, self._client, self._rater = case, client, rater

    def release(self, now: str = "") -> None:
        """Release the leased case in a thread, unless it is the case ``now``.

        Best effort: the server ends leases when they expire.
        """
        client, rater = self._client, self._rater
        if client is None or self.case in ("", now):
            return
        self.case, self._client = "", None

        def release_lease() -> None:
            with suppress(FetalIQAError):
                client.release_lease(rater, Cancel())

        self._release_thread = threading.Thread(target=release_lease, name="FetalIQA lease", daemon=True)
        self._release_thread.start()

    @property
    def releasing(self) -> bool:
        """Whether a release is running."""
        return self._release_thread is not None and self._release_thread.is_alive()

    def wait_released(self, seconds: float = WAIT_SECONDS) -> None:
        """Wait for a running release: it must not end the lease of the next case."""
        if self._release_thread is not None:
            self._release_thread.join(seconds)
