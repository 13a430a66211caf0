"""User accounts of a studies folder: names, roles, password hashes and tokens, in ``access/users.json``."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fetaliqa.errors import NotFoundError, OptionError
from monailabel_app.lib.access.access_folder import AccessError, PrivateFile, access_folder, locked
from monailabel_app.lib.access.passwords import checked_password, digest, hashed, new_secret
from monailabel_app.lib.access.role_names import ROLES

FILE = "users.json"
SCHEMA = 1
TOKEN_PREFIX = "fiqt_"  # so that a token is recognised where it should not be, such as in a repository
MAX_NAME = 64  # characters
MAX_TOKENS = 50  # of a user
MAX_DAYS = 3650
RESERVED = ("final", "original", "unknown")  # tags of labels


@dataclass(frozen=True)
class ApiToken:
    """A token for programs, such as 3D Slicer.

    Attributes:
        id: under which it is listed and revoked.
        sha256: of the token, hex.
        note: what it is for.
        created, expires: ISO 8601.
    """

    id: str
    sha256: str
    note: str
    created: str
    expires: str

    def valid(self, now: datetime) -> bool:
        """Whether it can still be used."""
        return now < datetime.fromisoformat(self.expires)


@dataclass(frozen=True)
class Account:
    """A user.

    Attributes:
        name, role: see ``checked_name`` and ``ROLES``.
        password: argon2id hash.
        created: ISO 8601.
        epoch: changes with the password; sessions of an earlier epoch have ended.
        tokens: of the user.
    """

    name: str
    role: str
    password: str
    created: str
    epoch: str
    tokens: tuple[ApiToken, ...] = ()


def checked_name(name: str) -> str:
    """A name that a user can have. It is also the tag of the user's labels.

    Raises:
        OptionError: for another text.
    """
    from monailabel_app.lib.http.ids import is_id  # which imports FastAPI

    if not is_id(name) or len(name) > MAX_NAME or name.casefold() in RESERVED:
        raise OptionError(
            f"user {name[:MAX_NAME]!r}: a name has letters (a to z), digits, dot, underscore and hyphen, at most "
            f"{MAX_NAME}, and is not one of {', '.join(RESERVED)}"
        )
    return name


def checked_role(role: str) -> str:
    """A role.

    Raises:
        OptionError: for another text.
    """
    if role not in ROLES:
        raise OptionError(f"role {role[:40]!r}: it must be one of {', '.join(ROLES)}")
    return role


class Accounts:
    """The accounts of a studies folder. Changes are atomic, under a lock, and seen by a running server at once.

    Args:
        studies: the folder.
    """

    def __init__(self, studies: Path) -> None:
        self.folder = access_folder(studies)
        self._file = PrivateFile(self.folder, FILE)
        self._parsed: tuple[dict[str, Any], dict[str, Account]] | None = None

    def all(self) -> list[Account]:
        """The accounts by name.

        Raises:
            AccessError: when the file is damaged.
        """
        return sorted(self._accounts().values(), key=lambda account: account.name.casefold())

    def find(self, name: str) -> Account | None:
        """The account of a name, in any case of its letters."""
        return self._accounts().get(name.casefold())

    def get(self, name: str) -> Account:
        """The account of a name.

        Raises:
            NotFoundError: when there is none.
        """
        account = self.find(name)
        if account is None:
            names = ", ".join(one.name for one in self.all()) or "none"
            raise NotFoundError(f"there is no user {name[:MAX_NAME]!r}; known: {names}")
        return account

    def of_token(self, token: str) -> Account | None:
        """The account of a valid token."""
        sha256, now = digest(token), datetime.now(UTC)
        for account in self._accounts().values():
            if any(one.sha256 == sha256 and one.valid(now) for one in account.tokens):
                return account
        return None

    def add(self, name: str, role: str, password: str) -> Account:
        """Add a user.

        Raises:
            OptionError: for a name that is taken, or a name, role or password that cannot be used.
        """
        checked_name(name), checked_role(role), checked_password(password, name)
        stored = hashed(password)
        with locked(self.folder):
            accounts = self._accounts()
            if name.casefold() in accounts:
                raise OptionError(f"user {name} exists; change it with `fetaliqa users role` or `passwd`")
            account = Account(name, role, stored, _now(), secrets.token_hex(8))
            self._write({**accounts, name.casefold(): account})
        return account

    def remove(self, name: str) -> Account:
        """Remove a user, whose sessions and tokens end. Labels keep the name.

        Raises:
            NotFoundError: for an unknown user.
        """
        with locked(self.folder):
            account = self.get(name)
            self._write({key: one for key, one in self._accounts().items() if one != account})
        return account

    def set_role(self, name: str, role: str) -> Account:
        """Change a role; it holds from the next request on.

        Raises:
            NotFoundError, OptionError: for an unknown user or role.
        """
        checked_role(role)
        return self._change(name, lambda account: replace(account, role=role))

    def set_password(self, name: str, password: str) -> Account:
        """Change a password. Sessions end; tokens stay.

        Raises:
            NotFoundError, OptionError: for an unknown user, or a password that cannot be used.
        """
        account = self.get(name)
        checked_password(password, account.name)
        stored, epoch = hashed(password), secrets.token_hex(8)
        return self._change(name, lambda account: replace(account, password=stored, epoch=epoch))

    def add_token(self, name: str, note: str, days: int) -> tuple[str, ApiToken]:
        """Make a token.

        Args:
            name: of the user.
            note: what it is for.
            days: until it expires.

        Returns:
            The token, which is not stored, and its entry.

        Raises:
            NotFoundError, OptionError: for an unknown user, too many tokens or another number of days.
        """
        if not 1 <= days <= MAX_DAYS:
            raise OptionError(f"{days} days: a token is valid for 1 to {MAX_DAYS} days")
        secret = new_secret(TOKEN_PREFIX)
        now = datetime.now(UTC)
        expires = (now + timedelta(days=days)).isoformat(timespec="seconds")
        token = ApiToken(secrets.token_hex(4), digest(secret), note[:100], _now(), expires)

        def added(account: Account) -> Account:
            valid = tuple(one for one in account.tokens if one.valid(now))
            if len(valid) >= MAX_TOKENS:
                raise OptionError(f"user {account.name} has {MAX_TOKENS} tokens; revoke one that is not used")
            return replace(account, tokens=(*valid, token))

        self._change(name, added)
        return secret, token

    def revoke_token(self, name: str, token_id: str) -> int:
        """Revoke a token, or ``all``; returns how many.

        Raises:
            NotFoundError: for an unknown user or token.
        """
        account = self.get(name)
        revoked = [one for one in account.tokens if token_id in (one.id, "all")]
        if not revoked and token_id != "all":
            ids = ", ".join(one.id for one in account.tokens) or "none"
            raise NotFoundError(f"user {account.name} has no token {token_id[:40]!r}; known: {ids}")

        def without(account: Account) -> Account:
            return replace(account, tokens=tuple(one for one in account.tokens if one not in revoked))

        self._change(name, without)
        return len(revoked)

    def _change(self, name: str, changed: Callable[[Account], Account]) -> Account:
        with locked(self.folder):
            account = changed(self.get(name))
            self._write({**self._accounts(), account.name.casefold(): account})
        return account

    def _accounts(self) -> dict[str, Account]:
        value = self._file.read()
        if self._parsed is None or self._parsed[0] is not value:
            self._parsed = value, _parse(value)
        return self._parsed[1]

    def _write(self, accounts: dict[str, Account]) -> None:
        users = {account.name: {**asdict(account)} for account in accounts.values()}
        for user in users.values():
            del user["name"]
        self._file.write({"schema": SCHEMA, "users": users})


def _parse(value: dict[str, Any]) -> dict[str, Account]:
    if value and value.get("schema") != SCHEMA:
        raise AccessError(f"{FILE}: its schema is {value.get('schema')!r}, not {SCHEMA}; restore it from a backup")
    accounts = {}
    try:
        for name, user in value.get("users", {}).items():
            tokens = tuple(ApiToken(**token) for token in user.get("tokens", ()))
            for token in tokens:
                datetime.fromisoformat(token.expires)
            account = Account(**{**user, "name": checked_name(name), "tokens": tokens})
            checked_role(account.role)
            accounts[name.casefold()] = account
    except (TypeError, ValueError, AttributeError, OptionError) as problem:
        raise AccessError(f"{FILE}: its content is not as it was written ({problem}); restore a backup") from None
    return accounts


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
