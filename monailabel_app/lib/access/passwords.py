"""Passwords: rules, argon2id hashes, and secrets that are compared by their SHA-256.

Source of the parameters: OWASP, Password Storage Cheat Sheet (argon2id, 19 MiB, 2 passes, 1 lane).
"""

from __future__ import annotations

import functools
import hashlib
import secrets
import threading
import unicodedata
from typing import TYPE_CHECKING

from fetaliqa.errors import OptionError

if TYPE_CHECKING:
    from argon2 import PasswordHasher

MIN_LENGTH = 10  # characters
MAX_LENGTH = 1024
SECRET_BYTES = 32
PASSES, MEMORY_KIB = 2, 19 * 1024
AT_ONCE = 2  # hashes that are computed at a time
_turn = threading.BoundedSemaphore(AT_ONCE)


@functools.cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher  # imported when there is a login

    return PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=1)


@functools.cache
def _of_nobody() -> str:
    """A hash that is compared for an unknown user, so that the response takes as long."""
    return _hasher().hash(secrets.token_hex())


def _normal(password: str) -> bytes:
    return unicodedata.normalize("NFC", password).encode("utf-8", "surrogatepass")


def checked_password(password: str, name: str) -> str:
    """A password that may be set.

    Raises:
        OptionError: for one that is too short, too long or the user's name; it is not repeated.
    """
    if not MIN_LENGTH <= len(password) <= MAX_LENGTH:
        raise OptionError(f"the password has {len(password)} characters; {MIN_LENGTH} to {MAX_LENGTH} are needed")
    if name.casefold() in password.casefold() and len(password) - len(name) < MIN_LENGTH:
        raise OptionError("the password is little more than the user's name; use several words")
    if len(set(password)) < 4:
        raise OptionError("the password has fewer than 4 different characters; use several words")
    return password


def hashed(password: str) -> str:
    """The argon2id hash of a password, with salt and parameters."""
    with _turn:
        return _hasher().hash(_normal(password))


def is_password(password: str, stored: str | None) -> bool:
    """Whether a password has this hash; for None (an unknown user) False, after the same time."""
    from argon2.exceptions import InvalidHashError, VerificationError

    known = _of_nobody() if stored is None else stored
    with _turn:
        try:
            matches = _hasher().verify(known, _normal(password))
        except (VerificationError, InvalidHashError):
            return False
    return matches and stored is not None


def new_secret(prefix: str) -> str:
    """A random text of 256 bits after a prefix."""
    return prefix + secrets.token_urlsafe(SECRET_BYTES)


def digest(secret: str) -> str:
    """SHA-256 (hex) of a random secret: what is stored of it. Passwords need a slow hash instead."""
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()
