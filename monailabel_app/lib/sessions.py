"""Upload sessions with ids that stay inside the session folder.

MONAI Label joins a client's session id to a path, reads what is there, and removes the folder when the image
it names is gone.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

from monailabel.utils.sessions import Sessions

from monailabel_app.lib.ids import check_id, is_id
from monailabel_app.lib.refusal import Refused


class GuardedSessions(Sessions):
    """Sessions that refuse other ids and archives with 400."""

    def get_session(self, session_id: str, update_ts: bool = True, fetch_cache: bool = True) -> Any:
        return super().get_session(check_id("session", session_id), update_ts, fetch_cache)

    def remove_expired(self) -> int:
        """Remove sessions that have expired, also of servers that ran before; returns how many."""
        store, now, removed = Path(self.store_path), time.time(), 0
        for folder in [path for path in store.iterdir() if is_id(path.name)] if store.is_dir() else []:
            if _expires(folder, self.expiry) < now:
                self.remove_session(folder.name)
                removed += 1
        return removed

    def remove_session(self, session_id: str) -> None:
        super().remove_session(check_id("session", session_id))

    def add_session(
        self, data_file: str, expiry: int = 0, uncompress: bool = False, session_id: str | None = None
    ) -> Any:
        if uncompress:
            raise Refused(
                400, "uncompress: archives are not unpacked here, since members can lead anywhere; send files"
            )
        return super().add_session(data_file, expiry, False, session_id)


def _expires(folder: Path, expiry: float) -> float:
    """When a session expires, in seconds since 1970; ``expiry`` is for one without a record."""
    try:
        try:
            record = json.loads((folder / "meta.info").read_text(encoding="utf-8"))
            return record["last_access_ts"] + record["expiry"] if record["expiry"] > 0 else math.inf
        except (ValueError, KeyError, TypeError, FileNotFoundError):
            return folder.stat().st_mtime + expiry
    except OSError:  # somebody removes it at this moment
        return math.inf
