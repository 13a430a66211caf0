"""Pseudonyms for cases, subjects and raters, and the key file for re-identification.

The key file is the only link to the names and is never written into an export. A pseudonym is derived from the
name and the file's secret, so the same key file gives the same pseudonyms again.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from pathlib import Path

from fetaliqa.atomic import atomic_path
from fetaliqa.errors import OptionError

SCHEMA = 1
GROUPS = ("case", "subject", "rater")
DIGITS = 12  # hex: 48 bits; a collision among 100,000 names has probability 2e-5 and is detected


class Pseudonyms:
    """Pseudonyms of one key file.

    Args:
        path: the key file; read if it exists, else created by ``save``.

    Raises:
        OptionError: when it is no key file.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._secret = secrets.token_hex(32)
        self._names: dict[str, dict[str, str]] = {group: {} for group in GROUPS}
        if self.path.exists():
            self._read()

    def case(self, name: str) -> str:
        """Pseudonym of a case."""
        return self._of("case", name)

    def subject(self, name: str) -> str:
        """Pseudonym of a subject."""
        return self._of("subject", name)

    def rater(self, name: str) -> str:
        """Pseudonym of a rater."""
        return self._of("rater", name)

    def save(self) -> None:
        """Write the key file, readable by its owner only; names of earlier exports stay in it."""
        content = {"schema": SCHEMA, "secret": self._secret, **self._names}
        with atomic_path(self.path) as temporary:
            temporary.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        os.chmod(self.path, 0o600)

    def _of(self, group: str, name: str) -> str:
        names = self._names[group]
        if name not in names:
            digest = hmac.new(self._secret.encode(), f"{group}|{name}".encode(), hashlib.sha256).hexdigest()
            pseudonym = f"{group}-{digest[:DIGITS]}"
            if pseudonym in names.values():
                raise OptionError(f"two names would be called {pseudonym}; start another key file")
            names[name] = pseudonym
        return names[name]

    def _read(self) -> None:
        try:
            content = json.loads(self.path.read_bytes())
            secret, names = content["secret"], {group: dict(content[group]) for group in GROUPS}
            sound = content["schema"] == SCHEMA and isinstance(secret, str) and len(secret) >= 32
        except (OSError, ValueError, KeyError, TypeError):
            sound = False
        if not sound:
            raise OptionError(
                f"{self.path.name}: no key file of pseudonyms; name another, or one that is not there"
            )
        self._secret, self._names = secret, names
