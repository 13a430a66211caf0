"""Sessions of signed-in people, in ``access/sessions.json``: they survive a restart of the server.

Only a session's SHA-256 is stored. A session ends when it was not used for two hours, after twelve hours, with a
sign-out, and when the user's password changes or the user is removed.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from fetaliqa.errors import FetalIQAError
from monailabel_app.lib.access.access_folder import AccessError, PrivateFile, access_folder, locked
from monailabel_app.lib.access.passwords import digest, new_secret
from monailabel_app.lib.access.user_accounts import Account

logger = logging.getLogger(__name__)

FILE = "sessions.json"
SESSION_PREFIX = "fiqs_"
IDLE_SECONDS = 2 * 3600.0  # without a request
LONGEST_SECONDS = 12 * 3600.0  # a working day
NOTED_SECONDS = 60.0  # between two notes on the disk that a session is used
MAX_OF_USER = 20  # the least recently used one ends


@dataclass(frozen=True)
class LoginSession:
    """A session; times in seconds since 1970.

    Attributes:
        user, epoch: of the account, see ``Account``.
        started, used: when.
    """

    user: str
    epoch: str
    started: float
    used: float

    def valid(self, now: float) -> bool:
        """Whether it has not ended; also false for times in the future, after the clock was set back by hours."""
        return (
            -NOTED_SECONDS <= now - self.used < IDLE_SECONDS
            and -NOTED_SECONDS <= now - self.started < LONGEST_SECONDS
        )


class LoginSessions:
    """The sessions of a studies folder.

    Args:
        studies: the folder.
        clock: time in seconds since 1970.
    """

    def __init__(self, studies: Path, clock: Callable[[], float] = time.time) -> None:
        self._folder = access_folder(studies)
        self._file = PrivateFile(self._folder, FILE)
        self._clock = clock
        self._guard = threading.Lock()
        self._sessions: dict[str, LoginSession] = {}
        self._noted: dict[str, float] = {}

    def start(self, account: Account) -> str:
        """Start a session; returns its secret."""
        secret, now = new_secret(SESSION_PREFIX), self._clock()

        def added(sessions: dict[str, LoginSession]) -> None:
            own = [key for key, one in sessions.items() if one.user == account.name]
            for key in sorted(own, key=lambda one: sessions[one].used)[: max(0, len(own) + 1 - MAX_OF_USER)]:
                del sessions[key]
            sessions[digest(secret)] = LoginSession(account.name, account.epoch, now, now)

        self._change(added)
        return secret

    def find(self, secret: str) -> LoginSession | None:
        """The session of a secret, which is noted as used; None when there is none, or it has ended."""
        key, now = digest(secret), self._clock()
        with self._guard:
            self._follow()
            session = self._sessions.get(key)
            if session is None or not session.valid(now):
                return None
            session = self._sessions[key] = replace(session, used=max(now, session.used))
            note = now - self._noted.get(key, 0.0) >= NOTED_SECONDS
            if note:
                self._noted[key] = now
        if note:
            self._change(lambda sessions: None)
        return session

    def end(self, secret: str) -> LoginSession | None:
        """End a session; returns it if there was one."""
        ended: list[LoginSession] = []

        def removed(sessions: dict[str, LoginSession]) -> None:
            session = sessions.pop(digest(secret), None)
            if session is not None:
                ended.append(session)

        self._change(removed)
        return ended[0] if ended else None

    def _follow(self) -> None:
        """Take over what another process wrote."""
        if not self._file.changed():
            return
        try:
            read = _parse(self._file.read())
        except AccessError as problem:
            logger.error("everybody has to sign in again: %s", problem)
            self._file.path.unlink(missing_ok=True)
            read = {}
        for key, session in read.items():  # uses that are not on the disk yet
            own = self._sessions.get(key)
            if own is not None and own.started == session.started and own.used > session.used:
                read[key] = own
        self._sessions = read

    def _change(self, change: Callable[[dict[str, LoginSession]], None]) -> None:
        """Change the sessions here and on the disk; a full disk keeps nobody from working."""
        with self._guard:
            try:
                with locked(self._folder):
                    self._follow()
                    self._apply(change)
                    self._file.write({"sessions": {key: asdict(one) for key, one in self._sessions.items()}})
            except FetalIQAError as problem:
                logger.error("sessions are not written, and end with this server: %s", problem)
                self._apply(change)

    def _apply(self, change: Callable[[dict[str, LoginSession]], None]) -> None:
        now = self._clock()
        self._sessions = {key: one for key, one in self._sessions.items() if one.valid(now)}
        change(self._sessions)
        self._noted = {key: noted for key, noted in self._noted.items() if key in self._sessions}


def _parse(value: dict[str, Any]) -> dict[str, LoginSession]:
    sessions = {}
    for key, one in dict(value.get("sessions") or {}).items():
        try:
            sessions[str(key)] = LoginSession(
                str(one["user"]), str(one["epoch"]), float(one["started"]), float(one["used"])
            )
        except (TypeError, KeyError, ValueError):
            logger.error("%s: an entry is not as it was written, and is left out", FILE)
    return sessions
