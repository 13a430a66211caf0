"""The audit log: who did what, when. JSON lines in ``access/audit.jsonl``, of bounded size."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fetaliqa.errors import FetalIQAError, OptionError
from monailabel_app.lib.access.access_folder import PRIVATE, access_folder, give_to_owner, locked

logger = logging.getLogger(__name__)

FILE = "audit.jsonl"
MAX_BYTES = 8 * 1024**2  # of a file; some 40,000 entries
KEPT = 9  # earlier files, audit.jsonl.1 (the newest) and so on
MAX_TEXT = 200  # characters of a value
MAX_LIMIT = 10_000


@dataclass(frozen=True)
class AuditQuery:
    """Which entries to read, the newest first.

    Attributes:
        user: who did it, or whose account was changed; empty for all.
        action: of the entries; empty for all.
        since, until: ISO 8601; empty for all.
        limit: most entries.
    """

    user: str = ""
    action: str = ""
    since: str = ""
    until: str = ""
    limit: int = 100

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= MAX_LIMIT:
            raise OptionError(f"limit {self.limit}: 1 to {MAX_LIMIT} entries can be read at once")
        for name in ("since", "until"):
            _time(name, getattr(self, name))

    def matches(self, entry: dict[str, Any]) -> bool:
        """Whether an entry is asked for."""
        try:
            time = datetime.fromisoformat(str(entry["time"]))
        except (KeyError, ValueError):
            return False
        since, until = _time("since", self.since), _time("until", self.until)
        return (
            (not self.user or self.user.casefold() in (_folded(entry, "user"), _folded(entry, "account")))
            and (not self.action or entry.get("action") == self.action)
            and (since is None or time >= since)
            and (until is None or time < until)
        )


def _folded(entry: dict[str, Any], key: str) -> str:
    return str(entry.get(key) or "").casefold()


def _time(name: str, text: str) -> datetime | None:
    """A time; in UTC where the text names no zone.

    Raises:
        OptionError: for a text that is not ISO 8601.
    """
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise OptionError(
            f"{name} {text[:40]!r}: a time such as 2026-01-31 or 2026-01-31T14:05 is needed"
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


class AuditLog:
    """The audit log of a studies folder; server and commands append to it.

    Args:
        studies: the folder.
    """

    def __init__(self, studies: Path) -> None:
        self._folder = access_folder(studies)
        self.path = self._folder / FILE

    def add(self, action: str, user: str | None, address: str | None = None, **details: Any) -> None:
        """Append an entry. What was done is not undone when it cannot be written; the server's log has it then.

        Args:
            action: what was done, such as ``label saved``.
            user: who did it, None when nobody was signed in.
            address: of the client, None for a command on the server's machine.
            details: of the action; no passwords and no tokens.
        """
        entry: dict[str, Any] = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "user": user,
            "address": address,
            "action": action,
            **{key: _short(value) for key, value in details.items() if value is not None},
        }
        line = json.dumps(entry, ensure_ascii=True).encode() + b"\n"
        try:
            with locked(self._folder):
                self._rotate(len(line))
                descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE)
                try:
                    give_to_owner(self.path, self._folder)
                    if _is_cut_off(self.path):
                        line = b"\n" + line
                    written = os.write(descriptor, line)
                    if written != len(line):
                        raise OSError(28, "No space left on device")
                finally:
                    os.close(descriptor)
        except (FetalIQAError, OSError) as problem:
            logger.error("the audit log cannot be written (%s): %s", problem, line.decode().strip())

    def read(self, query: AuditQuery) -> list[dict[str, Any]]:
        """Entries, the newest first."""
        found = []
        for entry in self._newest_first():
            if query.matches(entry):
                found.append(entry)
                if len(found) == query.limit:
                    break
        return found

    def _newest_first(self) -> Iterator[dict[str, Any]]:
        for path in (self.path, *(self._earlier(number) for number in range(1, KEPT + 1))):
            try:
                lines = path.read_bytes().splitlines()
            except FileNotFoundError:
                continue
            for line in reversed(lines):
                try:
                    entry = json.loads(line)
                except ValueError:  # cut off when the power failed, or the disk was full
                    continue
                if isinstance(entry, dict):
                    yield entry

    def _earlier(self, number: int) -> Path:
        return self.path.with_name(f"{FILE}.{number}")

    def _rotate(self, more: int) -> None:
        """Start a new file when the line would make the current one too large."""
        try:
            if self.path.stat().st_size + more <= MAX_BYTES:
                return
        except FileNotFoundError:
            return
        for number in range(KEPT - 1, 0, -1):
            if self._earlier(number).exists():
                os.replace(self._earlier(number), self._earlier(number + 1))
        os.replace(self.path, self._earlier(1))


def _is_cut_off(path: Path) -> bool:
    """Whether the last line is cut off, so that the next entry has to begin a new one."""
    with open(path, "rb") as file:
        if file.seek(0, os.SEEK_END) == 0:
            return False
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"


def _short(value: Any) -> Any:
    """A value as it is stored: text of bounded length, numbers as they are."""
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, list | tuple):
        return [_short(one) for one in value[:20]]
    text = str(value)
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]} […]"
