"""Sign-in of the server: passwords, sessions and tokens, or the tokens of Keycloak; and who sends a request."""

from __future__ import annotations

import hashlib
import logging
import math
import threading
from pathlib import Path
from typing import Any, Protocol

from monailabel.config import settings
from starlette.datastructures import Headers
from starlette.requests import cookie_parser

from fetaliqa.errors import OptionError
from monailabel_app.lib.access.audit_log import AuditLog
from monailabel_app.lib.access.failed_sign_ins import FailedSignIns
from monailabel_app.lib.access.identity import Identity, local_user
from monailabel_app.lib.access.login_sessions import LONGEST_SECONDS, SESSION_PREFIX, LoginSessions
from monailabel_app.lib.access.login_setting import requires_login
from monailabel_app.lib.access.passwords import MAX_LENGTH, is_password
from monailabel_app.lib.access.user_accounts import MAX_NAME, TOKEN_PREFIX, Account, Accounts
from monailabel_app.lib.http.hosts import check_open
from monailabel_app.lib.http.refusal import Refused

logger = logging.getLogger(__name__)

COOKIE = "fetaliqa_session_"  # and an identity of the studies: cookies of a host are shared by its ports
BEARER = {"WWW-Authenticate": "Bearer"}
MAX_SECRET = 4096  # characters of a token
SIGNING_IN = 8  # people at once: each takes a thread, and all other requests need some


class Login(Protocol):
    """How a server knows who sends a request.

    Attributes:
        required: whether requests need it.
        audit: the audit log; None without a login.
    """

    required: bool
    audit: AuditLog | None

    def identify(self, headers: Headers) -> Identity | None:
        """Who sends a request; None when nobody is signed in.

        Raises:
            Refused: 401 for a token that is not valid.
        """
        ...


class NoLogin:
    """Everybody may do everything: a server that only this machine reaches, or ``--conf open true``."""

    required = False
    audit: AuditLog | None = None

    def identify(self, headers: Headers) -> Identity | None:
        return local_user()


class OwnLogin:
    """Accounts of the studies folder.

    Args:
        studies: the folder.
    """

    required = True

    def __init__(self, studies: Path) -> None:
        self.accounts = Accounts(studies)
        self.sessions = LoginSessions(studies)
        self.failures = FailedSignIns()
        self.audit: AuditLog | None = AuditLog(studies)
        self.cookie = COOKIE + hashlib.sha256(str(Path(studies).resolve()).encode()).hexdigest()[:8]
        self.cookie_seconds = int(LONGEST_SECONDS)
        self._turns = threading.BoundedSemaphore(SIGNING_IN)

    def sign_in(self, name: str, password: str, address: str) -> tuple[Account, str]:
        """Check a password, and start a session.

        Args:
            name, password: as they were typed.
            address: of the client.

        Returns:
            The account, and the session's secret.

        Raises:
            Refused: 401 when name or password is wrong, 429 after too many failures, 503 when many
                sign in at once.
        """
        if not self._turns.acquire(blocking=False):
            raise Refused(503, "many people are signing in at this moment; try again in 2 s", {"Retry-After": "2"})
        try:
            return self._sign_in(name, password, address)
        finally:
            self._turns.release()

    def _sign_in(self, name: str, password: str, address: str) -> tuple[Account, str]:
        wait, delays = self.failures.begin(name, address)
        if wait:
            seconds = math.ceil(wait)
            raise Refused(
                429, f"too many failed sign-ins; try again in {seconds} s", {"Retry-After": str(seconds)}
            )
        account = self.accounts.find(name) if len(name) <= MAX_NAME else None
        if len(password) > MAX_LENGTH or not is_password(password, None if account is None else account.password):
            # a name that is not known may be a password in the wrong field
            self._record("sign-in failed", account, address, known=account is not None, delayed=delays or None)
            raise Refused(
                401, "user name or password is wrong; an administrator of this server can set a new password"
            )
        assert account is not None
        self.failures.succeeded(name, address)
        secret = self.sessions.start(account)
        self._record("signed in", account, address, role=account.role)
        return account, secret

    def has_cookie(self, headers: Headers) -> bool:
        """Whether a request has a session's cookie."""
        return bool(self._cookie(headers))

    def sign_out(self, headers: Headers, address: str) -> None:
        """End the session of a request, if it has one."""
        secret = bearer_token(headers) or self._cookie(headers)
        if secret.startswith(SESSION_PREFIX):
            session = self.sessions.end(secret)
            if session is not None:
                self._record("signed out", self.accounts.find(session.user), address)

    def identify(self, headers: Headers) -> Identity | None:
        bearer = bearer_token(headers)
        account = self._account(bearer or self._cookie(headers))
        if account is not None:
            return Identity(account.name, account.role)
        if bearer:
            raise Refused(401, "the token is not valid, has expired or was revoked; ask for a new one", BEARER)
        return None

    def _account(self, secret: str) -> Account | None:
        if secret.startswith(TOKEN_PREFIX):
            return self.accounts.of_token(secret)
        if not secret.startswith(SESSION_PREFIX):
            return None
        session = self.sessions.find(secret)
        account = None if session is None else self.accounts.find(session.user)
        return account if session and account and account.epoch == session.epoch else None

    def _cookie(self, headers: Headers) -> str:
        for value in headers.getlist("cookie"):
            secret = cookie_parser(value).get(self.cookie)
            if secret:
                return secret[:MAX_SECRET]
        return ""

    def _record(self, action: str, account: Account | None, address: str, **details: Any) -> None:
        if self.audit is not None:
            self.audit.add(action, None if account is None else account.name, address, **details)


def bearer_token(headers: Headers) -> str:
    """The token of a request's header ``Authorization``; empty without one."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip()[:MAX_SECRET] if scheme.lower() == "bearer" else ""


_current: Login = NoLogin()


def current_login() -> Login:
    """The login of this process's server."""
    return _current


def check_plain_server(host: str | None, login: bool | None, opened: bool) -> None:
    """Refuse to serve without the front, which has the login, where a login is required.

    Args:
        host: that the server listens on; None where it is not known.
        login, opened: values of ``--conf``.

    Raises:
        OptionError: with what to do.
    """
    if current_login().required:  # the front's
        return
    keycloak = bool(settings.MONAI_LABEL_AUTH_ENABLE)
    if login or (requires_login(host, login, opened, keycloak=keycloak) and not keycloak):
        raise OptionError(
            f"{'--conf login true' if login else f'--host {host}'}: MONAI Label's plain server has no such "
            "login; use `fetaliqa serve`, or say --conf open true to let everybody read and change all studies"
        )
    if host is not None and not keycloak:
        check_open(host, opened)


def set_login(login: Login) -> None:
    """Set the login of this process's server."""
    global _current
    _current = login
